"""Visit one group of a meter: ask for its points, decode the answers, judge the values. One visit makes one scan."""

from dataclasses import dataclass

from edge_agent.bus.bus import ModbusBus
from edge_agent.clock.clock import Clock
from edge_agent.domain.plausibility import assess
from edge_agent.errors import MeterGarbled, MeterRefused
from edge_agent.polling.block_reader import Answer, BlockReader, Fault
from protocol.manifest import PointKind
from protocol.quality import Quality, exception_quality, has_value
from protocol.registers import Value, apply_exponents
from protocol.scans import Scan
from protocol.site.plan import BusPlan, GroupPlan, MeterPlan


@dataclass(frozen=True, slots=True)
class Visit:
    """A scan, and what the meter said in detail."""

    scan: Scan
    monotonic_ms: int
    """When the last answer arrived, by time that only runs on."""
    answers: tuple[Answer, ...]
    """In the order of the requests; those after a silence were not asked."""

    @property
    def silence(self) -> Fault | None:
        """Return the fault for which the meter was given up: it is silent, or says nothing that is usable."""
        last = self.answers[-1]
        if last.is_silence:
            return last.fault
        is_noise = all(isinstance(answer.fault, MeterGarbled) for answer in self.answers)
        return last.fault if is_noise else None

    @property
    def refusal(self) -> MeterRefused | None:
        """Return the first exception that the meter answered with.

        Addresses that it does not have are told by `BlockReader.refused_points`, and count here only when it
        has none of those that it was asked for.
        """
        refusals = [answer for answer in self.answers if isinstance(answer.fault, MeterRefused)]
        has_answered = any(answer.fault is None for answer in self.answers)
        counting = [answer.fault for answer in refusals if not (has_answered and answer.is_illegal_address)]
        return next((fault for fault in counting if isinstance(fault, MeterRefused)), None)

    @property
    def garbling(self) -> MeterGarbled | None:
        """Return the first answer that could not be used."""
        return next((answer.fault for answer in self.answers if isinstance(answer.fault, MeterGarbled)), None)


class MeterReader:
    """Reads one group of a meter again and again, and remembers its counters to see them run backwards."""

    def __init__(self, *, meter: MeterPlan, group: GroupPlan, bus: ModbusBus, clock: Clock) -> None:
        self.group = group
        self._clock = clock
        self._counters: dict[int, float] = {}
        self.blocks = BlockReader(
            meter=meter,
            bus=bus,
            points=(*group.points, *group.exponents),
            plans=group.requests,
            clock=clock,
        )

    async def visit(self) -> Visit:
        """Ask the meter once. Faults of the meter become quality codes, never exceptions.

        A silent meter is not asked further. `observed_at` is when its last answer arrived.
        """
        answers = await self.blocks.ask()
        monotonic_ms = self.blocks.answered_at_ms
        at_ms = self._clock.now_ms() - (self._clock.monotonic_ms() - monotonic_ms)
        return Visit(self._scan(answers, at_ms), monotonic_ms, tuple(answers))

    def _scan(self, answers: list[Answer], observed_at_ms: int) -> Scan:
        points = len(self.group.points)
        slots = points + len(self.group.exponents)
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
        return Scan(self.group.layout, observed_at_ms, tuple(values), quality if any(quality) else None)

    def _apply_exponents(self, decoded: list[Value]) -> None:
        if not self.group.exponents and all(point.exponent_point is None for point in self.group.points):
            return
        points = (*self.group.points, *self.group.exponents)
        names = [point.name for point in points]
        applied = apply_exponents(points, dict(zip(names, decoded, strict=True)))
        decoded[:] = [applied[name] for name in names]

    def _judged(self, slot: int, value: Value, codes: list[int]) -> float | None:
        """Set the value's quality code, and return the value when that quality carries one."""
        if codes[slot] != Quality.GOOD:
            return None
        number = value if isinstance(value, float) else None
        point = self.group.points[slot]
        codes[slot] = assess(point, number, self._counters.get(slot))
        if number is not None and point.kind is PointKind.COUNTER and codes[slot] != Quality.OUT_OF_RANGE:
            self._counters[slot] = number
        return number if has_value(codes[slot]) else None


def bus_of(plan: BusPlan) -> ModbusBus:
    """Make the connection of a bus; it connects when it is first asked."""
    return ModbusBus(plan.config, extra_pause_s=plan.extra_pause_s)


def _fault_quality(answer: Answer) -> int:
    if answer.fault is None:
        return Quality.GOOD
    if isinstance(answer.fault, MeterRefused):
        return exception_quality(answer.fault.exception_code)
    return Quality.TIMEOUT
