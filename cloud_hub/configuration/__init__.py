"""What controllers shall do: revisions of their configuration, commands, and how both reach them."""
