"""The lines to the meters, and Modbus on them."""
