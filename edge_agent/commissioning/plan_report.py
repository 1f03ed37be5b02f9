"""What the agent would do with its settings and its site configuration: the plan, its time and its traffic."""

from collections.abc import Iterable, Iterator
from typing import Any

from edge_agent.commissioning.tables import amount, span, table
from edge_agent.commissioning.visit_report import request_report, request_text
from edge_agent.domain.send_schedule import SendPlan
from edge_agent.domain.traffic import ScanFlow, TrafficEstimate, estimate_month_bytes
from edge_agent.settings import Settings
from edge_agent.uplink.economy import send_plan
from protocol.line_config import LineConfig, Transport
from protocol.report_policy import Policy, Report
from protocol.site.estimate import bus_load, find_tight, group_cost, speed_text
from protocol.site.plan import BusPlan, GroupPlan, MeterPlan, SitePlan
from protocol.site_config import SendSchedule

_MIB = 1024 * 1024
_DAY_S = 86_400
_BUSES_SHOWN = 20
"""Of a collector's hundreds; a site has fewer."""
_CHANGES_SHARE = 0.1
"""Of the samples of a group that is reported on change, so many are taken to be news."""


def plan_report(settings: Settings, plan: SitePlan) -> dict[str, Any]:
    """Report what the agent would do."""
    traffic = _traffic(settings, plan)
    return {
        "controller_id": settings.controller_id,
        "broker": _broker(settings),
        "buffer": str(settings.buffer_path),
        "buffer_max_bytes": settings.buffer.max_bytes,
        "buses": [_bus_report(bus) for bus in plan.buses],
        "warnings": list(_warnings(settings, plan, traffic)),
        "readings_per_day": round(_readings_per_day(plan)),
        "month_bytes": traffic.total,
        "budget_bytes": _budget_bytes(settings, plan),
    }


def plan_text(settings: Settings, plan: SitePlan) -> str:
    """Write the plan as text."""
    traffic = _traffic(settings, plan)
    schedule = send_plan(settings.uplink, plan.config.uplink)
    lines = [
        f"controller  {settings.controller_id}",
        f"broker      {_broker(settings)} as {settings.broker_username}, {_schedule_text(schedule)}",
        f"buffer      {settings.buffer_path}, at most {settings.buffer.max_bytes / _MIB:,.0f} MiB",
    ]
    for bus in plan.buses[:_BUSES_SHOWN]:
        lines += ["", *_bus_lines(bus)]
    if len(plan.buses) > _BUSES_SHOWN:
        lines += ["", f"and {len(plan.buses) - _BUSES_SHOWN:,} more buses; --json shows all"]
    points = sum(len(meter.points) for meter in plan.meters)
    budget = _budget_bytes(settings, plan)
    lines += [
        "",
        f"{len(plan.meters):,} meters, {points:,} points, {_readings_per_day(plan):,.0f} readings per day",
        f"about {amount(traffic.total)} per month on the line"
        + (f" of a budget of {amount(budget)}" if budget is not None else ", no budget set"),
        *(f"warning: {warning}" for warning in _warnings(settings, plan, traffic)),
    ]
    return "\n".join(lines)


def report_text(report: Report) -> str:
    """Write a report policy for people."""
    match report.policy:
        case Policy.EVERY:
            return "every"
        case Policy.ON_CHANGE:
            return f"on change, or after {span(report.heartbeat_s)}"
        case Policy.AGGREGATE:
            return f"{', '.join(report.statistics)} of {span(report.every_s)}"


def _traffic(settings: Settings, plan: SitePlan) -> TrafficEstimate:
    return estimate_month_bytes(
        _flows(plan),
        send_interval_s=send_plan(settings.uplink, plan.config.uplink).interval_s,
        keepalive_s=settings.broker.keepalive_s,
        hello_every_s=settings.uplink.hello_every_s,
        health_every_s=settings.uplink.health_every_s,
        meters=len(plan.meters),
        controller_id=settings.controller_id,
        is_encrypted=settings.broker.tls is not None,
    )


def _flows(plan: SitePlan) -> Iterator[ScanFlow]:
    for meter in plan.meters:
        for group in meter.groups:
            yield ScanFlow(len(plan.manifest.layouts[group.layout].points), _reports_per_day(group))


