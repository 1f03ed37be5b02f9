"""The end of what an organisation no longer keeps: readings, ledger and audit trail, by whole months, archived first.

A month goes when all of it is older than the organisation keeps such things. What arrives or is recomputed while
it goes into the archive is not dropped with it, but in a later round, once the archive has that as well.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Literal, Protocol

import structlog
from sqlalchemy import Connection, Engine, text

from cloud_hub.readings.closed_days import hold_all_meters
from cloud_hub.work.extensions import partitions_itself
from cloud_hub.work.partitions import (
    CLOSED,
    OPEN,
    Month,
    drop_closed_partitions,
    drop_empty_open_partitions,
    list_partitions,
)

Kind = Literal["readings", "ledger", "audit"]

_ZONES = timedelta(days=1)
"""A local month begins and ends up to 14 hours beside that of UTC: neither is cut short."""

_OWN_METERS = "(SELECT m.id FROM meters m JOIN sites s ON s.id = m.site_id WHERE s.organisation_id = :organisation_id)"
_OWN_POINTS = f"(SELECT p.id FROM points p WHERE p.meter_id IN {_OWN_METERS})"  # noqa: S608 - both stand in this file

_ROWS: Mapping[Kind, tuple[tuple[str, str, str], ...]] = {
    "ledger": (
        ("ledger_days", "day", f"point_id IN {_OWN_POINTS}"),
        ("ledger_months", "month", f"point_id IN {_OWN_POINTS}"),
        ("ledger_superseded", "start_at", f"point_id IN {_OWN_POINTS}"),
        ("ledger_findings", "from_at", f"point_id IN {_OWN_POINTS}"),
    ),
    "audit": (("audit_events", "at", "organisation_id = :organisation_id"),),
}
"""Of each kind but readings: its tables, when a row of them is, and which are an organisation's."""

_OWNERS = text("""
SELECT DISTINCT s.organisation_id
FROM (SELECT DISTINCT meter_id FROM scan_days WHERE day >= :first AND day < :end) AS d
LEFT JOIN meters m ON m.id = d.meter_id
LEFT JOIN sites s ON s.id = m.site_id
""")

log = structlog.get_logger(__name__)


class Archive(Protocol):
    """Where what expires goes. It may raise whatever it likes: then nothing is dropped."""

    def before_drop(self, kind: Kind, organisation_id: int, first: date, end: date) -> None:
        """Return when all of this kind that the organisation has in the month `[first, end)` is in the archive.

        That is, of `readings`: the rows of `scan_days` and `point_days` of its meters by `day`; scans that are still
        open are not dropped. Of `ledger`: the rows of `ledger_days` by `day`, of `ledger_months` by `month`, of
        `ledger_superseded` by `start_at` and of `ledger_findings` by `from_at`, from midnight to midnight in UTC. Of
        `audit`: those of `audit_events` by `at`.

        It reads by a connection of its own and waits for no lock of ours. The same month may come again, with the same
        rows (they could not be dropped) or with others (they came late): it adds, and replaces nothing.
        """


@dataclass(slots=True)
class Dropped:
    """What a round has done."""

    months: list[tuple[Kind, int, date]] = field(default_factory=list)
    """Kind, organisation, first day of the month."""
    partitions: list[str] = field(default_factory=list)
    failed: int = 0
    """Deeds that could not be done; the next round tries again."""


@dataclass(frozen=True, slots=True)
class _Round:
    """What all deeds of a round share."""

    engine: Engine
    now: datetime
    archive: Archive | None
    dropped: Dropped

    def put_away(self, kind: Kind, organisation_id: int, first: date, end: date) -> None:
        if self.archive is not None:
            self.archive.before_drop(kind, organisation_id, first, end)

    def note(self, kind: Kind, organisation_id: int, first: date) -> None:
        self.dropped.months.append((kind, organisation_id, first))
        log.info("month_dropped", kind=kind, organisation_id=organisation_id, month=f"{first:%Y-%m}")

    @contextmanager
    def tolerating(self, kind: str, subject: object) -> Iterator[None]:
        try:
            yield
        except Exception:  # an archive raises what it likes; it is counted and logged, and tried again
            self.dropped.failed += 1
            log.warning("retention_postponed", kind=kind, subject=str(subject), exc_info=True)


@dataclass(frozen=True, slots=True)
class _Keeper:
    """An organisation, and how many days it keeps what; None for ever."""

    organisation_id: int
    days: Mapping[Kind, int | None]

    def first_kept(self, kind: Kind, now: datetime) -> Month | None:
        """Return the oldest month of which something must be kept; None when all must be."""
        kept = self.days[kind]
        return None if kept is None else Month.of(now - timedelta(days=kept) - _ZONES)


