"""What gives a controller and a broker their identity and configuration."""
