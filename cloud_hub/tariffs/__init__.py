"""What energy costs and what it emits."""
