"""Tariffs, operating hours and emission factors."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TABLES = """
SELECT 1;
"""


def upgrade() -> None:
    op.execute(_TABLES)
