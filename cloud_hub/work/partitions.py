"""Monthly partitions of readings, open and closed: made ahead of time, and for late data too."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import Connection, Engine, text

from cloud_hub.work.extensions import partitions_itself

MONTHS_AHEAD = 3
LATE_YEARS_MAX = 10
"""Scans of longer ago stay in the default partition: a wrong clock must not make a thousand partitions."""

OPEN = "scans"
CLOSED = ("point_days", "scan_days")
"""These have no default partition: compaction makes a month before it closes its days. In the order in which readers
lock them."""

EMPTY_MONTHS_KEPT = 2
"""Older months without an open scan go: each costs every search a step, and late scans get theirs made again."""

_LOCK_TIMEOUT = "5s"  # ingest never waits longer than this behind us; the next round tries again
_LOCK = 0x70617274  # any number, as long as everybody who makes or drops partitions takes the same

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

    def partition_of(self, table: str) -> str:
        """Return the name of the month's partition of a table."""
        return f"{table}_{self.year:04}_{self.month:02}"


def make_partitions(engine: Engine, now: datetime) -> list[str]:
    """Make the partitions of this month, the next ones, and of all months that the default one holds.

    Returns the names of those that are new. Raises: the database's error, also when a lock is not to be
    had; what is made by then stays made.
    """
    with engine.connect() as connection:
        if partitions_itself(connection, OPEN):
            return []
        late = _late_months(connection, now)
    wanted = {Month.of(now).plus(ahead) for ahead in range(MONTHS_AHEAD + 1)} | set(late)
    return _make_missing(engine, OPEN, wanted)


def make_closed_partitions(engine: Engine, months: Iterable[Month]) -> list[str]:
    """Make the partitions of closed days for these months, where they are missing; return the names of the new ones."""
    wanted = set(months)
    return [name for table in CLOSED for name in _make_missing(engine, table, wanted)]


def drop_closed_partitions(connection: Connection, month: Month) -> list[str]:
    """Drop a month of closed days with all that is in it; return the names of what is gone."""
    lock_partitions(connection)
    dropped = []
    for table in CLOSED:
        if month in list_partitions(connection, table):
            connection.execute(text(f"LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE"))
            connection.execute(text(f"DROP TABLE {month.partition_of(table)}"))
            dropped.append(month.partition_of(table))
    return dropped


def drop_empty_open_partitions(engine: Engine, now: datetime) -> list[str]:
    """Drop the months of open scans that are over and empty; return the names of what is gone."""
    oldest_kept = Month.of(now).plus(-EMPTY_MONTHS_KEPT)
    with engine.connect() as connection:
        names = [
            name
            for month, name in list_partitions(connection, OPEN).items()
            if month < oldest_kept and _is_empty(connection, name)
        ]
    dropped = []
    for name in names:
        with engine.begin() as connection:
            lock_partitions(connection)
            # The whole before the part, as ingest takes them; otherwise each could wait for the other.
            connection.execute(text("LOCK TABLE ONLY scans IN ACCESS EXCLUSIVE MODE"))
            exists = connection.scalar(text("SELECT to_regclass(:name) IS NOT NULL"), {"name": name})
            if exists and _is_empty(connection, name):
                connection.execute(text(f"DROP TABLE {name}"))
                dropped.append(name)
    return dropped


def list_partitions(connection: Connection, table: str) -> dict[Month, str]:
    """List a table's monthly partitions, oldest first."""
    names: Iterable[str] = connection.scalars(
        text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = CAST(:table AS regclass)"),
        {"table": table},
    )
    pattern = re.compile(rf"{table}_(\d{{4}})_(\d{{2}})")
    matches = [match for name in names if (match := pattern.fullmatch(name))]
    return dict(sorted((Month(int(match[1]), int(match[2])), match[0]) for match in matches))


def lock_partitions(connection: Connection) -> None:
    """Be the only one to make or drop partitions, until the transaction ends; and wait for no table's lock for long."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))


def _make_missing(engine: Engine, table: str, wanted: set[Month]) -> list[str]:
    with engine.connect() as connection:
        missing = sorted(wanted - list_partitions(connection, table).keys())
    made = []
    for month in missing:
        with engine.begin() as connection:
            lock_partitions(connection)
            if month in list_partitions(connection, table):
                continue  # another process was faster
            moved = _make_open(connection, month) if table == OPEN else _make_closed(connection, table, month)
        made.append(month.partition_of(table))
        log.info("partition_made", partition=made[-1], scans_moved=moved)
    return made


def _is_empty(connection: Connection, name: str) -> bool:
    is_used = connection.execute(text(f"SELECT EXISTS (SELECT FROM {name})")).scalar_one()  # noqa: S608 - two numbers
    return not is_used


def _late_months(connection: Connection, now: datetime) -> list[Month]:
    rows = connection.scalars(
        text(
            "SELECT DISTINCT date_trunc('month', observed_at AT TIME ZONE 'UTC') FROM scans_default "
            "WHERE observed_at >= :earliest AND observed_at < :latest"
        ),
        {"earliest": now - timedelta(days=366 * LATE_YEARS_MAX), "latest": Month.of(now).plus(MONTHS_AHEAD + 1).start},
    )
    return [Month(naive.year, naive.month) for naive in rows]


def _make_open(connection: Connection, month: Month) -> int:
    """Make one partition and move what the default one holds of its month; PostgreSQL demands that order."""
    # Nobody may write to the default partition between the move and the moment the month has its own.
    connection.execute(text("LOCK TABLE scans_default IN ACCESS EXCLUSIVE MODE"))
    name = month.partition_of(OPEN)
    connection.execute(text(f"CREATE TABLE {name} (LIKE scans INCLUDING DEFAULTS)"))
    moved = connection.execute(
        text(  # the partition's name is made of two numbers
            "WITH moved AS (DELETE FROM scans_default WHERE observed_at >= :first AND observed_at < :end RETURNING *) "  # noqa: S608 - see above
            f"INSERT INTO {name} SELECT * FROM moved"
        ),
        {"first": month.start, "end": month.plus(1).start},
    ).rowcount
    _attach(connection, OPEN, month, month.start.isoformat(), month.plus(1).start.isoformat())
    return moved


def _make_closed(connection: Connection, table: str, month: Month) -> int:
    """Make one partition; unlike `PARTITION OF`, this way nobody who reads the others waits."""
    name = month.partition_of(table)
    connection.execute(text(f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)"))
    # The one thing that LIKE leaves behind.
    targets = connection.execute(
        text(
            "SELECT attname, attstattarget FROM pg_attribute "
            "WHERE attrelid = CAST(:table AS regclass) AND attnum > 0 AND attstattarget >= 0"
        ),
        {"table": table},
    ).all()
    for column, target in targets:
        connection.execute(text(f"ALTER TABLE {name} ALTER COLUMN {column} SET STATISTICS {target}"))
    _attach(connection, table, month, month.start.date().isoformat(), month.plus(1).start.date().isoformat())
    return 0


def _attach(connection: Connection, table: str, month: Month, first: str, end: str) -> None:
    connection.execute(
        text(
            f"ALTER TABLE {table} ATTACH PARTITION {month.partition_of(table)} FOR VALUES FROM ('{first}') TO ('{end}')"
        )
    )
