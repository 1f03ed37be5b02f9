"""What leaves the hub by MQTT: the newest readings and what happened, for those whom an organisation gave a login."""
