"""The page of one register's day: what is known of each interval, since when, and what was known before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.calendar.days import (
    day_bounds_ms,
    end_of_day,
    instant_of_ms,
    local_date,
    ms_of_instant,
    start_of_day,
)
from cloud_hub.dashboard import wording
from cloud_hub.dashboard.energy_period import month_of, parse_day
from cloud_hub.dashboard.energy_wording import (
    METHODS,
    NOT_KNOWN_THEN,
    Scale,
    Word,
    describe_causes,
    describe_quality,
    format_clock,
    format_day,
    format_exact,
    format_number,
    format_per_mille,
    scale_of,
    zone_name,
)
from cloud_hub.dashboard.ledger_events import Events, list_events
from cloud_hub.dashboard.ledger_history import OlderVersion, is_waiting, read_older
from cloud_hub.dashboard.ledger_instants import PASSES, parse_local
from cloud_hub.energy.model import COMPLETE, IntervalQuality
from cloud_hub.errors import Invalid, NotFound
from cloud_hub.ledger.versions import LedgerColumns, read_ledger
from cloud_hub.organisations.models import Organisation
from cloud_hub.registry import queries
from cloud_hub.registry.models import Meter, Point, Site
from protocol.manifest import PointKind

_US = timedelta(microseconds=1)
_EPOCH = instant_of_ms(0)


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount to three decimals, and with all of them."""

    text: str
    exact: str


@dataclass(frozen=True, slots=True)
class Older:
    """A version that holds no more."""

    amount: Amount | None
    quality: Word
    causes: tuple[str, ...]
    held: str
    """From when to when, in words."""


@dataclass(frozen=True, slots=True)
class IntervalRow:
    """One interval."""

    number: int
    """From 1 at local midnight, as settlement periods are counted."""
    local: str
    utc: str
    start_iso: str
    amount: Amount | None
    """None where nothing is known."""
    registered: Amount | None
    """What the register alone says, where that differs."""
    quality: Word
    words: str
    """Causes and method."""
    completeness: str
    known_since: str
    older: tuple[Older, ...]


@dataclass(frozen=True, slots=True)
class Border:
    """A border of intervals, to choose from."""

    ms: int
    name: str


@dataclass(frozen=True, slots=True)
class LedgerDayPage:
    """All that the page shows."""

    point_id: int
    point: str
    meter_id: int
    meter: str
    site_slug: str
    site: str
    zone: str
    unit: str
    day: date
    day_name: str
    is_over: bool
    clock_note: str
    """Says so when the clock changes on this day."""
    previous: date
    next: date | None
    known: str
    """The instant that is asked for, as it stands in the form; empty for now."""
    known_text: str
    is_waiting: bool
    total: Amount | None
    total_words: str
    completeness: str
    rows: tuple[IntervalRow, ...]
    borders: tuple[Border, ...]
    """Of the intervals that are over."""
    events: Events

    def has_form(self, action: str, item: str) -> bool:
        """Say whether the page has the form of an action; where each row of a list has one, for that row."""
        listed = {"undo": self.events.edits, "withdraw": self.events.exchanges, "suspect": self.events.suspects}
        if action in listed:
            return any(str(event.id) == item and event.is_open for event in listed[action])
        return action in {"exchange", "register"} or (action == "edit" and len(self.borders) > 1)


def compose_day(
    session: Session, point_id: int, day_text: str, known_text: str, now: datetime
) -> tuple[LedgerDayPage, str]:
    """Compose the page, and a sentence on what of the address could not be followed; empty when all could.

    Raises: UnknownPoint, NotFound for a point that is no counter.
    """
    point = queries.get_point(session, point_id)
    if point.kind != PointKind.COUNTER.value:
        raise NotFound(f"Point {point_id} ({point.name}) is no counter: only what a counter counts is in the ledger.")
    meter = queries.get_meter(session, point.meter_id)
    site = queries.get_site_by_id(session, meter.site_id)
    zone = wording.find_zone(site.time_zone)
    today, problem = local_date(now, zone), ""
    day, known = today, None
    try:
        day = parse_day(day_text, "The day") if day_text else today
        known = _parse_known(known_text, zone) if known_text else None
    except Invalid as error:
        problem = str(error)
    return _compose(session, _Subject(point, meter, site, zone, now), day, known, known_text if known else ""), problem


@dataclass(frozen=True, slots=True)
class _Subject:
    point: Point
    meter: Meter
    site: Site
    zone: ZoneInfo
    now: datetime


