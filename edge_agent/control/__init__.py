"""Orders of the hub: its configuration of the site, and commands."""
