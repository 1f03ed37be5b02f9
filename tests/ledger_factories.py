"""Makers of meters with registers and of their readings, for tests of the ledger; what a test is about, it changes by keyword."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import hub_factories
import numpy as np
from sqlalchemy import Engine, insert, text, update
from sqlalchemy.orm import Session

from cloud_hub.energy.model import IntervalQuality
from cloud_hub.ledger.dirty import ScanSpan, mark_scans
from cloud_hub.ledger.recompute import recompute_all
from cloud_hub.ledger.versions import LedgerColumns, read_ledger
from cloud_hub.organisations.models import Organisation
from cloud_hub.readings.models import scans

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
"""In no time zone near a change of the clock."""
HALF_HOUR = timedelta(minutes=30)
WH = 1_000_000
"""A watt-hour in the ledger."""

CONTENT = (
    "point_id, day, start_at, end_at, total_micro, interval_s, calculation, completeness, "
    "amounts_micro, registered_micro, qualities, completenesses, causes, methods"
)


@dataclass(frozen=True, slots=True)
class Counted:
    """A meter with one register, as a test speaks of it."""

    site_id: int
    meter_id: int
    point_id: int
    layout_id: int


def add_counted(
    engine: Engine,
    slug: str = "north",
    *,
    time_zone: str = "UTC",
    interval_s: int = 1800,
    period_s: float = 1800,
    point: str = "energy_active_import_total",
    profile: str = "eastron-sdm630",
) -> Counted:
    """Add a site with one meter whose register is read each `period_s` seconds."""
    with Session(engine) as session, session.begin():
        session.execute(update(Organisation).values(interval_s=interval_s))
        site = hub_factories.add_site(session, slug, time_zone=time_zone)
        controller = hub_factories.add_controller(session, site, f"{slug}-1")
        meter = hub_factories.add_meter(session, controller, profile=profile, period_s=period_s)
        counter = hub_factories.add_point(session, meter, point, quantity="active_energy", unit="Wh", kind="counter")
        layout = hub_factories.add_layout(session, meter, [counter])
        return Counted(site.id, meter.id, counter.id, layout.id)


def store(
    engine: Engine,
    counted: Counted,
    readings: Iterable[tuple[datetime, float]],
    *,
    now: datetime | None = None,
) -> None:
    """Store readings as ingest does: with their marks, in one transaction."""
    rows = list(readings)
    if not rows:
        return
    times = np.array([round(at.timestamp() * 1000) for at, _ in rows], np.int64)
    with engine.begin() as connection:
        connection.execute(
            insert(scans),
            [
                {"observed_at": at, "meter_id": counted.meter_id, "layout_id": counted.layout_id, "values": [value]}
                for at, value in rows
            ],
        )
        mark_scans(connection, [ScanSpan(counted.meter_id, times)], now=now or rows[-1][0] + timedelta(days=3650))


def climb(
    start: datetime, count: int, *, step: timedelta = HALF_HOUR, first: float = 1000.0, rise: float = 100.0
) -> list[tuple[datetime, float]]:
    """Make readings of a register that rises evenly, by `rise` watt-hours each `step`."""
    return [(start + n * step, first + n * rise) for n in range(count)]


def recompute(engine: Engine, now: datetime) -> None:
    """Bring the ledger in step, as a work process does."""
    recompute_all(engine, now)


def read(
    engine: Engine, counted: Counted, first: date, last: date | None = None, *, known: datetime | None = None
) -> LedgerColumns:
    """Read a register's intervals."""
    with Session(engine) as session:
        return read_ledger(session, [counted.point_id], first, last or first, known)[counted.point_id]


def amounts(columns: LedgerColumns) -> list[Decimal]:
    """Return the amounts in watt-hours."""
    return [Decimal(int(amount)) / WH for amount in columns.amounts_micro]


def quality_names(columns: LedgerColumns) -> list[str]:
    """Return the qualities' names in lower case."""
    return [IntervalQuality(code).name.lower() for code in columns.qualities.tolist()]


def content(engine: Engine) -> Sequence[tuple[object, ...]]:
    """Return all day rows, months and findings, without what says when they came to be."""
    with engine.connect() as connection:
        days = connection.execute(text(f"SELECT {CONTENT} FROM ledger_days ORDER BY point_id, day")).all()
        months = connection.execute(text("SELECT * FROM ledger_months ORDER BY point_id, month")).all()
        findings = connection.execute(
            text("SELECT point_id, kind, from_at, to_at, detail::text FROM ledger_findings ORDER BY 1, 2, 3")
        ).all()
    return [tuple(row) for rows in (days, months, findings) for row in rows]


def count_rows(engine: Engine, table: str) -> int:
    """Count a table's rows."""
    with engine.connect() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())
