"""A bakery's month, for the demo and for tests of the energy pages: what can happen to registers happens to these.

October 2025 in Berlin, whose 26th has 25 hours. Readings each half hour from the middle of September on:

- the grid meter is not read for a day (8th to 9th), is reset during an outage (15th to 16th), is edited (21st);
- the oven is below it and complete; the cold store falls silent on the 24th and is exchanged on the 27th;
- the roof feeds in at noon, and its meter is never read again after the 29th.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, insert, select
from sqlalchemy.orm import Session

from cloud_hub.calendar.days import ms_of_instant
from cloud_hub.calendar.hours import parse_operating_hours
from cloud_hub.ledger import dirty
from cloud_hub.ledger.edits import make_edit
from cloud_hub.ledger.exchanges import record_exchange
from cloud_hub.ledger.recompute import recompute_all
from cloud_hub.readings.models import scans
from cloud_hub.registry.models import Controller, Meter, MeterRole, Point, Site, StoredLayout
from cloud_hub.tariffs.document import parse_tariff
from cloud_hub.tariffs.service import add_version, assign_tariff, create_tariff
from cloud_hub.tariffs.site_hours import put_hours

SLUG = "bakery"
ZONE = ZoneInfo("Europe/Berlin")

MONTH = "2025-10"
WHO = "ann@example.org"

_FIRST = datetime(2025, 9, 8, tzinfo=ZONE).astimezone(UTC)
_LAST = datetime(2025, 11, 1, 0, 30, tzinfo=ZONE).astimezone(UTC)
_STEP = timedelta(minutes=30)
_OPEN_DAYS = 6
_AT_RESET = 3_356_336
"""What the main register would show when it begins again, at noon of the 16th."""
_AT_EXCHANGE = 1_943_015
"""What the old cold store's shows at 10:00 of the 27th."""