def _reports_per_day(group: GroupPlan) -> float:
    match group.report.policy:
        case Policy.EVERY:
            return group.samples_per_day
        case Policy.ON_CHANGE:
            return max(_CHANGES_SHARE * group.samples_per_day, _DAY_S / group.report.heartbeat_s)
        case Policy.AGGREGATE:
            return _DAY_S / group.report.every_s


def _readings_per_day(plan: SitePlan) -> float:
    """Count the values that are recorded; what is only sampled is less than a reading."""
    return sum(flow.points * flow.per_day for flow in _flows(plan))


def _budget_bytes(settings: Settings, plan: SitePlan) -> int | None:
    megabytes = plan.config.uplink.monthly_budget_mb or settings.uplink.monthly_budget_mb
    return None if megabytes is None else round(megabytes * 1_000_000)


def _warnings(settings: Settings, plan: SitePlan, traffic: TrafficEstimate) -> Iterable[str]:
    yield from find_tight(plan)
    budget = _budget_bytes(settings, plan)
    if budget is not None and traffic.total > budget:
        yield (
            f"the line is expected to carry {amount(traffic.total)} per month, and the budget is {amount(budget)}: "
            "the agent will send less often; set a longer period_s, or a report policy (docs/agent.md)"
        )
    if settings.broker.tls is None and settings.broker.host not in ("localhost", "127.0.0.1"):
        yield "the broker is spoken to without encryption; set [broker.tls]"


def _broker(settings: Settings) -> str:
    scheme = "mqtts" if settings.broker.tls else "mqtt"
    return f"{scheme}://{settings.broker.host}:{settings.broker.port_or_default}"


def _schedule_text(schedule: SendPlan) -> str:
    match schedule.send:
        case SendSchedule.AT_ONCE:
            return "sent at once"
        case SendSchedule.HALF_HOUR:
            return "sent after each half hour"
        case SendSchedule.EVERY:
            return f"sent every {span(schedule.every_s)}"


def _line_text(line: LineConfig) -> str:
    if line.serial is not None:
        serial = line.serial
        return f"{serial.device}, {serial.baud} baud 8{serial.parity.value}{serial.stop_bits}"
    names = {Transport.TLS: " with TLS", Transport.RTU_OVER_TCP: ", RTU over TCP"}
    return f"{line.address}{names.get(line.transport, '')}"


def _bus_lines(bus: BusPlan) -> Iterator[str]:
    load = bus_load(bus)
    yield f"bus {bus.config.id} at {_line_text(bus.config)}"
    yield (
        f"  one cycle takes about {span(load.cycle.expected_s)} ({speed_text(bus.config)}); "
        f"busy {load.expected_share:.1%} of the time"
    )
    rows = [("meter", "profile", "unit", "every", "reported", "points", "requests", "takes")]
    for meter in bus.meters:
        rows += [
            (
                meter.config.id,
                meter.profile.id,
                str(meter.config.unit_id),
                span(group.period_ms / 1000),
                report_text(group.report),
                str(len(group.points)),
                str(len(group.requests)),
                span(group_cost(bus, meter, group).expected_s),
            )
            for group in meter.groups
        ]
    yield from (f"  {line}" for line in table(rows, right={2, 5, 6}))
    for meter in bus.meters:
        for request in meter.requests:
            yield f"  {meter.config.id}: {request_text(request.request)} ({request.request.count} words)"


def _bus_report(bus: BusPlan) -> dict[str, Any]:
    load = bus_load(bus)
    return {
        "id": bus.config.id,
        "address": bus.config.address,
        "transport": bus.config.transport.value,
        "serial": None if bus.config.serial is None else bus.config.serial.model_dump(mode="json"),
        "cycle_s": round(load.cycle.expected_s, 3),
        "least_cycle_s": round(load.cycle.least_s, 3),
        "busy_share": round(load.expected_share, 4),
        "meters": [_meter_report(meter) for meter in bus.meters],
    }


def _meter_report(meter: MeterPlan) -> dict[str, Any]:
    return {
        "id": meter.config.id,
        "profile": meter.profile.id,
        "unit_id": meter.config.unit_id,
        "period_s": meter.config.period_s,
        "points": [point.name for point in meter.points],
        "groups": [
            {
                "period_s": group.period_ms / 1000,
                "report": group.report.model_dump(mode="json", exclude_defaults=True) or {"policy": "every"},
                "points": [point.name for point in group.points],
            }
            for group in meter.groups
        ],
        "requests": [request_report(request.request) for request in meter.requests],
        "readings_per_day": round(meter.readings_per_day),
    }
