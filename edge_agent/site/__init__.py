"""The site configuration as a file on the controller; what it means is `protocol.site`."""
