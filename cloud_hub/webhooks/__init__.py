"""Events sent to addresses that organisations name: signed, repeated until they arrive, and never inwards."""
