"""Who may see which rows: said by each table, enforced by PostgreSQL."""
