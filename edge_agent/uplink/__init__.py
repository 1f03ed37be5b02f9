"""The line to the broker, and delivery to the hub over it."""
