"""A file's plan into the database: all of it, or nothing.

A plan with refused lines stores nothing, unless it is said to leave those out. What is there already is counted as
known; a reading that contradicts one that is there is refused. One transaction holds the readings, the meters and
points that were made for them, the marks for the ledger, the findings and the audit trail.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cloud_hub.audit.service import record
from cloud_hub.calendar.days import instant_of_ms, ms_of_instant
from cloud_hub.ledger.dirty import AHEAD_MS
from cloud_hub.ledger.findings import add_findings
from cloud_hub.readings.series import Series
from cloud_hub.registry.models import Meter, Site
from cloud_hub.transfer.plan import Plan, Rejected, Rejections
from cloud_hub.transfer.storing import PointReadings, lock_meters, read_present, store_meter
from cloud_hub.transfer.targets import Placed, Target, place
from protocol.manifest import PointKind

_CONTRADICTION = "contradicts what is stored"


@dataclass(frozen=True, slots=True)
class ImportedMeter:
    """What a file holds for one meter."""

    meter_id: int | None
    """None when a dry run would make it."""
    slug: str
    controller: str
    is_new: bool
    points: tuple[str, ...]
    readings: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file; counts are of readings."""

    is_stored: bool
    """False after a dry run, and when lines were refused and should not be left out."""
    lines: int
    new: int
    """Stored, or to be stored."""
    known: int
    """There already, with the same value."""
    repeated: int
    """Twice in the file."""
    empty: int
    """Cells in which nothing was read."""
    ahead: int
    """Of the new ones, those from the future: they are kept, and count nowhere until a person has judged them."""
    rejected: int
    rejected_by_reason: Mapping[str, int]
    rejected_first: tuple[Rejected, ...]
    meters: tuple[ImportedMeter, ...]
    findings: Mapping[str, int] = field(default_factory=dict)
    """How often each kind of event was found in the file, by its name."""

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold; instants become texts elsewhere."""
        return asdict(self)


def import_readings(
    engine: Engine,
    plan: Plan,
    target: Target,
    *,
    who: str,
    source: str = "",
    skips_rejected: bool = False,
    is_dry_run: bool = False,
) -> Imported:
    """Check a plan against the database and, when nothing speaks against it, store it, in one transaction.

    `source` names the file in the audit trail. A dry run does everything but store.
    Raises: NotFound for an unknown site or controller, Invalid when names are ambiguous.
    """
    rejections = Rejections(list(plan.rejections.first), plan.rejections.by_reason.copy())
    with Session(engine) as session, session.begin() as transaction:
        placed = place(session, target, plan.series, rejections)
        lock_meters(session, [one.meter.id for one in placed])
        judged = [(meter, _judge_meter(session, meter, of_meter, rejections)) for meter, of_meter in _by_meter(placed)]
        is_stored = not is_dry_run and (skips_rejected or not rejections.total)
        imported = _describe(plan, judged, rejections, is_stored=is_stored)
        if is_stored:
            _store(session, engine, judged)
            _note_findings(session, placed)
            _record(session, judged, who=who, source=source)
        else:
            transaction.rollback()
    return imported


@dataclass(frozen=True, slots=True)
class _Judged:
    """A point's readings that are new, and how many are not."""

    placed: Placed
    new: PointReadings
    known: int


def _by_meter(placed: Sequence[Placed]) -> list[tuple[Meter, list[Placed]]]:
    by_meter: defaultdict[int, list[Placed]] = defaultdict(list)
    for one in placed:
        by_meter[one.meter.id].append(one)
    return [(some[0].meter, some) for _, some in sorted(by_meter.items())]


def _judge_meter(session: Session, meter: Meter, placed: Sequence[Placed], rejections: Rejections) -> list[_Judged]:
    """Tell what is new of a meter's readings from what is known; refuse what contradicts."""
    wanted = [_readings(one) for one in placed]
    old = [readings for one, readings in zip(placed, wanted, strict=True) if not one.is_new]
    present = read_present(session, meter, old)
    return [
        _judge(one, readings, present.get(one.point.id), rejections)
        for one, readings in zip(placed, wanted, strict=True)
    ]


def _readings(placed: Placed) -> PointReadings:
    series = placed.series
    return PointReadings(placed.point.id, series.observed_at_ms, series.value, series.quality)


