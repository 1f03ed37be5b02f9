"""One screen on the running agent: what needs a person first, then buses, meters, buffer, uplink, clock, traffic."""

from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any

from edge_agent.commissioning.tables import amount, iso, span, table

_SHOWN_POINTS = ("active_power_total", "frequency", "voltage_l1_n", "energy_active_import_total")
_SHOWN_MAX = 3
_WIDTH = 100

Part = Mapping[str, Any]


def status_text(status: Part, controller_id: str) -> str:
    """Write the agent's answer to `status` as one screen."""
    health = status["health"]
    lines = [f"{controller_id}  agent {health['agent_version']}  {iso(health['at_ms'])}", ""]
    lines += [f"! {trouble}" for trouble in troubles(health)] or ["all well"]
    if health["meters"]:
        lines += ["", *_meters(health, status["newest"])]
    lines += [""]
    for line in _rest(health):
        lines += wrap(line, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


def troubles(health: Part) -> Iterator[str]:
    """Say what needs a person, the worst first."""
    if health["buffer"].get("is_storage_failing"):
        yield "the disk does not take scans: they are kept in memory; see `df` and the log"
    uplink, clock, traffic = health["uplink"], health["clock"], health["traffic"]
    if not uplink.get("connected"):
        yield uplink.get("fault") or "not connected to the broker yet"
    if clock and clock["state"] != "trusted":
        yield f"the clock is not trusted ({clock['state']}): scans are held until it is"
    yield from _troubles_of_meters(health)
    if health["configuration"].get("reason"):
        yield f"a configuration of the hub was not taken: {health['configuration']['reason']}"
    if traffic.get("budget_bytes") and (traffic.get("forecast_bytes") or 0) > traffic["budget_bytes"]:
        yield f"the traffic will exceed its budget: {traffic['stage']}"


def _troubles_of_meters(health: Part) -> Iterator[str]:
    for bus_id, bus in health["buses"].items():
        if bus.get("restarts"):
            yield f"bus {bus_id} was restarted {bus['restarts']} times, last because {bus['last_restart_reason']}"
    for meter_id, meter in health["meters"].items():
        if meter["state"] not in ("good", "never_asked"):
            yield f"{meter_id} {meter['state']}: {meter['last_error']}"
        if meter.get("refused_points"):
            yield f"{meter_id} does not have {', '.join(meter['refused_points'])}: leave them out of 'points'"


def _meters(health: Part, newest: Part) -> list[str]:
    now_ms = health["at_ms"]
    rows = [("meter", "state", "read", "ok", "failed", "skipped", "newest values")]
    for meter_id, meter in health["meters"].items():
        points = newest.get(meter_id, {})
        at_ms = max((point["at_ms"] for point in points.values()), default=None)
        rows.append(
            (
                meter_id,
                meter["state"],
                "never" if at_ms is None else f"{span(max(0, now_ms - at_ms) / 1000)} ago",
                f"{meter['polls_ok']:,}",
                f"{meter['polls_failed']:,}",
                f"{meter['polls_skipped']:,}",
                _values_text(points),
            )
        )
    return table(rows, right={3, 4, 5})


def _values_text(points: Part) -> str:
    known = {name: point for name, point in points.items() if point["value"] is not None}
    chosen = [name for name in _SHOWN_POINTS if name in known] or list(known)
    return ", ".join(f"{known[name]['value']:,.6g} {known[name]['unit']}".rstrip() for name in chosen[:_SHOWN_MAX])


def _rest(health: Part) -> Iterator[str]:
    if counts := health["counts"]:
        states = ", ".join(f"{number:,} {state}" for state, number in counts["meters"].items())
        yield f"meters: {states}; on {counts['buses']:,} buses. Only those are shown that stand out"
    for bus_id, bus in health["buses"].items():
        yield f"bus {bus_id}: {_bus_text(bus)}"
    for meter_id, router in health["routers"].items():
        yield f"router {meter_id}: " + ", ".join(
            f"{key.replace('_', ' ')} {_plain(value)}" for key, value in router.items()
        )
    buffer, uplink = health["buffer"], health["uplink"]
    yield (
        f"buffer: {buffer['held']:,} scans, {uplink.get('outstanding', buffer['uncommitted']):,} not at the hub yet; "
        f"{amount(buffer['file_bytes'])} of {amount(buffer['max_bytes'])}, {amount(buffer['disk_free_bytes'])} free on disk"
    )
    state = "connected" if uplink.get("connected") else "not connected"
    yield f"uplink: {state}, {amount(uplink['bytes_up'])} up, {amount(uplink['bytes_down'])} down, {uplink['connects']} connects"
    if traffic := health["traffic"]:
        yield f"traffic: {_traffic_text(traffic)}"
    if clock := health["clock"]:
        held = f", {clock['held']:,} scans held" if clock.get("held") else ""
        yield f"clock: {clock['state']}, source: {clock['source']}{held}"
    if configuration := health["configuration"]:
        yield f"configuration: {_configuration_text(configuration)}"


def _bus_text(bus: Part) -> str:
    line = bus.get("line", {})
    faults = [f"{line[key]:,} {key}" for key in ("timeouts", "garbled", "exceptions") if line.get(key)]
    return ", ".join([f"{bus['polls']:,} visits", f"{line.get('requests', 0):,} requests", *faults])


def _traffic_text(traffic: Part) -> str:
    forecast, budget = traffic.get("forecast_bytes"), traffic.get("budget_bytes")
    expected = f", {amount(forecast)} expected" if forecast is not None else ""
    limit = f", budget {amount(budget)} ({traffic['stage']})" if budget else ", no budget"
    return f"{amount(traffic['month_bytes'])} this month{expected}{limit}"


def _configuration_text(configuration: Part) -> str:
    if not configuration.get("hash"):
        return "the site's own file"
    trial = ", on trial until the hub answers" if configuration.get("state") == "trial" else ""
    return f"the hub's, revision {configuration['revision']}{trial}"


def _plain(value: object) -> str:
    return f"{value:,.10g}" if isinstance(value, float) else str(value)
