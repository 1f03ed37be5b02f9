"""The database as a whole: all tables, how they are made, and who may touch them."""
