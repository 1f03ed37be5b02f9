"""Registers as data: what the profile says at first, what people correct later. Nothing is ever overwritten. Callers commit."""

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple, TypedDict, Unpack

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.calendar.days import ms_of_instant
from cloud_hub.energy.model import Direction
from cloud_hub.errors import Conflict, Invalid
from cloud_hub.ledger import dirty
from cloud_hub.ledger.models import RegisterRecord
from cloud_hub.ledger.register_names import Named, choose_totals, direction_of
from cloud_hub.ledger.trail import instant_text, note_deed
from cloud_hub.readings.service import first_reading
from cloud_hub.registry.models import Meter, Point
from cloud_hub.registry.queries import get_meter, get_point
from protocol.errors import ProtocolError
from protocol.library import get_profile
from protocol.manifest import PointKind

BY_PROFILE = "profile"
"""Who recorded what a meter's profile says."""


class _Counter(NamedTuple):
    id: int
    meter_id: int
    name: str
    quantity: str
    unit: str


class RegisterChanges(TypedDict, total=False):
    """What may be corrected of a register; what is left out stays as it was."""

    unit: str
    scale: Decimal
    direction: Direction
    is_total: bool
    rollover: Decimal | None
    max_rate_per_h: Decimal | None


def ensure_registers(session: Session, meters: Iterable[Meter]) -> None:
    """Give every counter of these meters that has no record the one that its profile and its name suggest."""
    known_meters = {meter.id: meter for meter in meters}
    points = _load_counters(session, known_meters)
    if not _lack_record(session, points):
        return
    # Two may come here at once: whoever holds the meters' rows adds.
    ids = sorted({point.meter_id for point in points})
    session.execute(select(Meter.id).where(Meter.id.in_(ids)).order_by(Meter.id).with_for_update(key_share=True))
    missing = _lack_record(session, points)
    totals = choose_totals(
        [Named(point.id, point.meter_id, point.name, point.quantity) for point in points], taken=_totals(session, ids)
    )
    for point in points:
        if point.id in missing:
            session.add(
                RegisterRecord(
                    point_id=point.id,
                    unit=point.unit,
                    direction=direction_of(point.name).value,
                    is_total=point.id in totals,
                    rollover=_profile_rollover(known_meters[point.meter_id].profile, point.name),
                    recorded_by=BY_PROFILE,
                )
            )
    session.flush()


def list_registers(session: Session, point_ids: Sequence[int]) -> list[RegisterRecord]:
    """List the records that hold, by point and begin of validity."""
    query = select(RegisterRecord).where(RegisterRecord.point_id.in_(point_ids), RegisterRecord.withdrawn_at.is_(None))
    order = RegisterRecord.point_id, RegisterRecord.valid_from.asc().nulls_first(), RegisterRecord.id
    return list(session.scalars(query.order_by(*order)))


def correct_register(
    session: Session,
    point_id: int,
    *,
    valid_from: datetime | None,
    who: str,
    why: str,
    valid_until: datetime | None = None,
    **changes: Unpack[RegisterChanges],
) -> RegisterRecord:
    """Let a register be read otherwise in `[valid_from, valid_until)`; None is without an end.

    What held there is withdrawn, and stays readable; what held before and after goes on. The ledger is
    recomputed. Raises: UnknownPoint, Invalid, Conflict.
    """
    point = get_point(session, point_id)
    if point.kind != PointKind.COUNTER.value:
        raise Invalid(f"point {point_id} ({point.name}) is no counter: only a counter has a register")
    meter = get_meter(session, point.meter_id)
    ensure_registers(session, [meter])
    session.execute(select(Meter.id).where(Meter.id == meter.id).with_for_update(key_share=True))
    _check_changes(valid_from, valid_until, why, changes)
    now = datetime.now(UTC)
    before = list_registers(session, [point_id])
    overlapping = [one for one in before if _overlap(one, valid_from, valid_until)]
    model = overlapping[0] if overlapping else before[0]
    for one in overlapping:
        one.withdrawn_at, one.withdrawn_by = now, who
        if valid_from is not None and (one.valid_from is None or one.valid_from < valid_from):
            session.add(_copy(one, one.valid_from, valid_from, who, one.why))
        if valid_until is not None and (one.valid_until is None or one.valid_until > valid_until):
            session.add(_copy(one, valid_until, one.valid_until, who, one.why))
    corrected = _copy(model, valid_from, valid_until, who, why.strip())
    for name, value in changes.items():
        setattr(corrected, name, value)
    session.add(corrected)
    session.flush()
    _check_total(session, meter, point, corrected)
    _mark(session, meter, point_id, valid_from, valid_until or now)
    said = {name: None if value is None else str(value) for name, value in changes.items()}
    limits = {"valid_from": instant_text(valid_from), "valid_until": instant_text(valid_until), "why": why.strip()}
    note_deed(session, meter, who=who, action="register_corrected", subject=f"point:{point_id}", detail=said | limits)
    return corrected


