"""What the agent and the hub must agree on, and nothing else. Pure: no clock, no network, no logging."""
