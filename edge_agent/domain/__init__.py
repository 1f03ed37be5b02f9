"""Pure rules of the agent: numbers in, numbers out."""
