"""Whose everything is: operator, resellers, customers."""
