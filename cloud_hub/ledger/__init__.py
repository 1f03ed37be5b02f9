"""The half-hour ledger: what each register counted in each interval, how well that is known, and since when."""