def _judge(placed: Placed, readings: PointReadings, present: Series | None, rejections: Rejections) -> _Judged:
    if present is None or not len(present):
        return _Judged(placed, readings, 0)
    at, is_there = _find(readings.observed_at_ms, present.observed_at_ms)
    is_same = is_there & _is_same(readings.value, present.value[at])
    for index in np.flatnonzero(is_there & ~is_same).tolist():
        stored = _stored_at(present, int(readings.observed_at_ms[index]))
        if any(_is_same(readings.value[index], value) for value in stored):  # one of several of that instant
            is_same[index] = True
            continue
        rejections.add(
            int(placed.series.line[index]),
            placed.series.column,
            repr(float(readings.value[index])),
            _CONTRADICTION,
            f"{float(stored[0])!r} {placed.point.unit} of meter {placed.meter.slug!r}, point {placed.point.name!r} at "
            f"{instant_of_ms(int(readings.observed_at_ms[index])):%Y-%m-%dT%H:%M:%SZ}; delete the line, or correct it",
        )
    return _Judged(placed, readings.take(~is_there), int(is_same.sum()))


def _find(wanted: NDArray[np.int64], present: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return where each wanted instant would be in `present`, and whether it is there."""
    at = np.minimum(np.searchsorted(present, wanted), len(present) - 1)
    return at.astype(np.int64), present[at] == wanted


def _is_same(one: Any, other: Any) -> Any:  # noqa: ANN401 - numbers or arrays of them
    return (one == other) | (np.isnan(one) & np.isnan(other))


def _stored_at(present: Series, at_ms: int) -> NDArray[np.float64]:
    first, end = np.searchsorted(present.observed_at_ms, [at_ms, at_ms + 1])
    return present.value[first:end]


def _store(session: Session, engine: Engine, judged: Sequence[tuple[Meter, Sequence[_Judged]]]) -> None:
    # Whoever has added a meter here holds a lock on its controller that a transaction aside would wait for.
    is_making = any(one.placed.is_new for _, points in judged for one in points)
    for meter, points in judged:
        new = [one.new for one in points if len(one.new.observed_at_ms)]
        if new:
            store_meter(session, engine, meter, new, is_making=is_making)


def _note_findings(session: Session, placed: Sequence[Placed]) -> None:
    """Keep what the file told of its registers' past; a file that comes again tells nothing new."""
    found = [
        (one.point.id, finding)
        for one in placed
        if one.point.kind == PointKind.COUNTER
        for finding in one.series.findings
    ]
    if found:
        add_findings(session, found)


def _record(session: Session, judged: Sequence[tuple[Meter, Sequence[_Judged]]], *, who: str, source: str) -> None:
    """Leave a trace for each meter that got new readings."""
    for meter, points in judged:
        count = sum(len(one.new.observed_at_ms) for one in points)
        if count:
            site = session.get_one(Site, meter.site_id)
            detail = {"source": source, "readings": count, "points": [one.placed.point.name for one in points]}
            record(
                session,
                site.organisation_id,
                who=who,
                action="readings_imported",
                subject=f"meter:{meter.id}",
                detail=detail,
            )


def _describe(
    plan: Plan, judged: Sequence[tuple[Meter, Sequence[_Judged]]], rejections: Rejections, *, is_stored: bool
) -> Imported:
    points = [one for _, some in judged for one in some]
    return Imported(
        is_stored=is_stored,
        lines=plan.lines,
        new=sum(len(one.new.observed_at_ms) for one in points),
        known=sum(one.known for one in points),
        repeated=plan.repeated,
        empty=plan.empty,
        ahead=_count_ahead(points),
        rejected=rejections.total,
        rejected_by_reason=dict(rejections.by_reason.most_common()),
        rejected_first=tuple(rejections.first),
        meters=tuple(_describe_meter(meter, some, is_stored=is_stored) for meter, some in judged),
        findings=plan.findings,
    )


def _count_ahead(points: Sequence[_Judged]) -> int:
    limit_ms = ms_of_instant(datetime.now(UTC)) + AHEAD_MS
    return sum(int((one.new.observed_at_ms > limit_ms).sum()) for one in points)


def _describe_meter(meter: Meter, points: Sequence[_Judged], *, is_stored: bool) -> ImportedMeter:
    is_new = points[0].placed.is_new_meter
    return ImportedMeter(
        meter_id=meter.id if is_stored or not is_new else None,
        slug=meter.slug,
        controller=meter.controller_id,
        is_new=is_new,
        points=tuple(one.placed.point.name for one in points),
        readings=sum(len(one.placed.series) for one in points),
        first_at=instant_of_ms(min(int(one.placed.series.observed_at_ms[0]) for one in points)),
        last_at=instant_of_ms(max(int(one.placed.series.observed_at_ms[-1]) for one in points)),
    )
