"""What every page and every answer of the API shares: sessions, errors, tokens, cursors. Knows no slice."""
