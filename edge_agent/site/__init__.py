"""From the site configuration to the plan of what is polled."""
