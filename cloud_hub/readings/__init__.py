"""What was read, and how it was delivered."""
