"""What the commands say: the plan, one meter's answer, the buffer; as data for scripts and as text for people."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from edge_agent.buffer_inspect import BufferReport
from edge_agent.domain.read_plan import ReadRequest
from edge_agent.meter_reader import Visit
from edge_agent.settings import Settings
from edge_agent.site import BusPlan, MeterPlan, SitePlan
from protocol.profile import Table
from protocol.quality import quality_name

_MIB = 1024 * 1024


def plan_report(settings: Settings, plan: SitePlan) -> dict[str, Any]:
    """Report what the agent would do with these settings."""
    return {
        "controller_id": settings.controller_id,
        "broker": _broker(settings),
        "buffer": str(settings.buffer_path),
        "buffer_max_bytes": settings.buffer.max_bytes,
        "buses": [
            {
                "id": bus.config.id,
                "address": f"{bus.config.host}:{bus.config.port}",
                "meters": [_meter_report(meter) for meter in bus.meters],
            }
            for bus in plan.buses
        ],
        "readings_per_day": round(sum(meter.readings_per_day for meter in plan.meters)),
    }


def plan_text(settings: Settings, plan: SitePlan) -> str:
    """Write the plan as text."""
    lines = [
        f"controller  {settings.controller_id}",
        f"broker      {_broker(settings)} as {settings.broker_username}",
        f"buffer      {settings.buffer_path}, at most {settings.buffer.max_bytes / _MIB:,.0f} MiB",
    ]
    for bus in plan.buses:
        lines += ["", *_bus_lines(bus)]
    total = round(sum(meter.readings_per_day for meter in plan.meters))
    points = sum(len(meter.points) for meter in plan.meters)
    lines += ["", f"{len(plan.meters)} meters, {points} points, {total:,} readings per day"]
    return "\n".join(lines)


def visit_report(meter: MeterPlan, visit: Visit) -> dict[str, Any]:
    """Report what one meter answered, point by point."""
    return {
        "meter": meter.config.id,
        "profile": meter.profile.id,
        "observed_at": _iso(visit.scan.observed_at_ms),
        "points": list(_point_reports(meter, visit)),
    }


def visit_text(meter: MeterPlan, visit: Visit) -> str:
    """Write one meter's answer as a table."""
    rows = [("point", "value", "unit", "quality", "registers", "request")]
    for point in _point_reports(meter, visit):
        value = "" if point["value"] is None else f"{point['value']:.15g}"
        words = " ".join(f"{word:04x}" for word in point["registers"])
        request = "" if point["request"] is None else point["request"]["text"]
        rows.append((point["point"], value, point["unit"], point["quality"], words, request))
    head = f"{meter.config.id} ({meter.profile.id}), {_iso(visit.scan.observed_at_ms)}"
    return "\n".join([head, "", *_table(rows, right={1})])


def buffer_report(report: BufferReport) -> dict[str, Any]:
    """Report on the buffer."""
    times = {"oldest": _iso_or_none(report.oldest_ms), "newest": _iso_or_none(report.newest_ms)}
    return {**asdict(report), **times}


def buffer_text(report: BufferReport) -> str:
    """Write the state of the buffer as text."""
    rows = [("stream", "started", "scans", "committed", "outstanding", "")]
    rows += [
        (
            stream.stream_id[:8],
            _iso(stream.started_at_ms),
            f"{stream.recorded:,}",
            f"{stream.committed:,}",
            f"{stream.outstanding:,}",
            "newest" if stream.is_live else "",
        )
        for stream in report.streams
    ]
    return "\n".join(
        [
            f"file         {report.path}, {report.file_bytes / _MIB:,.1f} MiB",
            f"scans        {report.recorded:,}: {report.committed:,} committed, {report.outstanding:,} outstanding",
            f"oldest held  {_iso_or_none(report.oldest_ms) or 'none'}",
            f"newest       {_iso_or_none(report.newest_ms) or 'none'}",
            "",
            *_table(rows, right={2, 3, 4}),
        ]
    )


def _broker(settings: Settings) -> str:
    scheme = "mqtts" if settings.broker.tls else "mqtt"
    return f"{scheme}://{settings.broker.host}:{settings.broker.port_or_default}"


def _meter_report(meter: MeterPlan) -> dict[str, Any]:
    return {
        "id": meter.config.id,
        "profile": meter.profile.id,
        "period_s": meter.config.period_s,
        "points": [point.name for point in meter.points],
        "requests": [_request_report(request.request) for request in meter.requests],
        "readings_per_day": round(meter.readings_per_day),
    }


def _request_report(request: ReadRequest) -> dict[str, Any]:
    return {
        "unit_id": request.unit_id,
        "table": request.table.value,
        "address": request.address,
        "count": request.count,
        "text": _request_text(request),
    }


def _request_text(request: ReadRequest) -> str:
    last = request.address + request.count - 1
    table: Table = request.table
    return f"unit {request.unit_id} {table.value} {request.address}..{last}"


def _bus_lines(bus: BusPlan) -> Iterable[str]:
    rows = [("meter", "profile", "period", "points", "requests", "readings/day")]
    rows += [
        (
            meter.config.id,
            meter.profile.id,
            f"{meter.config.period_s:g} s",
            str(len(meter.points)),
            str(len(meter.requests)),
            f"{meter.readings_per_day:,.0f}",
        )
        for meter in bus.meters
    ]
    yield f"bus {bus.config.id} at {bus.config.host}:{bus.config.port}"
    yield from (f"  {line}" for line in _table(rows, right={2, 3, 4, 5}))
    for meter in bus.meters:
        for request in meter.requests:
            yield f"  {meter.config.id}: {_request_text(request.request)} ({request.request.count} words)"


def _point_reports(meter: MeterPlan, visit: Visit) -> Iterable[dict[str, Any]]:
    sources = {column.slot: (answer, column) for answer in visit.answers for column in answer.plan.columns}
    for slot, point in enumerate(meter.points):
        answer, column = sources.get(slot, (None, None))
        yield {
            "point": point.name,
            "value": visit.scan.values[slot],
            "unit": point.unit,
            "quality": quality_name(visit.scan.quality_at(slot)),
            "registers": list(answer.words[column.start : column.stop]) if answer and column else [],
            "request": _request_report(answer.plan.request) if answer else None,
        }


def _table(rows: Sequence[Sequence[str]], *, right: set[int]) -> list[str]:
    """Align columns; those in `right` to the right."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _iso_or_none(at_ms: int | None) -> str | None:
    return None if at_ms is None else _iso(at_ms)
