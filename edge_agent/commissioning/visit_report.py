"""What one meter answered, point by point: value, unit, quality, registers, what was asked, and what looks wrong."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edge_agent.commissioning.byte_orders import (
    Doubt,
    advice_text,
    find_advice,
    find_doubt,
    reading_report,
    reading_text,
)
from edge_agent.commissioning.tables import iso, table
from edge_agent.polling.block_reader import Answer
from edge_agent.polling.meter_reader import Visit
from protocol.quality import quality_name
from protocol.scans import Scan
from protocol.site.plan import Column, GroupPlan, MeterPlan
from protocol.site.read_plan import ReadRequest


@dataclass(frozen=True)
class MeterAnswer:
    """One visit, however it was made."""

    meter: MeterPlan
    group: GroupPlan
    """What was asked for: all points of the meter."""
    visit: Visit
    texts: tuple[tuple[str, str], ...] = ()
    """What the device says of itself, by point."""

    @property
    def scan(self) -> Scan:
        """Return the values."""
        return self.visit.scan

    @property
    def answers(self) -> tuple[Answer, ...]:
        """Return what came of each request."""
        return self.visit.answers

    def observed_at(self, at_ms: int) -> "MeterAnswer":
        """Return the same answer with the time at which it was really read, UTC ms."""
        scan = replace(self.visit.scan, observed_at_ms=at_ms)
        return replace(self, visit=replace(self.visit, scan=scan))


def visit_report(answer: MeterAnswer) -> dict[str, Any]:
    """Report what one meter answered."""
    doubts = {doubt.point.name: doubt for doubt in _doubts(answer)}
    advice = find_advice(doubts.values(), answer.meter.modbus)
    return {
        "meter": answer.meter.config.id,
        "profile": answer.meter.profile.id,
        "observed_at": iso(answer.scan.observed_at_ms),
        "points": [
            row
            | (
                {"alternatives": [reading_report(r) for r in doubts[row["point"]].readings]}
                if row["point"] in doubts
                else {}
            )
            for row in _point_reports(answer)
        ],
        "texts": dict(answer.texts),
        "advice": None if advice is None else advice_text(advice, answer.meter.modbus),
    }


def visit_text(answer: MeterAnswer) -> str:
    """Write one meter's answer as a table, and below it what looks wrong."""
    rows = [("point", "value", "unit", "quality", "registers", "request")]
    for point in _point_reports(answer):
        value = "" if point["value"] is None else f"{point['value']:.15g}"
        words = " ".join(f"{word:04x}" for word in point["registers"])
        request = "" if point["request"] is None else point["request"]["text"]
        rows.append((point["point"], value, point["unit"], point["quality"], words, request))
    meter = answer.meter
    lines = [f"{meter.config.id} ({meter.profile.id}), {iso(answer.scan.observed_at_ms)}", "", *table(rows, right={1})]
    if answer.texts:
        lines += ["", *table([(name, f'"{text}"') for name, text in answer.texts])]
    return "\n".join([*lines, *_doubt_lines(answer)])


def request_report(request: ReadRequest) -> dict[str, Any]:
    """Report one request."""
    return {
        "unit_id": request.unit_id,
        "table": request.table.value,
        "address": request.address,
        "count": request.count,
        "text": request_text(request),
    }


def request_text(request: ReadRequest) -> str:
    """Write a request for people."""
    last = request.address + request.count - 1
    return f"unit {request.unit_id} {request.table.value} {request.address}..{last}"


def _point_reports(answer: MeterAnswer) -> Iterable[dict[str, Any]]:
    sources = _sources(answer.answers)
    for slot, point in enumerate(answer.group.points):
        reply, column = sources.get(slot, (None, None))
        yield {
            "point": point.name,
            "value": answer.scan.values[slot],
            "unit": point.unit,
            "quality": quality_name(answer.scan.quality_at(slot)),
            "registers": list(reply.words[column.start : column.stop]) if reply and column else [],
            "request": request_report(reply.plan.request) if reply else None,
        }


def _sources(answers: Sequence[Answer]) -> dict[int, tuple[Answer, Column]]:
    return {column.slot: (answer, column) for answer in answers for column in answer.plan.columns}


def _doubts(answer: MeterAnswer) -> list[Doubt]:
    doubts = []
    for slot, (reply, column) in sorted(_sources(answer.answers).items()):
        if slot >= len(answer.group.points) or reply.fault is not None:
            continue
        words = reply.words[column.start : column.stop]
        doubt = find_doubt(answer.group.points[slot], answer.scan.values[slot], words, answer.meter.modbus)
        if doubt is not None:
            doubts.append(doubt)
    return doubts


def _doubt_lines(answer: MeterAnswer) -> Iterable[str]:
    doubts, settings = _doubts(answer), answer.meter.modbus
    if not doubts:
        return
    yield ""
    yield "These values look wrong; the same registers would be:"
    for doubt in doubts:
        shown = "no number" if doubt.value is None else f"{doubt.value:.6g} {doubt.point.unit}".rstrip()
        others = "; ".join(reading_text(doubt.point, reading, settings) for reading in doubt.readings)
        yield f"  {doubt.point.name} {shown}: {others or 'nothing plausible in any order: is this the right profile?'}"
    advice = find_advice(doubts, settings)
    if advice is not None:
        yield advice_text(advice, settings)