def drop_expired(engine: Engine, now: datetime, archive: Archive | None = None) -> Dropped:
    """Drop what each organisation no longer keeps; where there is an archive, only what that has taken.

    What fails is logged, stays, and holds up nothing else. Several processes may do this at once.
    """
    this = _Round(engine, now, archive, Dropped())
    with engine.connect() as connection:
        keepers = _list_keepers(connection)
        months = list_partitions(connection, CLOSED[0])
        is_ours = not partitions_itself(connection, OPEN)
    for month in months:
        expired = {one.organisation_id for one in keepers if _is_before(month, one.first_kept("readings", now))}
        if expired:
            with this.tolerating("readings", month.start.date()):
                _drop_readings(this, month, expired)
    for keeper in keepers:
        for kind in _ROWS:
            with this.tolerating(kind, keeper.organisation_id):
                _drop_rows(this, kind, keeper)
    if is_ours:
        with this.tolerating("partitions", OPEN):
            this.dropped.partitions.extend(drop_empty_open_partitions(engine, now))
    return this.dropped


def _list_keepers(connection: Connection) -> list[_Keeper]:
    rows = connection.execute(
        text("SELECT id, readings_kept_days, ledger_kept_days, audit_kept_days FROM organisations ORDER BY id")
    )
    return [
        _Keeper(id_, {"readings": readings, "ledger": ledger, "audit": audit}) for id_, readings, ledger, audit in rows
    ]


def _is_before(month: Month, first_kept: Month | None) -> bool:
    return first_kept is not None and month < first_kept


def _drop_readings(this: _Round, month: Month, expired: set[int]) -> None:
    """Drop a month of closed days: the partition, when nobody keeps anything in it, else the rows of those who do not."""
    first, end = month.start.date(), month.plus(1).start.date()
    with this.engine.begin() as connection:
        hold_all_meters(connection)
        owners = set(connection.scalars(_OWNERS, {"first": first, "end": end}))
        leaving: list[int] = sorted(owners & expired)
        for organisation_id in leaving:
            this.put_away("readings", organisation_id, first, end)
        partitions = []
        if owners <= expired:
            partitions = drop_closed_partitions(connection, month)
        else:
            for organisation_id in leaving:
                _delete_closed(connection, organisation_id, first, end)
        for organisation_id in leaving:
            connection.execute(
                text(
                    "UPDATE organisations SET readings_from = greatest(readings_from, :end) WHERE id = :organisation_id"
                ),
                {"end": end, "organisation_id": organisation_id},
            )
    this.dropped.partitions.extend(partitions)
    for organisation_id in leaving:
        this.note("readings", organisation_id, first)


def _delete_closed(connection: Connection, organisation_id: int, first: date, end: date) -> None:
    for table in CLOSED:
        connection.execute(
            text(f"DELETE FROM {table} WHERE day >= :first AND day < :end AND meter_id IN {_OWN_METERS}"),  # noqa: S608 - both stand in this file
            {"organisation_id": organisation_id, "first": first, "end": end},
        )


def _drop_rows(this: _Round, kind: Kind, keeper: _Keeper) -> None:
    """Drop an organisation's expired months of ledger or audit trail, oldest first."""
    first_kept = keeper.first_kept(kind, this.now)
    while first_kept is not None:
        known: dict[str, object] = {"organisation_id": keeper.organisation_id, "end": first_kept.start}
        # Repeatable read: what is added after the archive has read is not seen, what is changed makes this fail.
        with (
            this.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection,
            connection.begin(),
        ):
            month = _oldest_month(connection, kind, known)
            if month is None:
                return
            first, end = month.start.date(), month.plus(1).start.date()
            this.put_away(kind, keeper.organisation_id, first, end)
            for table, at, is_own in _ROWS[kind]:
                if kind == "audit":
                    # Nobody may delete from the trail; it forgets by itself, without a hole in its chain.
                    connection.execute(
                        text("SELECT audit_forget(:organisation_id, :end)"),
                        {"organisation_id": keeper.organisation_id, "end": month.plus(1).start},
                    )
                    continue
                connection.execute(
                    text(f"DELETE FROM {table} WHERE {at} < :end AND {is_own}"),  # noqa: S608 - all stand in this file
                    {"organisation_id": keeper.organisation_id, "end": month.plus(1).start},
                )
        this.note(kind, keeper.organisation_id, first)


def _oldest_month(connection: Connection, kind: Kind, known: Mapping[str, object]) -> Month | None:
    oldest = [
        connection.scalar(
            text(f"SELECT min({at})::timestamptz FROM {table} WHERE {at} < :end AND {is_own}"),  # noqa: S608 - as above
            dict(known),
        )
        for table, at, is_own in _ROWS[kind]
    ]
    found = [instant for instant in oldest if instant is not None]
    return Month.of(min(found)) if found else None
