"""What the hub does by the clock."""
