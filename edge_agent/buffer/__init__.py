"""The scans on disk."""
