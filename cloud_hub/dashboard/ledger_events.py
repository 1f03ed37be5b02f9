"""What happened to a register, and what people did about it, in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from cloud_hub.dashboard.energy_wording import Scale, describe_finding, format_clock, format_exact
from cloud_hub.energy.model import MICRO
from cloud_hub.ledger.edits import list_edits
from cloud_hub.ledger.exchanges import list_exchanges
from cloud_hub.ledger.findings import list_findings
from cloud_hub.ledger.models import LedgerEdit, LedgerFinding, MeterExchange, RegisterRecord, SuspectSpan
from cloud_hub.ledger.registers import list_registers
from cloud_hub.ledger.suspects import list_suspects
from cloud_hub.registry.models import Point
from cloud_hub.web.pagination import Window

FINDINGS_MAX = 100
SUSPECTS_MAX = 20


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, or that somebody did."""

    id: int
    when: str
    text: str
    detail: str
    by: str
    """Who did it, and why."""
    is_open: bool
    """True when it holds and can be taken back, or waits for a judgement."""


@dataclass(frozen=True, slots=True)
class Events:
    """All that the page lists beside the intervals."""

    findings: tuple[Event, ...]
    more_findings: int
    """How many are left out."""
    edits: tuple[Event, ...]
    exchanges: tuple[Event, ...]
    registers: tuple[Event, ...]
    suspects: tuple[Event, ...]
    scale: str
    """Of the newest register record."""
    rollover: str
    """Where the register begins again at 0, in the shown unit; empty when not known."""


def list_events(
    session: Session, point: Point, start: datetime, end: datetime, *, zone: ZoneInfo, scale: Scale
) -> Events:
    """List the findings and edits in `[start, end)`, all exchanges, what the register is, and what waits for a judgement."""
    findings = list_findings(session, point.id, start, end)
    registers = list_registers(session, [point.id])
    suspects = list_suspects(session, Window(limit=SUSPECTS_MAX, after=None), point.meter_id).items
    newest = registers[-1] if registers else None
    return Events(
        findings=tuple(_finding(each, zone, scale) for each in findings[:FINDINGS_MAX]),
        more_findings=max(0, len(findings) - FINDINGS_MAX),
        edits=tuple(
            _edit(each, zone, scale)
            for each in list_edits(session, point.id)
            if each.from_at < end and each.to_at > start
        ),
        exchanges=tuple(_exchange(each, zone, scale) for each in list_exchanges(session, point.id)),
        registers=tuple(_register(each, zone, scale) for each in registers),
        suspects=tuple(_suspect(each, zone) for each in suspects),
        scale="1" if newest is None else _plain(newest.scale),
        rollover="" if newest is None or newest.rollover is None else _reading(newest.rollover, scale),
    )


def describe_detail(detail: Mapping[str, Any], scale: Scale) -> str:
    """Write the numbers that speak for a finding."""
    parts = []
    if "from" in detail and "to" in detail:
        parts.append(f"register from {_read(detail['from'], scale)} to {_read(detail['to'], scale)}")
    if "closing" in detail and "opening" in detail:
        parts.append(
            f"old register ended at {_read(detail['closing'], scale)}, new began at {_read(detail['opening'], scale)}"
        )
    if "value" in detail:
        parts.append(f"it read {_read(detail['value'], scale)}")
    if "credited" in detail:
        parts.append(f"counted as {_read(detail['credited'], scale)}")
    parts += [
        f"{label} {format_exact(int(detail[key]), scale)} {scale.unit}"
        for key, label in _AMOUNTS.items()
        if key in detail
    ]
    if "hours" in detail:
        parts.append(f"for {detail['hours']} hours")
    return ", ".join(parts)


_AMOUNTS = {
    "amount_micro": "amount",
    "usual_micro": "usually",
    "third_micro": "third highest of the day",
    "worst_micro": "at most",
    "missed_micro": "off by",
}


def _finding(finding: LedgerFinding, zone: ZoneInfo, scale: Scale) -> Event:
    detail = describe_detail(finding.detail, scale)
    return Event(
        finding.id,
        _span(finding.from_at, finding.to_at, zone),
        describe_finding(finding.kind),
        detail,
        "",
        is_open=False,
    )


def _edit(edit: LedgerEdit, zone: ZoneInfo, scale: Scale) -> Event:
    by = f"{edit.made_by}, {format_clock(edit.made_at, zone)}: {edit.why}"
    if edit.undone_at is not None:
        by += f" — undone by {edit.undone_by}, {format_clock(edit.undone_at, zone)}: {edit.undone_why}"
    text = f"{format_exact(edit.amount_micro, scale)} {scale.unit}"
    return Event(edit.id, _span(edit.from_at, edit.to_at, zone), text, "", by, is_open=edit.undone_at is None)


def _exchange(exchange: MeterExchange, zone: ZoneInfo, scale: Scale) -> Event:
    by = f"{exchange.recorded_by}, {format_clock(exchange.recorded_at, zone)}" + (
        f": {exchange.why}" if exchange.why else ""
    )
    if exchange.withdrawn_at is not None:
        by += f" — withdrawn by {exchange.withdrawn_by}, {format_clock(exchange.withdrawn_at, zone)}"
    text = f"old register ended at {_reading(exchange.closing, scale)} {scale.unit}, new began at {_reading(exchange.opening, scale)} {scale.unit}"
    return Event(exchange.id, format_clock(exchange.at, zone), text, "", by, is_open=exchange.withdrawn_at is None)


def _register(record: RegisterRecord, zone: ZoneInfo, scale: Scale) -> Event:
    start = "since the beginning" if record.valid_from is None else f"from {format_clock(record.valid_from, zone)}"
    end = "" if record.valid_until is None else f" to {format_clock(record.valid_until, zone)}"
    rollover = (
        "its highest number is not known"
        if record.rollover is None
        else f"begins again at 0 after {_reading(record.rollover, scale)} {scale.unit}"
    )
    by = (
        "the meter's profile"
        if record.recorded_by == "profile"
        else f"{record.recorded_by}, {format_clock(record.recorded_at, zone)}"
    )
    by += f": {record.why}" if record.why else ""
    return Event(
        record.id, start + end, f"scale {_plain(record.scale)}, {rollover}", record.direction, by, is_open=True
    )


def _suspect(span: SuspectSpan, zone: ZoneInfo) -> Event:
    count = "1 reading" if span.readings == 1 else f"{span.readings:,} readings"
    reason = {"future": "ahead of the hub's clock"}.get(span.reason, span.reason.replace("_", " "))
    noted = f"noted {format_clock(span.noted_at, zone)}"
    return Event(span.id, _span(span.from_at, span.to_at, zone), f"{count}, {reason}", noted, "", is_open=True)


def _span(start: datetime, end: datetime, zone: ZoneInfo) -> str:
    if start == end:
        return format_clock(start, zone)
    first, last = start.astimezone(zone), end.astimezone(zone)
    if first.date() == last.date() and first.tzname() == last.tzname():
        return f"{first.day} {first:%b %Y, %H:%M} to {last:%H:%M} {first.tzname()}"
    return f"{format_clock(start, zone)} to {format_clock(end, zone)}"


def _read(text: object, scale: Scale) -> str:
    """Write a reading, which the finding keeps as a text in its own unit."""
    return f"{_reading(Decimal(str(text)), scale)} {scale.unit}"


def _reading(value: Decimal, scale: Scale) -> str:
    return _plain(value * MICRO / scale.micro)


def _plain(value: Decimal) -> str:
    return f"{value.normalize():,f}"
