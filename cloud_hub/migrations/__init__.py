"""The database's revisions, in order."""
