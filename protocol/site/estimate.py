"""How long a bus takes for what it shall do, and whether that can work at all. Pure.

Two figures for each request: the least that its characters and silences take on the wire, below which no
device comes, and what is to be expected with devices that take a usual time to answer. What exceeds its
period by the first is refused; by the second it is worth a warning.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from protocol.line_config import LineConfig
from protocol.site.plan import BusPlan, GroupPlan, MeterPlan, SitePlan
from protocol.site.read_plan import ReadRequest

TURNAROUND_S = 0.03
"""What a meter usually takes to answer: 5 to 100 ms are seen; data sheets seldom tell."""
ROUND_TRIP_S = 0.05
"""What an answer over TCP usually takes, the meter's own time included."""
_REQUEST_CHARACTERS = 8
_ANSWER_CHARACTERS = 5
"""Unit, function, count and two of check, beside the data."""
_MOST_EXPENSIVE_SHOWN = 3


class Cost(NamedTuple):
    """Seconds that something takes on its bus."""

    least_s: float
    expected_s: float


@dataclass(frozen=True)
class BusLoad:
    """What a bus has to carry."""

    plan: BusPlan
    cycle: Cost
    """All groups of all meters once, as at a half hour when all fall together."""
    least_share: float
    """The part of all time that the bus is busy, at least: above 1 it can never keep its periods."""
    expected_share: float

    @property
    def is_impossible(self) -> bool:
        """Say whether the periods cannot be kept by any device."""
        return self.least_share > 1

    @property
    def is_tight(self) -> bool:
        """Say whether usual devices will not keep the periods."""
        return self.expected_share > 1


def request_cost(bus: BusPlan, meter: MeterPlan, request: ReadRequest) -> Cost:
    """Estimate one request with its answer and the pause before it."""
    line = bus.config
    pause_s = max(bus.extra_pause_s, meter.timing.pause_between_requests_s)
    if line.serial is None:
        return Cost(pause_s, pause_s + ROUND_TRIP_S)
    words = request.count
    data = (words + 7) // 8 if request.table.holds_bits else 2 * words
    characters = _REQUEST_CHARACTERS + _ANSWER_CHARACTERS + data
    between_s = max(line.serial.silence_s + line.serial.turnaround_delay_ms / 1000, pause_s)
    wire_s = characters * line.serial.character_s + between_s
    return Cost(wire_s + line.serial.silence_s, wire_s + max(line.serial.silence_s, TURNAROUND_S))


def group_cost(bus: BusPlan, meter: MeterPlan, group: GroupPlan) -> Cost:
    """Estimate one sample of a group."""
    return _sum(request_cost(bus, meter, request.request) for request in group.requests)


def meter_cost(bus: BusPlan, meter: MeterPlan) -> Cost:
    """Estimate one sample of every group of a meter."""
    return _sum(group_cost(bus, meter, group) for group in meter.groups)


def bus_load(bus: BusPlan) -> BusLoad:
    """Estimate what a bus has to carry."""
    cycle = _sum(meter_cost(bus, meter) for meter in bus.meters)
    shares = [_share(bus, meter, group) for meter in bus.meters for group in meter.groups]
    return BusLoad(bus, cycle, sum(share.least_s for share in shares), sum(share.expected_s for share in shares))


def find_impossible(plan: SitePlan) -> str | None:
    """Say why a plan can never be kept: bus, cycle, period, what costs most, and the remedies. None when it can."""
    for bus in plan.buses:
        load = bus_load(bus)
        if load.is_impossible:
            return _sentence(load, "needs at least", load.cycle.least_s, load.least_share)
    return None


def find_tight(plan: SitePlan) -> tuple[str, ...]:
    """Say of each bus that usual devices will not keep its periods; what is impossible is not repeated."""
    loads = (bus_load(bus) for bus in plan.buses)
    return tuple(
        _sentence(load, "is expected to need", load.cycle.expected_s, load.expected_share)
        for load in loads
        if load.is_tight and not load.is_impossible
    )


def speed_text(line: LineConfig) -> str:
    """Say what an estimate is made with."""
    if line.serial is None:
        return f"a round trip of {ROUND_TRIP_S * 1000:.0f} ms"
    return f"{line.serial.baud:,} baud and {TURNAROUND_S * 1000:.0f} ms for a meter to answer"


def _share(bus: BusPlan, meter: MeterPlan, group: GroupPlan) -> Cost:
    cost = group_cost(bus, meter, group)
    period_s = group.period_ms / 1000
    return Cost(cost.least_s / period_s, cost.expected_s / period_s)


def _sentence(load: BusLoad, needs: str, cycle_s: float, share: float) -> str:
    bus = load.plan
    periods = sorted({group.period_ms / 1000 for meter in bus.meters for group in meter.groups})
    shown = f"{periods[0]:g} s" if len(periods) == 1 else f"{periods[0]:g} to {periods[-1]:g} s"
    dearest = sorted(bus.meters, key=lambda meter: -_busy(bus, meter))[:_MOST_EXPENSIVE_SHOWN]
    costs = ", ".join(f"{meter.config.id} {_seconds(meter_cost(bus, meter).expected_s)}" for meter in dearest)
    faster = "a higher baud rate, " if bus.config.serial is not None else ""
    return (
        f"bus {bus.config.id!r} {needs} {_seconds(cycle_s)} for one cycle and its periods are {shown}, so it would be busy "
        f"{share:.0%} of the time (most of it: {costs}); set a longer period_s, {faster}or read fewer points"
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


def _busy(bus: BusPlan, meter: MeterPlan) -> float:
    return sum(_share(bus, meter, group).expected_s for group in meter.groups)


def _sum(costs: Iterable[Cost]) -> Cost:
    least_s = expected_s = 0.0
    for cost in costs:
        least_s += cost.least_s
        expected_s += cost.expected_s
    return Cost(least_s, expected_s)
