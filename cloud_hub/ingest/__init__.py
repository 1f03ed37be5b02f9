"""From MQTT into the database: the hub's side of the delivery contract."""
