"""What the pages show of sites, controllers and meters, ready to be written down by a template."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from cloud_hub.dashboard import wording
from cloud_hub.dashboard.health_notes import Note, list_notes
from cloud_hub.readings import delivery
from cloud_hub.readings.service import LatestReading, list_latest
from cloud_hub.registry import queries
from cloud_hub.registry.models import Controller, Meter, Point, Site
from cloud_hub.web.pagination import Window, encode_cursor
from protocol.manifest import PointKind
from protocol.quality import Quality, quality_name

SITES_PER_PAGE = 10
CONTROLLERS_PER_SITE = 20
METERS_PER_SITE = 40
CELLS_PER_CARD = 4

STALE_AFTER_PERIODS = 3
STALE_AFTER_S_MIN = 30.0

# What a glance at a meter is for, first things first; within a unit, totals before phases.
_UNITS_BY_INTEREST = ("W", "Wh", "m3", "m3/h", "degC", "V", "A", "%", "Hz")


@dataclass(frozen=True, slots=True)
class Cell:
    """The newest reading of a point."""

    point_id: int
    label: str
    own_unit: str
    state: str
    """`good`, `stale` (old), `doubted` (a value, but), `missing` (no value and why), `none` (never read)."""
    number: str | None
    unit: str
    quality: str
    note: str
    age: str
    age_state: str
    observed_at: datetime | None
    local_time: str
    is_counter: bool = False
    """True for what has a ledger."""

    @property
    def without_note(self) -> "Cell":
        """The same, for places that show the quality in a column of its own."""
        return replace(self, note="")


@dataclass(frozen=True, slots=True)
class MeterCard:
    """A meter and its newest readings; its own age is that of the newest."""

    id: int
    label: str
    profile: str
    period: str
    cells: tuple[Cell, ...]
    flags: str
    age: str
    age_state: str
    observed_at: datetime | None
    local_time: str


@dataclass(frozen=True, slots=True)
class ControllerCard:
    """A controller, whether it is there, and how far its delivery is."""

    id: str
    presence: str
    presence_text: str
    heard: str
    delivery: delivery.Delivery
    notes: tuple[Note, ...]
    """What its own report says that somebody should know."""


@dataclass(frozen=True, slots=True)
class SiteCard:
    """A site with what belongs to it."""

    slug: str
    """With its organisation before it where several sites in sight have the same: as links name it."""
    name: str
    zone: str
    zone_text: str
    controllers: tuple[ControllerCard, ...]
    meters: tuple[MeterCard, ...]
    more_meters: bool
    polled_from: tuple[str, ...] = ()
    """Controllers of other sites that poll meters of this one."""


@dataclass(frozen=True, slots=True)
class Overview:
    """One page of sites."""

    sites: tuple[SiteCard, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class MeterPage:
    """One meter, its site and its controller."""

    site: SiteCard
    controller: ControllerCard
    meter: MeterCard


def compose_overview(session: Session, window: Window, now: datetime) -> Overview:
    """Compose a page of sites; the number of queries does not grow with what is on it."""
    page = queries.list_sites(session, window)
    site_ids = [site.id for site in page.items]
    controllers = queries.list_controllers_of_sites(session, site_ids, per_site=CONTROLLERS_PER_SITE)
    meters = queries.list_meters_of_sites(session, site_ids, per_site=METERS_PER_SITE + 1)
    meter_ids = [meter.id for meter in meters]
    points = _points_by_meter(queries.list_points(session, meter_ids))
    latest = {reading.point_id: reading for reading in list_latest(session, meter_ids)}
    deliveries = delivery.count_deliveries(session, [controller.id for controller in controllers])
    controllers_of, meters_of = defaultdict(list), defaultdict(list)
    for controller in controllers:
        controllers_of[controller.site_id].append(_controller_card(controller, deliveries[controller.id], now))
    for meter in meters:
        meters_of[meter.site_id].append(meter)
    refs = queries.map_site_refs(session, page.items)
    cards = []
    for site in page.items:
        zone = wording.find_zone(site.time_zone)
        cells = [
            _meter_card(meter, points[meter.id], latest, zone, now) for meter in meters_of[site.id][:METERS_PER_SITE]
        ]
        shown = [replace(card, cells=_at_a_glance(card.cells)) for card in cells]
        more = len(meters_of[site.id]) > METERS_PER_SITE
        card = _site_card(site, refs[site.id], now, controllers_of[site.id], shown, more_meters=more)
        polling = {meter.controller_id for meter in meters_of[site.id]} - {own.id for own in controllers_of[site.id]}
        cards.append(replace(card, polled_from=tuple(sorted(polling))))
    return Overview(tuple(cards), encode_cursor(page.next_key))


def compose_meter(session: Session, meter_id: int, now: datetime) -> MeterPage:
    """Compose the page of one meter.

    Raises: UnknownMeter.
    """
    meter = queries.get_meter(session, meter_id)
    site = queries.get_site_by_id(session, meter.site_id)
    controller = queries.get_controller(session, meter.controller_id)
    counts = delivery.count_deliveries(session, [controller.id])[controller.id]
    zone = wording.find_zone(site.time_zone)
    points = queries.list_points(session, [meter.id])
    latest = {reading.point_id: reading for reading in list_latest(session, [meter.id])}
    return MeterPage(
        _site_card(site, queries.map_site_refs(session, [site])[site.id], now, (), ()),
        _controller_card(controller, counts, now),
        _meter_card(meter, points, latest, zone, now),
    )


def _points_by_meter(points: Iterable[Point]) -> Mapping[int, list[Point]]:
    by_meter: defaultdict[int, list[Point]] = defaultdict(list)
    for point in points:
        by_meter[point.meter_id].append(point)
    return by_meter


def _site_card(
    site: Site,
    ref: str,
    now: datetime,
    controllers: Sequence[ControllerCard],
    meters: Sequence[MeterCard],
    *,
    more_meters: bool = False,
) -> SiteCard:
    zone = wording.find_zone(site.time_zone)
    zone_text = wording.describe_zone(zone, now)
    return SiteCard(ref, site.name, zone.key, zone_text, tuple(controllers), tuple(meters), more_meters)


def _controller_card(controller: Controller, counts: delivery.Delivery, now: datetime) -> ControllerCard:
    presence = controller.presence or "unknown"
    text = {"unknown": "never connected", "leaving": "stopped on purpose"}.get(presence, presence)
    seen = controller.last_seen_at
    heard = "not heard yet" if seen is None else f"heard {wording.format_age((now - seen).total_seconds())}"
    return ControllerCard(controller.id, presence, text, heard, counts, list_notes(controller.health))


def _meter_card(
    meter: Meter, points: Sequence[Point], latest: Mapping[int, LatestReading], zone: ZoneInfo, now: datetime
) -> MeterCard:
    cells = tuple(_cell(point, latest.get(point.id), zone, now) for point in sorted(points, key=_interest))
    newest = max((cell for cell in cells if cell.observed_at), key=lambda cell: str(cell.observed_at), default=None)
    return MeterCard(
        id=meter.id,
        label=meter.label or meter.slug,
        profile=meter.profile,
        period=wording.format_period(meter.period_s),
        cells=cells,
        flags=_flags(cells),
        age=newest.age if newest else "never read",
        age_state=newest.age_state if newest else "none",
        observed_at=newest.observed_at if newest else None,
        local_time=newest.local_time if newest else "",
    )


def _cell(point: Point, reading: LatestReading | None, zone: ZoneInfo, now: datetime) -> Cell:
    label = wording.label_point(point.name)
    is_counter = point.kind == PointKind.COUNTER.value and point.statistic is None
    if reading is None:
        never = ("none", None, "", "never read", "", "never", "none", None, "")
        return Cell(point.id, label, point.unit, *never, is_counter)
    age_s = (now - reading.observed_at).total_seconds()
    is_old = point.period_s is not None and age_s > max(STALE_AFTER_PERIODS * point.period_s, STALE_AFTER_S_MIN)
    state = _state(reading, is_old=is_old)
    quality = quality_name(reading.quality).replace("_", " ")
    measure = None if reading.value is None else wording.format_measure(reading.value, point.unit)
    return Cell(
        point_id=point.id,
        label=label,
        own_unit=point.unit,
        state=state,
        number=measure.number if measure else None,
        unit=measure.unit if measure else "",
        quality=f"{quality}, stale" if is_old else quality,
        note={"good": "", "stale": "stale"}.get(state, quality),
        age=wording.format_age(age_s),
        age_state="stale" if is_old else "fresh",
        observed_at=reading.observed_at,
        local_time=wording.format_local(reading.observed_at, zone),
        is_counter=is_counter,
    )


def _state(reading: LatestReading, *, is_old: bool) -> str:
    if reading.value is None:
        return "missing"
    if reading.quality != Quality.GOOD:
        return "doubted"
    return "stale" if is_old else "good"


def _at_a_glance(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Keep the most interesting point of each of the first few units."""
    by_unit: dict[str, Cell] = {}
    for cell in cells:
        by_unit.setdefault(cell.own_unit, cell)
    return tuple(by_unit.values())[:CELLS_PER_CARD]


def _flags(cells: Sequence[Cell]) -> str:
    flagged = sum(cell.state in {"missing", "doubted"} for cell in cells)
    return f"{flagged} of {len(cells)} points not good" if flagged else ""


def _interest(point: Point) -> tuple[int, bool, int]:
    rank = _UNITS_BY_INTEREST.index(point.unit) if point.unit in _UNITS_BY_INTEREST else len(_UNITS_BY_INTEREST)
    return rank, "total" not in point.name, point.id
