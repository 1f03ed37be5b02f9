"""Days, intervals and opening hours of places with a time zone. Pure."""
