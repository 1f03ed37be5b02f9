"""From the readings of a register to amounts per interval: measuring, validating, estimating. Pure."""
