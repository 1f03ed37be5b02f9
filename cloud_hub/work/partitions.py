"""Monthly partitions of `scans`: made ahead of time, and for late data too."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import Connection, Engine, text

MONTHS_AHEAD = 3
LATE_YEARS_MAX = 10
"""Scans of longer ago stay in the default partition: a wrong clock must not make a thousand partitions."""

_LOCK_TIMEOUT = "5s"  # ingest never waits longer than this behind us; the next round tries again
_NAME = re.compile(r"scans_\d{4}_\d{2}")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A calendar month in UTC."""

    year: int
    month: int

    @classmethod
    def of(cls, instant: datetime) -> "Month":
        """Return the month that an instant lies in."""
        utc = instant.astimezone(UTC)
        return cls(utc.year, utc.month)

    def plus(self, months: int) -> "Month":
        """Return the month so many later."""
        years, month = divmod(self.year * 12 + self.month - 1 + months, 12)
        return Month(years, month + 1)

    @property
    def start(self) -> datetime:
        """The first instant of the month."""
        return datetime(self.year, self.month, 1, tzinfo=UTC)

    @property
    def table(self) -> str:
        """The name of the month's partition."""
        return f"scans_{self.year:04}_{self.month:02}"


def make_partitions(engine: Engine, now: datetime) -> list[str]:
    """Make the partitions of this month, the next ones, and of all months that the default one holds.

    Returns the names of those that are new. Raises: the database's error, also when a lock is not to be
    had; what is made by then stays made.
    """
    with engine.connect() as connection:
        present = _present(connection)
        late = _late_months(connection, now)
    wanted = {Month.of(now).plus(ahead) for ahead in range(MONTHS_AHEAD + 1)} | set(late)
    made = []
    for month in sorted(wanted):
        if month.table not in present:
            with engine.begin() as connection:
                moved = _make(connection, month)
            log.info("partition_made", partition=month.table, scans_moved=moved)
            made.append(month.table)
    return made


def _present(connection: Connection) -> set[str]:
    names: Iterable[str] = connection.scalars(
        text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'scans'::regclass")
    )
    return {name for name in names if _NAME.fullmatch(name)}


def _late_months(connection: Connection, now: datetime) -> list[Month]:
    rows = connection.scalars(
        text(
            "SELECT DISTINCT date_trunc('month', observed_at AT TIME ZONE 'UTC') FROM scans_default "
            "WHERE observed_at >= :earliest AND observed_at < :latest"
        ),
        {"earliest": now - timedelta(days=366 * LATE_YEARS_MAX), "latest": Month.of(now).plus(MONTHS_AHEAD + 1).start},
    )
    return [Month(naive.year, naive.month) for naive in rows]


def _make(connection: Connection, month: Month) -> int:
    """Make one partition and move what the default one holds of its month; PostgreSQL demands that order."""
    bounds = {"first": month.start, "end": month.plus(1).start}
    connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
    # Nobody may write to the default partition between the move and the moment the month has its own.
    connection.execute(text("LOCK TABLE scans_default IN ACCESS EXCLUSIVE MODE"))
    connection.execute(text(f"CREATE TABLE {month.table} (LIKE scans INCLUDING DEFAULTS)"))
    moved = connection.execute(
        text(  # the partition's name is made of two numbers
            "WITH moved AS (DELETE FROM scans_default WHERE observed_at >= :first AND observed_at < :end RETURNING *) "  # noqa: S608 - see above
            f"INSERT INTO {month.table} SELECT * FROM moved"
        ),
        bounds,
    ).rowcount
    connection.execute(
        text(
            f"ALTER TABLE scans ATTACH PARTITION {month.table} "
            f"FOR VALUES FROM ('{bounds['first'].isoformat()}') TO ('{bounds['end'].isoformat()}')"
        )
    )
    return moved