def _compose(session: Session, subject: _Subject, day: date, known: datetime | None, known_text: str) -> LedgerDayPage:
    point, meter, site, zone, now = subject.point, subject.meter, subject.site, subject.zone, subject.now
    interval_s = session.execute(
        select(Organisation.interval_s).where(Organisation.id == site.organisation_id)
    ).scalar_one()
    bounds = day_bounds_ms(day, zone, interval_s)
    columns = read_ledger(session, [point.id], day, day, known)[point.id]
    older = read_older(session, point.id, instant_of_ms(int(bounds[0])), instant_of_ms(int(bounds[-1])))
    scale = scale_of(point.unit)
    month = month_of(day)
    today = local_date(now, zone)
    total, words, completeness = _total(columns, scale)
    over = [int(bound) for bound in bounds if bound <= ms_of_instant(now)]
    return LedgerDayPage(
        point_id=point.id,
        point=wording.label_point(point.name),
        meter_id=meter.id,
        meter=meter.label or meter.slug,
        site_slug=site.slug,
        site=site.name,
        zone=zone.key,
        unit=scale.unit,
        day=day,
        day_name=format_day(day),
        is_over=int(bounds[-1]) <= ms_of_instant(now),
        clock_note=_clock_note(bounds, interval_s),
        previous=day - timedelta(days=1),
        next=day + timedelta(days=1) if day < today else None,
        known=known_text,
        known_text=format_clock(known, zone) if known else "",
        is_waiting=known is None and is_waiting(session, meter.id),
        total=total,
        total_words=words,
        completeness=completeness,
        rows=tuple(_rows(bounds, columns, older, _View(zone, scale, is_looking_back=known is not None))),
        borders=tuple(Border(ms, _clock(ms, zone)) for ms in over),
        events=list_events(
            session, point, start_of_day(month.first, zone), end_of_day(month.last, zone), zone=zone, scale=scale
        ),
    )


@dataclass(frozen=True, slots=True)
class _View:
    zone: ZoneInfo
    scale: Scale
    is_looking_back: bool
    """True when what was known earlier is asked for."""


def _parse_known(text: str, zone: ZoneInfo) -> datetime:
    # Of a time that came twice, what was known the second time: nothing is hidden by it.
    return parse_local(text, zone, "The time of knowledge", PASSES[1])


def _rows(
    bounds: np.ndarray[tuple[int], np.dtype[np.int64]],
    columns: LedgerColumns,
    older: Mapping[int, Sequence[OlderVersion]],
    view: _View,
) -> list[IntervalRow]:
    zone, scale, is_looking_back = view.zone, view.scale, view.is_looking_back
    place = {int(start): n for n, start in enumerate(columns.start_ms.tolist())}
    rows = []
    for number, (start, end) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True), start=1):
        n = place.get(start)
        quality = int(IntervalQuality.ABSENT) if n is None else int(columns.qualities[n])
        amount = 0 if n is None else int(columns.amounts_micro[n])
        registered = 0 if n is None else int(columns.registered_micro[n])
        is_known = quality < IntervalQuality.MISSING
        rows.append(
            IntervalRow(
                number=number,
                local=f"{_clock(start, zone)} to {_clock(end, zone)}",
                utc=f"{instant_of_ms(start):%H:%M} to {instant_of_ms(end):%H:%M}",
                start_iso=instant_of_ms(start).isoformat(),
                amount=_amount(amount, scale) if is_known else None,
                registered=_amount(registered, scale) if registered != amount else None,
                quality=NOT_KNOWN_THEN if n is None and is_looking_back else describe_quality(quality),
                words="" if n is None else _words(int(columns.causes[n]), int(columns.methods[n])),
                completeness="" if n is None else format_per_mille(int(columns.completenesses[n])),
                known_since="" if n is None else format_clock(_EPOCH + int(columns.known_us[n]) * _US, zone),
                older=tuple(_older(version, zone, scale) for version in older.get(start, ())),
            )
        )
    return rows


def _amount(micro: int, scale: Scale) -> Amount:
    return Amount(format_number(micro, scale, 3), format_exact(micro, scale))


def _words(causes: int, method: int) -> str:
    told = (METHODS.get(method, ""), *describe_causes(causes))
    return "; ".join(word for word in told if word)


def _older(version: OlderVersion, zone: ZoneInfo, scale: Scale) -> Older:
    is_known = version.quality < IntervalQuality.MISSING
    return Older(
        amount=_amount(version.amount_micro, scale) if is_known else None,
        quality=describe_quality(version.quality),
        causes=describe_causes(version.causes),
        held=f"{format_clock(version.known_from, zone)} to {format_clock(version.known_until, zone)}",
    )


def _total(columns: LedgerColumns, scale: Scale) -> tuple[Amount | None, str, str]:
    """Return the day's sum, how it is known, and its completeness weighted by time."""
    known = columns.qualities < IntervalQuality.MISSING
    if not known.any():
        return None, "missing" if len(columns) else "not expected", format_per_mille(0) if len(columns) else ""
    worst = {
        "in part": (columns.qualities == IntervalQuality.PARTIAL) | ~known,
        "estimated in part": columns.qualities == IntervalQuality.ESTIMATED,
        "edited in part": columns.qualities == IntervalQuality.EDITED,
    }
    words = next((word for word, mask in worst.items() if mask.any()), "measured")
    spans = columns.end_ms - columns.start_ms
    complete = int((columns.completenesses.astype(np.int64) * spans).sum()) // int(spans.sum())
    return _amount(int(columns.amounts_micro.sum()), scale), words, format_per_mille(min(complete, COMPLETE))


def _clock(at_ms: int, zone: ZoneInfo) -> str:
    local = instant_of_ms(at_ms).astimezone(zone)
    return f"{local:%H:%M} {zone_name(local)}"


def _clock_note(bounds: np.ndarray[tuple[int], np.dtype[np.int64]], interval_s: int) -> str:
    hours = Decimal(int(bounds[-1] - bounds[0])) / 3_600_000
    if hours == 24:
        return ""
    return f"The clock changes on this day: it has {hours.normalize():f} hours and {len(bounds) - 1} intervals of {interval_s // 60} minutes."
