"""Makers of ledger rows, registers and organisations for tests of what reads the ledger."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hub_factories import add_controller, add_meter, add_point
from sqlalchemy import insert
from sqlalchemy.orm import Session

from cloud_hub.calendar.days import day_bounds_ms, instant_of_ms
from cloud_hub.energy.model import COMPLETE, IntervalQuality
from cloud_hub.ledger.models import LedgerDay, RegisterRecord
from cloud_hub.organisations.models import Organisation
from cloud_hub.registry.models import Controller, Meter, MeterRole, Point, Site

KNOWN_AT = datetime(2026, 11, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 20, tzinfo=UTC)
WH = 1_000_000
"""Millionths in a Wh."""

Slot = int | tuple[int, IntervalQuality, int]
"""Amount in millionths, measured and complete; or amount, quality and completeness."""

MISSING: Slot = (0, IntervalQuality.MISSING, 0)
ABSENT: Slot = (0, IntervalQuality.ABSENT, 0)


def add_organisation(session: Session, slug: str, *, interval_s: int = 1800) -> Organisation:
    """Add an organisation below the operator's."""
    organisation = Organisation(slug=slug, name=slug.title(), interval_s=interval_s, parent_id=1)
    session.add(organisation)
    session.flush()
    return organisation


def add_metered(
    session: Session,
    controller: Controller,
    slug: str,
    *,
    role: MeterRole = MeterRole.OTHER,
    parent: Meter | None = None,
    quantity: str = "active_energy",
    unit: str = "Wh",
    direction: str = "import",
) -> tuple[Meter, Point]:
    """Add a meter with one total register."""
    meter = add_meter(session, controller, slug)
    meter.role, meter.parent_id = role, None if parent is None else parent.id
    return meter, add_register(session, meter, quantity=quantity, unit=unit, direction=direction)


def add_register(
    session: Session,
    meter: Meter,
    *,
    quantity: str = "active_energy",
    unit: str = "Wh",
    direction: str = "import",
    is_total: bool = True,
    valid_from: datetime | None = None,
    valid_until: datetime | None = None,
) -> Point:
    """Add a counter point and how it is to be read."""
    name = f"{quantity}_{direction}{'' if is_total else '_l1'}"
    point = add_point(session, meter, name, quantity=quantity, unit=unit, kind="counter")
    add_record(session, point, direction=direction, is_total=is_total, valid_from=valid_from, valid_until=valid_until)
    return point


def add_record(
    session: Session,
    point: Point,
    *,
    direction: str = "import",
    is_total: bool = True,
    valid_from: datetime | None = None,
    valid_until: datetime | None = None,
) -> None:
    """Say how a point's register is to be read in a period."""
    session.add(
        RegisterRecord(
            point_id=point.id,
            unit=point.unit,
            direction=direction,
            is_total=is_total,
            valid_from=valid_from,
            valid_until=valid_until,
            recorded_by="profile",
        )
    )
    session.flush()


def add_day(
    session: Session, point: Point, site: Site, day: date, slots: Slot | Sequence[Slot], *, interval_s: int = 1800
) -> int:
    """Add one local day of the ledger: all intervals alike, or one entry for each. Return how many it has."""
    row = _day_row(point, site, day, slots, interval_s)
    session.execute(insert(LedgerDay), [row])
    return len(row["qualities"])


def add_days(
    session: Session, point: Point, site: Site, first: date, days: int, *, slot: Slot, interval_s: int = 1800
) -> int:
    """Add successive local days, all intervals alike. Return how many intervals they have."""
    rows = [_day_row(point, site, first + timedelta(days=n), slot, interval_s) for n in range(days)]
    session.execute(insert(LedgerDay), rows)
    return sum(len(row["qualities"]) for row in rows)


def add_plain_site(
    session: Session,
    slug: str = "north",
    *,
    time_zone: str = "Europe/Berlin",
    organisation: Organisation | None = None,
) -> tuple[Site, Controller]:
    """Add a site with a controller."""
    site = Site(slug=slug, name=slug.title(), time_zone=time_zone)
    if organisation is not None:
        site.organisation_id = organisation.id
    session.add(site)
    session.flush()
    return site, add_controller(session, site, f"{slug}-1")


def _day_row(point: Point, site: Site, day: date, slots: Slot | Sequence[Slot], interval_s: int) -> dict[str, Any]:
    bounds = day_bounds_ms(day, ZoneInfo(site.time_zone), interval_s).tolist()
    given = [slots] * (len(bounds) - 1) if isinstance(slots, int | tuple) else list(slots)
    assert len(given) == len(bounds) - 1, f"{day} has {len(bounds) - 1} intervals"
    full = [each if isinstance(each, tuple) else (each, IntervalQuality.MEASURED, COMPLETE) for each in given]
    amounts = [amount for amount, _, _ in full]
    return {
        "start_at": instant_of_ms(bounds[0]),
        "end_at": instant_of_ms(bounds[-1]),
        "point_id": point.id,
        "total_micro": sum(amounts),
        "day": day,
        "interval_s": interval_s,
        "calculation": 1,
        "completeness": sum(completeness for _, _, completeness in full) // len(full),
        "amounts_micro": amounts,
        "qualities": [int(quality) for _, quality, _ in full],
        "completenesses": [completeness for _, _, completeness in full],
        "known_at": [KNOWN_AT] * len(full),
    }
