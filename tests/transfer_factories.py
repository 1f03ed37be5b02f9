"""Makers of files and what was stored of them, for tests of import, export and archive."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from hub_factories import add_controller, add_meter, add_point, add_site
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cloud_hub.calendar.days import day_bounds_ms, instant_of_ms
from cloud_hub.energy.model import Cause, IntervalQuality, Method
from cloud_hub.ledger.models import LedgerDay
from cloud_hub.registry.models import Point
from cloud_hub.transfer.csv_readings import parse_readings
from cloud_hub.transfer.importing import Imported, import_readings
from cloud_hub.transfer.options import ImportOptions
from cloud_hub.transfer.plan import Plan
from cloud_hub.transfer.targets import Target

WHO = "ann@example.org"
KNOWN_AT = datetime(2026, 11, 1, tzinfo=UTC)
NORTH = Target(site="north", creates=True)


def plan_of(content: str, **options: Any) -> Plan:
    """Parse a file's content."""
    return parse_readings(content.splitlines(keepends=True), ImportOptions(**options))


def import_text(
    engine: Engine,
    content: str,
    *,
    target: Target = NORTH,
    skips_rejected: bool = False,
    is_dry_run: bool = False,
    **options: Any,
) -> Imported:
    """Import a file's content; left out, into the site `north`, whose meters and points are made."""
    return import_readings(
        engine,
        plan_of(content, **options),
        target,
        who=WHO,
        source="file.csv",
        skips_rejected=skips_rejected,
        is_dry_run=is_dry_run,
    )


def stored_readings(engine: Engine) -> list[tuple[str, str, datetime, float | None, int]]:
    """Return what the view tells: meter, point, instant, value and quality, in this order."""
    query = text(
        "SELECT m.slug, p.name, r.observed_at, r.value, r.quality FROM readings r JOIN meters m ON m.id = r.meter_id "
        "JOIN points p ON p.id = r.point_id ORDER BY m.slug, p.name, r.observed_at, r.value"
    )
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query)]


def count_rows(engine: Engine, *tables: str) -> list[int]:
    """Count the rows of tables."""
    with engine.connect() as connection:
        return [connection.scalars(text(f"SELECT count(*) FROM {table}")).one() for table in tables]


def add_ledger_day(
    session: Session,
    point: Point,
    day: date,
    amounts_micro: Sequence[int] | None = None,
    *,
    zone: str = "Europe/Berlin",
    interval_s: int = 1800,
    qualities: Mapping[int, IntervalQuality] | None = None,
    methods: Mapping[int, Method] | None = None,
    causes: Mapping[int, Cause] | None = None,
) -> LedgerDay:
    """Add a day of the ledger: half hour n counts n + 1 thousandths of the unit, all measured, unless told otherwise."""
    bounds = day_bounds_ms(day, ZoneInfo(zone), interval_s)
    count = len(bounds) - 1
    quality = [IntervalQuality.MEASURED.value] * count
    for place, one in (qualities or {}).items():
        quality[place] = one.value
    amounts = list(amounts_micro or [1_000 * (n + 1) for n in range(count)])
    amounts = [0 if code == IntervalQuality.MISSING else amount for amount, code in zip(amounts, quality, strict=True)]
    row = LedgerDay(
        start_at=instant_of_ms(int(bounds[0])),
        end_at=instant_of_ms(int(bounds[-1])),
        point_id=point.id,
        total_micro=sum(amounts),
        day=day,
        interval_s=interval_s,
        calculation=1,
        completeness=1000,
        amounts_micro=amounts,
        qualities=quality,
        completenesses=[0 if code == IntervalQuality.MISSING else 1000 for code in quality],
        causes=[(causes or {}).get(n, Cause.NONE).value for n in range(count)] if causes else None,
        methods=[(methods or {}).get(n, Method.NONE).value for n in range(count)] if methods else None,
        known_at=[KNOWN_AT] * count,
    )
    session.add(row)
    session.flush()
    return row


def add_register_point(session: Session, name: str = "active_energy_import_total", **site: Any) -> Point:
    """Add a site with one meter that has one energy register."""
    meter = add_meter(session, add_controller(session, add_site(session, **site)), period_s=1800)
    return add_point(session, meter, name, quantity="active_energy", unit="Wh", kind="counter")
