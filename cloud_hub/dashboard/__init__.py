"""Pages that people look at. They compose the services below and own no table."""
