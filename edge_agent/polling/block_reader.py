"""Ask a meter for a set of points, block by block, and find out once which of them it refuses.

A block is one planned request. Refused for an illegal address, it is bisected; from then on only what
works is asked, in the fewest requests. An hour later the bad points get another chance: some routers
refuse a position as long as they have none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.bus.bus import ModbusBus
from edge_agent.clock.clock import Clock
from edge_agent.domain.bisection import Bisection
from edge_agent.errors import MeterGarbled, MeterRefused, MeterUnreachable
from protocol.profile import Point
from protocol.site.plan import QUESTIONS_PER_VISIT, MeterPlan, RequestPlan, compile_requests
from protocol.site.read_plan import ReadRequest

Fault = MeterUnreachable | MeterGarbled | MeterRefused

_ILLEGAL_ADDRESS = 2
_GATEWAY_EXCEPTIONS = frozenset({10, 11})
"""A gateway's words for "the meter behind me is silent"."""
_RECONSIDER_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request: words (or bits), or the fault that came instead."""

    plan: RequestPlan
    words: Sequence[int] = ()
    fault: Fault | None = None

    @property
    def is_silence(self) -> bool:
        """Say whether nobody is there: the meter need not be asked further."""
        if isinstance(self.fault, MeterRefused):
            return self.fault.exception_code in _GATEWAY_EXCEPTIONS
        return isinstance(self.fault, MeterUnreachable)

    @property
    def is_illegal_address(self) -> bool:
        """Say whether the meter does not have some address of the request."""
        return isinstance(self.fault, MeterRefused) and self.fault.exception_code == _ILLEGAL_ADDRESS


@dataclass(slots=True)
class _Block:
    plans: tuple[RequestPlan, ...]
    """What is asked each time: at first the planned request."""
    fallback: tuple[RequestPlan, ...] = ()
    """Requests that have been answered as they are, while `plans` are fewer and hoped for."""
    bisection: Bisection | None = None
    refusal: Fault | None = None
    reconsider_at_ms: int = 0
    missing: tuple[RequestPlan, ...] = ()
    """The points that are not asked for in `plans`."""
    lost: frozenset[str] = frozenset()
    """Points in requests that were answered once and are refused now."""


class BlockReader:
    """Reads the same points of one meter again and again."""

    def __init__(
        self,
        *,
        meter: MeterPlan,
        bus: ModbusBus,
        points: Sequence[Point],
        plans: Sequence[RequestPlan],
        clock: Clock,
    ) -> None:
        """Read `points` with `plans`; the columns of later requests are slots of `points` too."""
        self._meter, self._bus, self._points = meter, bus, tuple(points)
        self._clock = clock
        self.answered_at_ms = 0
        """Monotonic: when the last answer of the last time arrived."""
        self._blocks = [_Block((plan,)) for plan in plans]
        self._questions = 0

    @property
    def refused_points(self) -> tuple[str, ...]:
        """Return the names of the points that the meter refuses, as far as that is known."""
        names: set[str] = set()
        for block in self._blocks:
            if block.bisection is not None:
                names |= block.lost | {point.name for point in block.bisection.bad}
        return tuple(point.name for point in self._points if point.name in names)

    @property
    def is_finding_out(self) -> bool:
        """Say whether some refused block is not settled yet."""
        return any(block.bisection is not None and block.bisection.pending for block in self._blocks)

    async def ask(self) -> list[Answer]:
        """Ask once. Faults of the meter are part of the answers, never exceptions.

        Every point stands in an answer, its last one counts; unless the last of all is a silence: then
        nothing more was asked.
        """
        self._questions = QUESTIONS_PER_VISIT
        self.answered_at_ms = 0
        answers: list[Answer] = []
        for block in self._blocks:
            answers += await self._visit(block)
            if answers[-1].is_silence:
                break
        self.answered_at_ms = self.answered_at_ms or self._clock.monotonic_ms()
        return answers

    async def _visit(self, block: _Block) -> list[Answer]:
        answers: list[Answer] = []
        for plan in block.plans:
            answers.append(await self._send(plan))
            if answers[-1].is_silence:
                return answers
        refused = [answer for answer in answers if answer.is_illegal_address]
        if refused and block.fallback:
            block.plans, block.fallback = block.fallback, ()
            return await self._visit(block)
        if block.bisection is None:
            if not refused:
                return answers
            return answers + await self._find_out(block, self._begin_bisection(block, refused[0]))
        if not refused and not block.bisection.proven:
            block.bisection = None  # the meter has come to its senses as a whole
            return answers
        block.lost = frozenset(planned.point.name for answer in refused for planned in answer.plan.request.points)
        return answers + await self._find_out(block, block.bisection)

    def _begin_bisection(self, block: _Block, answer: Answer) -> Bisection:
        block.bisection = Bisection(answer.plan.request)
        block.refusal = answer.fault
        block.reconsider_at_ms = self._clock.monotonic_ms() + _RECONSIDER_MS
        if not block.bisection.pending:
            self._settle(block, block.bisection)
        return block.bisection

    async def _find_out(self, block: _Block, bisection: Bisection) -> list[Answer]:
        """Spend what questions are left, then name what is still missing."""
        if self._clock.monotonic_ms() >= block.reconsider_at_ms and not bisection.pending:
            block.reconsider_at_ms = self._clock.monotonic_ms() + _RECONSIDER_MS
            bisection.reconsider(block.lost)
        answers: list[Answer] = []
        if bisection.pending:
            answers = await self._question(block, bisection)
            if answers and answers[-1].is_silence:
                return answers
        return answers + [Answer(plan, fault=block.refusal) for plan in block.missing]

    async def _question(self, block: _Block, bisection: Bisection) -> list[Answer]:
        answers: list[Answer] = []
        while (request := bisection.next_request) is not None and self._questions > 0:
            self._questions -= 1
            [plan] = self._compile([request])
            answer = await self._send(plan)
            if answer.fault is None:
                bisection.answered()
                answers.append(answer)
            elif answer.is_illegal_address:
                bisection.was_refused()
            else:
                # Nothing is learnt from a silence, a busy meter or a broken frame: the next visit goes on.
                if answer.is_silence:
                    answers.append(answer)
                break
        self._settle(block, bisection)
        return answers

    def _settle(self, block: _Block, bisection: Bisection) -> None:
        """Ask from now on what works; when all is known, in the fewest requests that may.

        Where nothing does, the one request that was planned still shows whether the meter is there.
        """
        unasked = [*((point,) for point in bisection.bad), *bisection.pending]
        block.missing = self._compile([bisection.request_of(run) for run in unasked])
        proven = bisection.proven_requests()
        block.plans, block.fallback = self._compile(proven), ()
        if not proven and not bisection.pending:
            block.plans, block.missing = self._compile([bisection.refused]), ()
            return
        fewest = () if bisection.pending else bisection.fewest_requests(self._meter.modbus)
        if 0 < len(fewest) < len(proven):
            block.plans, block.fallback = self._compile(fewest), block.plans

    def _compile(self, requests: Sequence[ReadRequest]) -> tuple[RequestPlan, ...]:
        return compile_requests(requests, self._points, self._meter.modbus)

    async def _send(self, plan: RequestPlan) -> Answer:
        request = plan.request
        try:
            words = await self._bus.read(
                unit_id=request.unit_id,
                table=request.table,
                address=request.address,
                count=request.count,
                timing=self._meter.timing,
            )
        except (MeterUnreachable, MeterGarbled, MeterRefused) as fault:
            answer = Answer(plan, fault=fault)
        else:
            answer = Answer(plan, words)
        if not answer.is_silence:
            self.answered_at_ms = self._clock.monotonic_ms()
        return answer
