"""The catalogue of meter profiles: those that come with the program, and those that organisations add."""
