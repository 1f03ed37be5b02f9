"""What each meter of a site counted: one line for each register that stands for its meter, sub-meters below theirs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.analysis.gathering import Span, gather
from cloud_hub.analysis.model import Counted, Figure, Flow, Measure, SitePart
from cloud_hub.analysis.sums import figure, no_sums
from cloud_hub.calendar.days import ms_of_instant
from cloud_hub.dashboard.energy_wording import describe_role
from cloud_hub.ledger.models import RegisterRecord
from cloud_hub.registry.models import Meter, MeterRole, Point

_DEPTH_MAX = 3
_NO_USE = {MeterRole.PV, MeterRole.BATTERY}
_DIRECTIONS = {"import": "", "export": "export", "net": "import less export"}


@dataclass(frozen=True, slots=True)
class MeterLine:
    """One register of a meter over the page's period."""

    meter_id: int
    point_id: int
    label: str
    about: str
    """Role and direction, in words."""
    depth: int
    """How many meters stand above it, three at most."""
    is_use: bool
    """True for what is a part of the site's consumption."""
    figure: Figure


@dataclass(frozen=True, slots=True)
class _Register:
    meter: Meter
    point_id: int
    direction: str
    counted: tuple[Counted, ...]


def list_meter_lines(session: Session, part: SitePart, measure: Measure, span: Span) -> tuple[MeterLine, ...]:
    """Read what each meter of a site counted of one measure; two statements, however many meters there are."""
    registers = _read_registers(session, part.site_id, measure)
    ordered = _order(registers)
    parts = [replace(part, counted=register.counted) for register, _ in ordered]
    lines = []
    for (register, depth), sums in zip(ordered, gather(session, parts, span), strict=True):
        own = sums.flows.get(Flow.IMPORT, no_sums(len(sums.grid)))
        words = (describe_role(register.meter.role), _DIRECTIONS.get(register.direction, register.direction))
        lines.append(
            MeterLine(
                meter_id=register.meter.id,
                point_id=register.point_id,
                label=register.meter.label or register.meter.slug,
                about=", ".join(word for word in words if word),
                depth=min(depth, _DEPTH_MAX),
                is_use=register.direction == "import" and register.meter.role not in _NO_USE,
                figure=figure(own, sums.durations_ms),
            )
        )
    return tuple(lines)


def _read_registers(session: Session, site_id: int, measure: Measure) -> list[_Register]:
    query = (
        select(Meter, RegisterRecord)
        .join(Point, Point.meter_id == Meter.id)
        .join(RegisterRecord, RegisterRecord.point_id == Point.id)
        .where(
            Meter.site_id == site_id,
            Point.quantity == measure.quantity,
            RegisterRecord.unit == measure.unit,
            RegisterRecord.is_total,
            RegisterRecord.withdrawn_at.is_(None),
        )
        .order_by(Meter.id, RegisterRecord.point_id, RegisterRecord.id)
    )
    found: dict[tuple[int, str], _Register] = {}
    for meter, record in session.execute(query):
        counted = Counted(
            Flow.IMPORT, meter.id, record.point_id, _ms_or_none(record.valid_from), _ms_or_none(record.valid_until)
        )
        key = (record.point_id, record.direction)
        earlier = found[key].counted if key in found else ()
        found[key] = _Register(meter, record.point_id, record.direction, (*earlier, counted))
    return list(found.values())


def _order(registers: Sequence[_Register]) -> list[tuple[_Register, int]]:
    """Put registers of sub-meters behind those of the meter above them, each with how deep it stands."""
    meters = {register.meter.id: register.meter for register in registers}
    below: dict[int | None, list[int]] = {}
    for meter in meters.values():
        below.setdefault(meter.parent_id if meter.parent_id in meters else None, []).append(meter.id)
    order = dict(_walk(below, below.get(None, ()), 0))
    # Somebody may have closed a ring: its meters hang from nothing, and are shown all the same.
    order |= {meter_id: 0 for meter_id in meters if meter_id not in order}
    place = {meter_id: n for n, meter_id in enumerate(order)}
    arranged = sorted(registers, key=lambda register: place[register.meter.id])
    return [(register, order[register.meter.id]) for register in arranged]


def _walk(below: Mapping[int | None, list[int]], ids: Iterable[int], depth: int) -> Iterable[tuple[int, int]]:
    for id_ in ids:
        yield id_, depth
        yield from _walk(below, below.get(id_, ()), depth + 1)


def _ms_or_none(instant: datetime | None) -> int | None:
    return None if instant is None else ms_of_instant(instant)
