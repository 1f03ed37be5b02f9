"""What time it is, and how far that is to be trusted."""
