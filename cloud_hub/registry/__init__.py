"""What exists: sites, controllers, meters, points."""
