"""What a controller's own report says that somebody should know, in words. Pure.

The report is whatever an agent of any release sent, so nothing of its shape is taken for granted.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cloud_hub.dashboard import wording

_FULL_SHARE = 0.9
_WEAK_SIGNALS = frozenset({"poor", "none"})
_SECONDS_OFF_MIN = 2.0


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that is not as it should be, or that explains what else is on the page."""

    level: str
    """`bad`: readings are late or in danger; `warn`: worth a look; `plain`: good to know."""
    text: str


def list_notes(health: Mapping[str, Any] | None) -> tuple[Note, ...]:
    """List what stands out, the worst first."""
    if not health:
        return ()
    found = [
        *_of_clock(_table(health, "clock"), _table(health, "buffer")),
        *_of_buffer(_table(health, "buffer")),
        *_of_counts(_table(_table(health, "counts"), "meters")),
        *_of_buses(_table(health, "buses")),
        *_of_traffic(_table(health, "traffic")),
        *_of_configuration(_table(health, "configuration")),
        *_of_routers(_table(health, "routers")),
    ]
    return tuple(sorted(found, key=lambda note: ("bad", "warn", "plain").index(note.level)))


def _of_clock(clock: Mapping[str, Any], buffer: Mapping[str, Any]) -> Iterable[Note]:
    held = _number(buffer, "held_for_clock")
    if clock.get("state") == "untrusted":
        waiting = f"; {held:,.0f} scans wait for it" if held else ""
        yield Note("bad", f"The controller does not know the time yet{waiting}")
    elif clock.get("state") == "fault":
        yield Note("bad", "The controller's clock contradicts the hub's; its readings are dated by the hub's")
    elif abs(off_s := (_number(clock, "offset_of_system_ms") or 0.0) / 1000) >= _SECONDS_OFF_MIN:
        direction = "ahead" if off_s > 0 else "behind"
        yield Note(
            "warn", f"The controller's clock is {wording.format_span(abs(off_s))} {direction}; readings are dated right"
        )


def _of_buffer(buffer: Mapping[str, Any]) -> Iterable[Note]:
    if buffer.get("is_storage_failing"):
        waiting = _number(buffer, "waiting_in_memory") or 0
        yield Note("bad", f"The controller's disk takes nothing; {waiting:,.0f} scans are in its memory")
    elif buffer.get("is_in_memory"):
        yield Note("bad", "The controller's disk takes nothing: its buffer is in memory, which a power cut loses")
    used, bound = _number(buffer, "used_bytes"), _number(buffer, "max_bytes")
    outstanding = _number(buffer, "uncommitted")
    if used and bound and outstanding and used >= _FULL_SHARE * bound:
        yield Note(
            "warn", f"The controller's buffer is {used / bound:.0%} full, with {outstanding:,.0f} scans to deliver"
        )


def _of_counts(meters: Mapping[str, Any]) -> Iterable[Note]:
    silent, known = _number(meters, "unreachable"), sum(_number(meters, state) or 0 for state in meters)
    if silent:
        yield Note("warn", f"{silent:,.0f} of {known:,.0f} meters do not answer")


def _of_buses(buses: Mapping[str, Any]) -> Iterable[Note]:
    for bus_id in buses:
        restarts = _number(_table(buses, bus_id), "restarts")
        if restarts:
            times = "once" if restarts == 1 else f"{restarts:.0f} times"
            yield Note("warn", f"Bus {bus_id} stood still and was begun anew {times}")


def _of_traffic(traffic: Mapping[str, Any]) -> Iterable[Note]:
    budget, forecast = _number(traffic, "budget_bytes"), _number(traffic, "forecast_bytes")
    if not budget:
        return
    share = "" if forecast is None else f": {forecast / 1e6:,.1f} MB expected of {budget / 1e6:,.1f} MB"
    if traffic.get("stage") == "wide":
        yield Note("warn", f"Data budget short{share}; sends less often")
    elif traffic.get("stage") == "thin":
        yield Note("warn", f"Data budget short{share}; sends less often and reports gauges less often")


def _of_configuration(configuration: Mapping[str, Any]) -> Iterable[Note]:
    reason = configuration.get("reason")
    if configuration.get("state") == "trial":
        yield Note("plain", f"Configuration {configuration.get('revision')} is on trial")
    if isinstance(reason, str) and reason:
        yield Note("warn", f"A configuration was not taken: {reason}")


def _of_routers(routers: Mapping[str, Any]) -> Iterable[Note]:
    for meter_id in routers:
        router = _table(routers, meter_id)
        signal = router.get("signal")
        if signal in _WEAK_SIGNALS:
            words = [str(router[key]) for key in ("operator", "network_type") if router.get(key)]
            where = f" ({', '.join(words)})" if words else ""
            yield Note("warn", f"Signal of {meter_id} is {'unusable' if signal == 'none' else signal}{where}")


def _table(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, Mapping) else {}


def _number(parent: Mapping[str, Any], key: str) -> float | None:
    value = parent.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
