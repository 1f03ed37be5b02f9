"""The whole system on one machine, with databases and brokers of its own."""
