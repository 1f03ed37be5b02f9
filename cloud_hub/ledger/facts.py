"""What the computation must know of meters beside their readings: a few statements, however many meters."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from cloud_hub.calendar.days import ms_of_instant
from cloud_hub.energy.model import Direction, Edit, Exchange, Int64s, Register
from cloud_hub.energy.rules import Override, Ruleset, load_ruleset
from cloud_hub.ledger.models import LedgerEdit, MeterExchange, RegisterRecord, SuspectSpan, ValidationSetting
from cloud_hub.ledger.registers import ensure_registers
from cloud_hub.organisations.models import Organisation
from cloud_hub.registry.models import Meter, Point, Site
from protocol.errors import ProtocolError
from protocol.library import get_profile

DISCARDED = "discarded"

OUT_OF_REACH = timedelta(days=4)
"""A day so long after the last reading that was dropped depends on none of those: `REACH_MS`, in whole days, and some."""

_APART_MS = 3_600_000
"""Suspect readings further apart than this are named as two spans."""

_NO_TIMES = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class PointFacts:
    """One register with all that was said of it."""

    point_id: int
    meter_id: int
    period_s: float | None
    registers: Sequence[Register]
    exchanges: Sequence[Exchange]
    edits: Sequence[Edit]
    ruleset: Ruleset
    ruleset_of_today: Ruleset
    """The same without the comparisons of whole days."""


@dataclass(frozen=True, slots=True)
class MeterFacts:
    """One meter, its registers, and what of its readings is not to count."""

    meter_id: int
    organisation_id: int
    zone: ZoneInfo
    interval_s: int
    commissioned_ms: int | None
    points: Sequence[PointFacts]
    suspect_ms: Int64s = field(default_factory=lambda: _NO_TIMES)
    """Readings that wait for judgement, sorted; none of them counts."""
    discarded_ms: Int64s = field(default_factory=lambda: _NO_TIMES)
    """Readings that were judged and do not count."""
    written_from: date | None = None
    """Days before have lost the readings that they were computed from, and stay as they are."""

    @property
    def suspect_spans(self) -> list[tuple[int, int]]:
        """Readings that wait, as stretches of time: first and last instant."""
        times = self.suspect_ms
        if not len(times):
            return []
        breaks = np.flatnonzero(np.diff(times) > _APART_MS)
        starts, ends = np.append(0, breaks + 1), np.append(breaks, len(times) - 1)
        return list(zip(times[starts].tolist(), times[ends].tolist(), strict=True))


def load_facts(session: Session, meter_ids: Collection[int]) -> dict[int, MeterFacts]:
    """Look up all there is to know of these meters; those without a register have no points."""
    query = select(Meter, Site.time_zone, Organisation.id, Organisation.interval_s, Organisation.readings_from).join(
        Site, Site.id == Meter.site_id
    )
    query = query.join(Organisation, Organisation.id == Site.organisation_id).where(Meter.id.in_(meter_ids))
    rows = session.execute(query).all()
    ensure_registers(session, [row.Meter for row in rows])
    rules = _Rules(session, {row.id for row in rows})
    points = _load_points(session, [(row.Meter, row.id) for row in rows], rules)
    suspect, discarded = _load_suspects(session, meter_ids)
    return {
        meter.id: MeterFacts(
            meter.id,
            organisation_id,
            ZoneInfo(time_zone),
            interval_s,
            None if meter.commissioned_at is None else ms_of_instant(meter.commissioned_at),
            points[meter.id],
            suspect.get(meter.id, _NO_TIMES),
            discarded.get(meter.id, _NO_TIMES),
            None if readings_from is None else readings_from + OUT_OF_REACH,
        )
        for meter, time_zone, organisation_id, interval_s, readings_from in rows
    }


class _Rules:
    """The rules of each organisation, looked up once."""

    def __init__(self, session: Session, organisation_ids: Collection[int]) -> None:
        self._overrides: defaultdict[int, list[Override]] = defaultdict(list)
        query = select(ValidationSetting).where(ValidationSetting.organisation_id.in_(organisation_ids))
        for setting in session.scalars(query):
            override = Override(setting.meter_kind, setting.rule, setting.parameters)
            self._overrides[setting.organisation_id].append(override)
        self._known: dict[tuple[int, str, str], tuple[Ruleset, Ruleset]] = {}

    def get(self, organisation_id: int, profile_id: str, quantity: str) -> tuple[Ruleset, Ruleset]:
        """Return the rules for a register of a meter with that profile, with and without comparisons of days."""
        key = organisation_id, profile_id, quantity
        if key not in self._known:
            ruleset = load_ruleset(_kind(profile_id), quantity, self._overrides[organisation_id])
            off = {
                name: getattr(ruleset, name).model_copy(update={"action": "off"}) for name in ("high_use", "low_use")
            }
            self._known[key] = ruleset, ruleset.model_copy(update=off)
        return self._known[key]


def _kind(profile_id: str) -> str:
    try:
        return get_profile(profile_id).category
    except ProtocolError:  # a profile that this release does not have: what holds for all meters
        return ""


def _load_points(
    session: Session, meters: Sequence[tuple[Meter, int]], rules: _Rules
) -> Mapping[int, list[PointFacts]]:
    known = {meter.id: (meter, organisation_id) for meter, organisation_id in meters}
    of_meter = Point.meter_id.in_(known)
    registers = _load_registers(session, of_meter)
    exchanges = _load_exchanges(session, of_meter)
    edits = _load_edits(session, of_meter)
    points: defaultdict[int, list[PointFacts]] = defaultdict(list)
    query = select(Point.id, Point.meter_id, Point.quantity, Point.period_s).where(of_meter, Point.id.in_(registers))
    for point_id, meter_id, quantity, period_s in session.execute(query.order_by(Point.id)):
        meter, organisation_id = known[meter_id]
        points[meter_id].append(
            PointFacts(
                point_id,
                meter_id,
                period_s,
                registers[point_id],
                exchanges.get(point_id, ()),
                edits.get(point_id, ()),
                *rules.get(organisation_id, meter.profile, quantity),
            )
        )
    return points


def _load_registers(session: Session, of_meter: ColumnElement[bool]) -> dict[int, list[Register]]:
    found: defaultdict[int, list[Register]] = defaultdict(list)
    query = select(RegisterRecord).join(Point, Point.id == RegisterRecord.point_id)
    query = query.where(of_meter, RegisterRecord.withdrawn_at.is_(None))
    order = RegisterRecord.valid_from.asc().nulls_first(), RegisterRecord.id
    for one in session.scalars(query.order_by(*order)):
        found[one.point_id].append(
            Register(
                _ms(one.valid_from),
                _ms(one.valid_until),
                one.scale,
                one.rollover,
                one.max_rate_per_h,
                Direction(one.direction),
            )
        )
    return found


def _load_exchanges(session: Session, of_meter: ColumnElement[bool]) -> dict[int, list[Exchange]]:
    found: defaultdict[int, list[Exchange]] = defaultdict(list)
    query = select(MeterExchange).join(Point, Point.id == MeterExchange.point_id)
    query = query.where(of_meter, MeterExchange.withdrawn_at.is_(None))
    for one in session.scalars(query.order_by(MeterExchange.at, MeterExchange.id)):
        found[one.point_id].append(Exchange(ms_of_instant(one.at), one.closing, one.opening))
    return found


def _load_edits(session: Session, of_meter: ColumnElement[bool]) -> dict[int, list[Edit]]:
    found: defaultdict[int, list[Edit]] = defaultdict(list)
    query = select(LedgerEdit).join(Point, Point.id == LedgerEdit.point_id)
    query = query.where(of_meter, LedgerEdit.undone_at.is_(None))
    for one in session.scalars(query.order_by(LedgerEdit.from_at, LedgerEdit.id)):
        found[one.point_id].append(Edit(ms_of_instant(one.from_at), ms_of_instant(one.to_at), one.amount_micro))
    return found


def _load_suspects(session: Session, meter_ids: Collection[int]) -> tuple[dict[int, Int64s], dict[int, Int64s]]:
    waiting: defaultdict[int, list[int]] = defaultdict(list)
    discarded: defaultdict[int, list[int]] = defaultdict(list)
    query = select(SuspectSpan.meter_id, SuspectSpan.resolution, SuspectSpan.instants_ms)
    for meter_id, resolution, instants in session.execute(query.where(SuspectSpan.meter_id.in_(meter_ids))):
        if resolution is None:
            waiting[meter_id].extend(instants)
        elif resolution == DISCARDED:
            discarded[meter_id].extend(instants)
    return _sorted(waiting), _sorted(discarded)


def _sorted(times: Mapping[int, list[int]]) -> dict[int, Int64s]:
    return {meter_id: np.unique(np.array(some, np.int64)) for meter_id, some in times.items()}


def _ms(instant: datetime | None) -> int | None:
    return None if instant is None else ms_of_instant(instant)
