"""From a site configuration to the plan of what is polled: what the agent goes by, and what the hub checks drafts with."""
