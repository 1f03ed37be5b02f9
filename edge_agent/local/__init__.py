"""What the running agent tells the commands on its own controller, over a Unix socket."""