def _lack_record(session: Session, points: Sequence[_Counter]) -> set[int]:
    """Return which of these points have no record, nor ever had one."""
    ids = [point.id for point in points]
    known = session.scalars(select(RegisterRecord.point_id).where(RegisterRecord.point_id.in_(ids)).distinct())
    return set(ids) - set(known)


def _totals(session: Session, meter_ids: Sequence[int]) -> set[int]:
    query = select(RegisterRecord.point_id).join(Point, Point.id == RegisterRecord.point_id)
    holds = RegisterRecord.withdrawn_at.is_(None) & RegisterRecord.is_total & Point.meter_id.in_(meter_ids)
    return set(session.scalars(query.where(holds)))


def _profile_rollover(profile_id: str, name: str) -> Decimal | None:
    try:
        return get_profile(profile_id).get_point(name).rollover
    except (ProtocolError, LookupError):  # a meter of a profile that this release does not have still counts
        return None


def _overlap(one: RegisterRecord, start: datetime | None, end: datetime | None) -> bool:
    begins_before = one.valid_from is None or end is None or one.valid_from < end
    ends_after = one.valid_until is None or start is None or one.valid_until > start
    return begins_before and ends_after


def _copy(one: RegisterRecord, start: datetime | None, end: datetime | None, who: str, why: str) -> RegisterRecord:
    return RegisterRecord(
        point_id=one.point_id,
        valid_from=start,
        valid_until=end,
        unit=one.unit,
        scale=one.scale,
        direction=one.direction,
        is_total=one.is_total,
        rollover=one.rollover,
        max_rate_per_h=one.max_rate_per_h,
        recorded_by=who,
        why=why,
    )


def _check_changes(start: datetime | None, end: datetime | None, why: str, changes: RegisterChanges) -> None:
    if not changes:
        raise Invalid(
            "nothing is to change: send at least one of unit, scale, direction, is_total, rollover, max_rate_per_h"
        )
    if not why.strip():
        raise Invalid("why is empty: say in a few words why the register is corrected")
    if start is not None and end is not None and end <= start:
        raise Invalid(
            "valid_until is not after valid_from: a correction holds from valid_from and ends before valid_until"
        )
    for name in ("scale", "rollover", "max_rate_per_h"):
        value = changes.get(name)
        if isinstance(value, Decimal) and not (value.is_finite() and value > 0):
            raise Invalid(f"{name} is {value}: send a number above 0")
    if "unit" in changes and (start is not None or end is not None):
        raise Invalid(
            "unit changes for all time or not at all, because sums have one unit: send scale for a period instead"
        )


def _check_total(session: Session, meter: Meter, point: Point, corrected: RegisterRecord) -> None:
    """See that no energy is counted twice. Raises: Conflict."""
    if not corrected.is_total:
        return
    query = select(RegisterRecord, Point.name).join(Point, Point.id == RegisterRecord.point_id)
    others = session.execute(
        query.where(
            Point.meter_id == meter.id,
            Point.id != point.id,
            Point.quantity == point.quantity,
            RegisterRecord.direction == corrected.direction,
            RegisterRecord.is_total,
            RegisterRecord.withdrawn_at.is_(None),
        )
    )
    for other, name in others:
        if _overlap(other, corrected.valid_from, corrected.valid_until):
            raise Conflict(
                f"{name} stands for meter {meter.id} in direction {corrected.direction} already, "
                f"and energy would count twice: set is_total to false for point {other.point_id} first"
            )


def _mark(session: Session, meter: Meter, point_id: int, start: datetime | None, end: datetime) -> None:
    since = start or first_reading(session, [point_id]).get(point_id)
    if since is not None and since <= end:
        dirty.mark(session.connection(), [(meter.id, ms_of_instant(since), ms_of_instant(end))])


def _load_counters(session: Session, meter_ids: Collection[int]) -> list[_Counter]:
    query = select(Point.id, Point.meter_id, Point.name, Point.quantity, Point.unit).where(
        Point.kind == PointKind.COUNTER.value, Point.statistic.is_(None), Point.meter_id.in_(meter_ids)
    )
    return [_Counter(*row) for row in session.execute(query.order_by(Point.id))]