_TARIFF = {
    "currency": "EUR",
    "components": [
        {"kind": "flat", "name": "Energy", "price_per_kwh": "0.2741"},
        {"kind": "standing", "name": "Standing charge", "price_per_day": "0.42"},
        {"kind": "demand", "name": "Peak demand", "price_per_kw": "7.35"},
        {"kind": "tax", "name": "VAT", "percent": "19"},
    ],
}
_HOURS = {
    "weekly": {day: ["03:30-18:00"] for day in ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday")}
}


@dataclass(frozen=True, slots=True)
class ExampleMonth:
    """What was made, by its ids."""

    grid_meter_id: int
    grid_point_id: int
    oven_point_id: int
    cold_point_id: int
    roof_point_id: int


def has_example_month(engine: Engine) -> bool:
    """Say whether the bakery is there already."""
    with Session(engine) as session:
        return session.scalars(select(Site.id).where(Site.slug == SLUG)).first() is not None


def add_example_month(engine: Engine) -> ExampleMonth:
    """Store the bakery and its readings, and work them into the ledger."""
    with Session(engine) as session, session.begin():
        site = _add_site(session)
        grid = _add_meter(session, site, "grid", "Main meter", MeterRole.GRID)
        oven = _add_meter(session, site, "oven", "Oven", MeterRole.OTHER, parent=grid)
        cold = _add_meter(session, site, "cold-store", "Cold store", MeterRole.AIR_CONDITIONER, parent=grid)
        roof = _add_meter(session, site, "roof", "Roof", MeterRole.PV, parent=grid)
        points = {meter.slug: _add_point(session, meter) for meter in (grid, oven, cold, roof)}
        _add_readings(session, grid, points["grid"], _main_w, _read_main)
        _add_readings(session, oven, points["oven"], _oven_w, lambda _, register: register)
        _add_readings(session, cold, points["cold-store"], _cold_w, _read_cold)
        _add_readings(session, roof, points["roof"], _roof_w, _read_roof)
        made = ExampleMonth(grid.id, points["grid"].id, points["oven"].id, points["cold-store"].id, points["roof"].id)
    recompute_all(engine, _LAST)
    with Session(engine) as session, session.begin():
        _judge(session, made)
    recompute_all(engine, _LAST)
    return made


def _judge(session: Session, made: ExampleMonth) -> None:
    """Do what people do about a month."""
    make_edit(
        session,
        made.grid_point_id,
        start=_at(21, 12),
        end=_at(21, 15),
        amount=Decimal(31_500),
        who=WHO,
        why="the welding works ran off our supply; read from their own meter",
    )
    record_exchange(
        session,
        made.cold_point_id,
        at=_at(27, 10),
        closing=Decimal(_AT_EXCHANGE),
        opening=Decimal(0),
        who=WHO,
        why="display was dark",
    )


def _add_site(session: Session) -> Site:
    site = Site(slug=SLUG, name="Bakery Lindenhof", time_zone=ZONE.key)
    session.add(site)
    session.flush()
    session.add(Controller(id=f"{SLUG}-1", site_id=site.id))
    session.flush()
    put_hours(session, site, parse_operating_hours(_HOURS), who=WHO)
    tariff = create_tariff(
        session, organisation_id=site.organisation_id, slug="trade", name="Trade", currency="EUR", who=WHO
    )
    add_version(session, tariff.id, parse_tariff(_TARIFF), valid_from=_FIRST, who=WHO)
    assign_tariff(session, site, tariff.id, valid_from=_FIRST, who=WHO)
    return site


def _add_meter(
    session: Session, site: Site, slug: str, label: str, role: MeterRole, *, parent: Meter | None = None
) -> Meter:
    meter = Meter(
        controller_id=f"{SLUG}-1",
        site_id=site.id,
        slug=slug,
        label=label,
        profile="eastron-sdm630",
        period_s=_STEP.total_seconds(),
        role=role.value,
        parent_id=None if parent is None else parent.id,
    )
    session.add(meter)
    session.flush()
    return meter


def _add_point(session: Session, meter: Meter) -> Point:
    point = Point(
        meter_id=meter.id,
        name="energy_active_import_total",
        quantity="active_energy",
        unit="Wh",
        kind="counter",
        period_s=meter.period_s,
    )
    session.add(point)
    session.flush()
    return point


def _add_readings(
    session: Session,
    meter: Meter,
    point: Point,
    power_w: Callable[[datetime], float],
    read: Callable[[datetime, float], float | None],
) -> None:
    """Store what a register shows that counts `power_w`; `read` says what is read of it, None where nothing is."""
    layout = StoredLayout(meter_id=meter.id, point_ids=[point.id])
    session.add(layout)
    session.flush()
    rows, register, at = [], 640_000.0, _FIRST
    while at <= _LAST:
        shown = read(at.astimezone(ZONE), round(register))
        if shown is not None:
            rows.append({"observed_at": at, "meter_id": meter.id, "layout_id": layout.id, "values": [shown]})
        register += power_w(at.astimezone(ZONE)) * _STEP.total_seconds() / 3600
        at += _STEP
    session.execute(insert(scans), rows)
    dirty.mark(session.connection(), [(meter.id, ms_of_instant(_FIRST), ms_of_instant(_LAST))])


def _at(day: int, hour: int) -> datetime:
    return datetime(2025, 10, day, hour, tzinfo=ZONE)


def _read_main(at: datetime, register: float) -> float | None:
    if _at(8, 9) < at < _at(9, 14) or _at(15, 2) < at < _at(16, 17):
        return None
    return register if at < _at(16, 17) else register - _AT_RESET


def _read_cold(at: datetime, register: float) -> float | None:
    if _at(24, 6) < at < _at(27, 11):
        return None
    return register if at <= _at(24, 6) else register - _AT_EXCHANGE


def _read_roof(at: datetime, register: float) -> float | None:
    return register if at <= _at(29, 8) else None


def _oven_w(at: datetime) -> float:
    hour = at.hour + at.minute / 60
    if at.isoweekday() > _OPEN_DAYS:
        return 150
    return 150 + 9_000 * math.exp(-(((hour - 5.5) / 2.2) ** 2)) + 2_500 * math.exp(-(((hour - 13.5) / 1.8) ** 2))


def _cold_w(at: datetime) -> float:
    hour = at.hour + at.minute / 60
    return 1_100 + 350 * math.sin((hour - 9) / 24 * 2 * math.pi) + 120 * math.sin(at.day * 1.7 + hour)


def _roof_w(at: datetime) -> float:
    hour = at.hour + at.minute / 60
    cloud = 0.55 + 0.45 * math.sin(at.day * 2.3)
    return max(0.0, 5_500 * cloud * math.cos((hour - 13.2) / 10.5 * math.pi)) if 8 <= hour <= 18.4 else 0.0


def _main_w(at: datetime) -> float:
    lights = 900 if at.isoweekday() <= _OPEN_DAYS and 3 <= at.hour < 19 else 180
    return max(60.0, _oven_w(at) + _cold_w(at) + lights - 0.6 * _roof_w(at))
