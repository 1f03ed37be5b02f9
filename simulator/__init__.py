"""Simulated meters: real Modbus servers that keep a ledger of every value they served."""
