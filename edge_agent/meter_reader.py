"""Visit one meter: send its requests, decode the answers, judge the values. One visit makes one scan."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_agent.domain.plausibility import assess
from edge_agent.errors import MeterRefused, MeterUnreachable
from edge_agent.modbus import ModbusBus
from edge_agent.site import BusPlan, MeterPlan, RequestPlan
from protocol.manifest import PointKind
from protocol.quality import Quality, exception_quality, has_value
from protocol.registers import Value, apply_exponents
from protocol.scans import Scan

_GATEWAY_EXCEPTIONS = frozenset({10, 11})
"""A gateway's words for "the meter behind me is silent"."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request: words (or bits), or the fault that came instead."""

    plan: RequestPlan
    words: Sequence[int] = ()
    fault: MeterUnreachable | MeterRefused | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """A scan, and what the meter said in detail."""

    scan: Scan
    answers: tuple[Answer, ...]
    """In the order of the requests; those after a silence were not asked."""

    @property
    def silence(self) -> MeterUnreachable | MeterRefused | None:
        """Return the fault for which the meter was given up; None when it was not."""
        fault = self.answers[-1].fault
        return fault if fault is not None and _means_silence(fault) else None

    @property
    def refusal(self) -> MeterRefused | None:
        """Return the first exception that the meter answered with."""
        return next((answer.fault for answer in self.answers if isinstance(answer.fault, MeterRefused)), None)


class MeterReader:
    """Reads one meter again and again, and remembers its counters to see them run backwards."""

    def __init__(self, *, plan: MeterPlan, bus: ModbusBus, now_ms: Callable[[], int]) -> None:
        self._plan, self._bus, self._now_ms = plan, bus, now_ms
        self._counters: dict[int, float] = {}

    async def visit(self) -> Visit:
        """Ask the meter once. Faults of the meter become quality codes, never exceptions.

        A silent meter is not asked further. `observed_at` is when its last answer arrived.
        """
        answers: list[Answer] = []
        observed_at_ms = 0
        for plan in self._plan.requests:
            answer = await self._ask(plan)
            answers.append(answer)
            if answer.fault is not None and _means_silence(answer.fault):
                break
            observed_at_ms = self._now_ms()
        return Visit(self._scan(answers, observed_at_ms or self._now_ms()), tuple(answers))

    async def _ask(self, plan: RequestPlan) -> Answer:
        request = plan.request
        try:
            words = await self._bus.read(
                unit_id=request.unit_id, table=request.table, address=request.address, count=request.count
            )
        except (MeterUnreachable, MeterRefused) as fault:
            return Answer(plan, fault=fault)
        return Answer(plan, words)

    def _scan(self, answers: list[Answer], observed_at_ms: int) -> Scan:
        points = len(self._plan.points)
        slots = points + len(self._plan.exponents)
        decoded: list[Value] = [None] * slots
        # What was not asked is as unknown as what was asked last.
        codes = [_fault_quality(answers[-1])] * slots
        for answer in answers:
            code = _fault_quality(answer)
            for slot, start, stop, decode in answer.plan.columns:
                codes[slot] = code
                if answer.fault is None:
                    decoded[slot] = decode(answer.words[start:stop])
        self._apply_exponents(decoded)
        values = [self._judged(slot, decoded[slot], codes) for slot in range(points)]
        quality = tuple(codes[:points])
        return Scan(self._plan.layout, observed_at_ms, tuple(values), quality if any(quality) else None)

    def _apply_exponents(self, decoded: list[Value]) -> None:
        if not self._plan.exponents and all(point.exponent_point is None for point in self._plan.points):
            return
        points = (*self._plan.points, *self._plan.exponents)
        names = [point.name for point in points]
        applied = apply_exponents(points, dict(zip(names, decoded, strict=True)))
        decoded[:] = [applied[name] for name in names]

    def _judged(self, slot: int, value: Value, codes: list[int]) -> float | None:
        """Set the value's quality code, and return the value when that quality carries one."""
        if codes[slot] != Quality.GOOD:
            return None
        number = value if isinstance(value, float) else None
        point = self._plan.points[slot]
        codes[slot] = assess(point, number, self._counters.get(slot))
        if number is not None and point.kind is PointKind.COUNTER and codes[slot] != Quality.OUT_OF_RANGE:
            self._counters[slot] = number
        return number if has_value(codes[slot]) else None


def bus_of(plan: BusPlan) -> ModbusBus:
    """Make the connection of a bus; it connects when it is first asked."""
    config = plan.config
    return ModbusBus(host=config.host, port=config.port, timeout_s=config.timeout_s, pause_s=plan.pause_s)


async def visit_once(bus_plan: BusPlan, meter: MeterPlan) -> Visit:
    """Ask one meter once, over a connection of its own."""
    bus = bus_of(bus_plan)
    try:
        return await MeterReader(plan=meter, bus=bus, now_ms=wall_clock_ms).visit()
    finally:
        bus.close()


def wall_clock_ms() -> int:
    """Return the controller's clock as UTC milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _means_silence(fault: MeterUnreachable | MeterRefused) -> bool:
    return isinstance(fault, MeterUnreachable) or fault.exception_code in _GATEWAY_EXCEPTIONS


def _fault_quality(answer: Answer) -> int:
    if answer.fault is None:
        return Quality.GOOD
    if isinstance(answer.fault, MeterRefused):
        return exception_quality(answer.fault.exception_code)
    return Quality.TIMEOUT
