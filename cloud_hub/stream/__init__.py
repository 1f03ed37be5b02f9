"""What happens and what is measured, told as it comes: events as a list and as an open stream, with live values."""
