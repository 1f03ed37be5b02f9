"""Readings and intervals in and out as files; the archive."""
