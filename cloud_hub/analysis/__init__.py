"""Totals, profiles and comparisons out of the ledger."""
