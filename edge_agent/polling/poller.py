"""Poll the meters of a bus on the wall-clock grid, and keep a dead one from holding up the others."""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field

import structlog

from edge_agent.bus.bus import ModbusBus
from edge_agent.clock.clock import Clock
from edge_agent.errors import BusUnreachable
from edge_agent.polling.group_poll import GroupPoll, ScanSink
from edge_agent.polling.meter_reader import Visit
from edge_agent.polling.self_description import SelfDescription, describe_router
from edge_agent.polling.status import BusStatus, Circuit, MeterState, MeterStatus
from protocol.site.plan import BusPlan, GroupPlan, MeterPlan
from protocol.site.points import is_router

log = structlog.get_logger()

_BACK_OFF_STEP_MS = 2_000
_BACK_OFF_CAP_MS = 300_000
_PROBE_YIELDS_MS = 10_000
"""So long a meter that was silent lets the others go first: what they wait is what its silence costs."""
_CLOCK_CHECK_S = 5.0
"""The longest sleep, so that a clock that was set is noticed soon."""
_JUMP_MS = 1_000
"""Wall time and monotonic time differ by more only when the clock was set."""


@dataclass(slots=True)
class _Meter:
    plan: MeterPlan
    groups: Sequence[GroupPoll]
    description: SelfDescription
    status: MeterStatus = field(default_factory=MeterStatus)
    wait_ms: int = 0
    bus_was_gone: bool = False


class BusPoller:
    """Polls one bus: one task, one request at a time, meters in the order of the configuration."""

    def __init__(
        self,
        *,
        plan: BusPlan,
        bus: ModbusBus,
        sink: ScanSink,
        clock: Clock,
        on_change: Callable[[], None],
        lines: asyncio.Semaphore | None = None,
    ) -> None:
        """Begin on the grid from now. `on_change` is called when a meter's state changes.

        `lines` lets only so many buses be polled at once; None polls this one whenever something is due.
        """
        self.plan = plan
        self.bus = bus
        self.status = BusStatus(since_ms=clock.now_ms())
        self.turn = asyncio.Lock()
        """Held for each visit: who holds it has the bus, and nothing is recorded meanwhile."""
        self.alive_at_s = time.monotonic()
        """The last time that the loop went round, by time that stands still while the controller sleeps."""
        self.is_queueing = False
        """Something is due, and other buses are polled first."""
        self._lines = lines or asyncio.Semaphore()
        self._sink, self._clock, self._on_change = sink, clock, on_change
        self._log = log.bind(bus=plan.config.id)
        self._wake = asyncio.Event()
        self._is_stopping = False
        self._skew_ms = clock.now_ms() - clock.monotonic_ms()
        self._meters = [self._make_meter(meter) for meter in plan.meters]

    @property
    def statuses(self) -> dict[str, MeterStatus]:
        """Return the status of each meter by its id."""
        for meter in self._meters:
            if meter.status.live_until_ms is not None and not any(group.is_live for group in meter.groups):
                meter.status.live_until_ms = None
        return {meter.plan.config.id: meter.status for meter in self._meters}

    @property
    def newest(self) -> dict[str, list[tuple[GroupPlan, Visit]]]:
        """Return the newest visit to each group, by meter."""
        return {
            meter.plan.config.id: [(group.plan, group.last_visit) for group in meter.groups if group.last_visit]
            for meter in self._meters
        }

    @property
    def bus_status(self) -> BusStatus:
        """Return how the bus does, with the counters of its line."""
        self.status.line = asdict(self.bus.stats)
        return self.status

    @property
    def is_overdue(self) -> bool:
        """Say whether some meter should have been visited by now."""
        now_ms = self._clock.now_ms()
        return any(group.at_ms < now_ms for meter in self._meters for group in meter.groups)

    async def run(self) -> None:
        """Poll until `stop` is called; the scan in hand is finished. It may be run again after it failed."""
        self.alive_at_s = time.monotonic()
        try:
            while not self._is_stopping:
                await self._wait_until_due()
                await self._poll_in_turn()
        finally:
            self.bus.close()

    def stop(self) -> None:
        """End after the visit in hand."""
        self._is_stopping = True
        self._wake.set()

    def report_rest(self) -> None:
        """Record what the report policies have gathered and not reported yet."""
        for meter in self._meters:
            for group in meter.groups:
                group.report_rest()

    def renumber(self, plan: BusPlan) -> None:
        """Take the layout numbers of a new plan that is otherwise the same. To be called with the turn in hand."""
        self.plan = plan
        for meter, new in zip(self._meters, plan.meters, strict=True):
            meter.plan = new
            for group, numbered in zip(meter.groups, new.groups, strict=True):
                group.renumber(numbered)

    def go_live(self, *, period_ms: int, until_monotonic_ms: int, meter_ids: Collection[str] | None) -> None:
        """Sample meters (None: all) at least each `period_ms` until then, and record each sample."""
        now_ms, left_ms = self._clock.now_ms(), until_monotonic_ms - self._clock.monotonic_ms()
        for meter in self._chosen(meter_ids):
            meter.status.live_until_ms = now_ms + left_ms if left_ms > 0 else None
            for group in meter.groups:
                group.go_live(period_ms, until_monotonic_ms)
        self._wake.set()

    def thin_gauges(self, keep_every: int) -> None:
        """Report each n-th sample of gauges only; 1 ends it."""
        for meter in self._meters:
            meter.status.keep_every = keep_every
            for group in meter.groups:
                group.keep_every = keep_every

    async def read_now(self, meter_ids: Collection[str] | None) -> dict[str, tuple[Visit, ...]]:
        """Visit meters (None: all) out of turn, back-off or not, and record what they say."""
        visits: dict[str, tuple[Visit, ...]] = {}
        for meter in self._chosen(meter_ids):
            async with self.turn:
                self._sink.poll_begun()
                try:
                    visits[meter.plan.config.id] = await self._visit_all(meter)
                finally:
                    self._sink.poll_ended()
        return visits

    def _make_meter(self, meter: MeterPlan) -> _Meter:
        bus, clock = self.bus, self._clock
        groups = [GroupPoll(meter=meter, group=group, bus=bus, sink=self._sink, clock=clock) for group in meter.groups]
        return _Meter(meter, groups, SelfDescription(meter=meter, bus=bus, clock=clock))

    def _chosen(self, meter_ids: Collection[str] | None) -> list[_Meter]:
        return [meter for meter in self._meters if meter_ids is None or meter.plan.config.id in meter_ids]

    async def _wait_until_due(self) -> None:
        while not self._is_stopping:
            self.alive_at_s = time.monotonic()
            self._follow_clock()
            wait_ms = min(group.at_ms for meter in self._meters for group in meter.groups) - self._clock.now_ms()
            if wait_ms <= 0:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(min(wait_ms / 1000, _CLOCK_CHECK_S)):
                    await self._wake.wait()
            self._wake.clear()

    def _follow_clock(self) -> None:
        """Enter the grid afresh when the clock was set, rather than fall silent or count slots that never were."""
        skew_ms = self._clock.now_ms() - self._clock.monotonic_ms()
        by_ms, self._skew_ms = skew_ms - self._skew_ms, skew_ms
        if abs(by_ms) <= _JUMP_MS:
            return
        for meter in self._meters:
            meter.status.since_ms += by_ms if meter.status.since_ms else 0
            for group in meter.groups:
                group.enter_afresh(meter.wait_ms)
            self._tell_next_attempt(meter)

    async def _poll_in_turn(self) -> None:
        self.is_queueing = True
        try:
            await self._lines.acquire()
        finally:
            self.is_queueing = False
        try:
            await self._poll_all_due()
        finally:
            self._lines.release()

    async def _poll_all_due(self) -> None:
        self._sink.poll_begun()
        try:
            while not self._is_stopping:
                self.alive_at_s = time.monotonic()
                async with self.turn:
                    if not (await self._poll_most_urgent() or await self._read_some_description()):
                        return
        finally:
            self._sink.poll_ended()
            if self.plan.config.close_after_poll:
                self.bus.close()

    async def _poll_most_urgent(self) -> bool:
        now_ms = self._clock.now_ms()
        due = [(meter, group) for meter in self._meters for group in meter.groups if group.at_ms <= now_ms]
        if not due:
            return False
        # The longest overdue first, so that a fast meter cannot starve a slow one of the same bus; but counters
        # at the end of a half hour before all, because intervals are measured with them, and a meter that was
        # silent after the others.
        meter, group = min(
            due,
            key=lambda pair: (
                not pair[1].is_at_boundary(now_ms) or pair[0].wait_ms > 0,
                pair[1].at_ms + (_PROBE_YIELDS_MS if pair[0].wait_ms else 0),
            ),
        )
        try:
            visit, missed = await group.visit()
        except BaseException as error:
            # The loop begins anew, and this meter is not the first one again.
            self._stayed_silent(meter, error, f"the visit broke off: {error!r}")
            raise
        meter.status.polls_skipped += missed
        self._note(meter, visit)
        return True

    async def _read_some_description(self) -> bool:
        """Ask one device for its texts, when there is nothing else to do and it is there."""
        for meter in self._meters:
            if meter.status.state is MeterState.NEVER_ASKED or meter.wait_ms or not meter.description.is_due:
                continue
            meter.status.texts |= await meter.description.read()
            self._tell_of_router(meter)
            return True
        return False

    async def _visit_all(self, meter: _Meter) -> tuple[Visit, ...]:
        visits: list[Visit] = []
        for group in meter.groups:
            visits.append(await group.visit_now())
            self._note(meter, visits[-1])
            if visits[-1].silence is not None:
                break
        return tuple(visits)

    def _note(self, meter: _Meter, visit: Visit) -> None:
        self.status.polls += 1
        if visit.silence is None:
            self._answered(meter, visit)
        else:
            self._stayed_silent(meter, visit.silence, str(visit.silence))
        self._tell_of_router(meter)

    def _answered(self, meter: _Meter, visit: Visit) -> None:
        status = meter.status
        status.polls_ok += 1
        status.failures = 0
        fault = visit.garbling or visit.refusal
        status.last_error = None if fault is None else str(fault)
        if visit.garbling is not None:
            self._enter(meter, MeterState.GARBLED)
        else:
            self._enter(meter, MeterState.GOOD if fault is None else MeterState.REFUSING)
        self._note_refused_points(meter)
        self._end_back_off(meter)
        for neighbour in self._meters:
            if neighbour.bus_was_gone:
                self._end_back_off(neighbour)

    def _note_refused_points(self, meter: _Meter) -> None:
        if any(group.reader.blocks.is_finding_out for group in meter.groups):
            return
        refused = tuple(dict.fromkeys(name for group in meter.groups for name in group.reader.blocks.refused_points))
        if refused == meter.status.refused_points:
            return
        meter.status.refused_points = refused
        if refused:
            self._log.warning("points_refused", meter_id=meter.plan.config.id, points=list(refused))
        else:
            self._log.info("points_accepted", meter_id=meter.plan.config.id)
        self._on_change()

    def _stayed_silent(self, meter: _Meter, error: BaseException, reason: str) -> None:
        status = meter.status
        status.polls_failed += 1
        status.failures += 1
        status.last_error = reason
        meter.bus_was_gone = isinstance(error, BusUnreachable)
        meter.wait_ms = min(_BACK_OFF_STEP_MS * status.failures, _BACK_OFF_CAP_MS)
        for group in meter.groups:
            group.back_off(meter.wait_ms)
        status.circuit = Circuit.OPEN
        self._tell_next_attempt(meter)
        self._enter(meter, MeterState.UNREACHABLE)

    def _end_back_off(self, meter: _Meter) -> None:
        """Poll the meter in its next slots, whether it answered or its bus is back."""
        if not meter.wait_ms:
            return
        meter.bus_was_gone = False
        meter.wait_ms = 0
        meter.status.circuit = Circuit.CLOSED
        self._tell_next_attempt(meter)
        for group in meter.groups:
            group.go_on()

    def _tell_next_attempt(self, meter: _Meter) -> None:
        is_open = meter.status.circuit is Circuit.OPEN
        meter.status.next_attempt_ms = min(group.at_ms for group in meter.groups) if is_open else None

    def _tell_of_router(self, meter: _Meter) -> None:
        if is_router(meter.plan.profile):
            values = {name: value for group in meter.groups for name, value in group.last_values.items()}
            meter.status.router = describe_router(meter.status.texts, values)

    def _enter(self, meter: _Meter, state: MeterState) -> None:
        """Note a state; when it is a new one, say so once."""
        status = meter.status
        before, status.state = status.state, state
        if before is state:
            return
        status.since_ms = self._clock.now_ms()
        fields = {"meter_id": meter.plan.config.id, "error": status.last_error}
        if state is MeterState.UNREACHABLE:
            self._log.warning("meter_unreachable", **fields)
        elif state is MeterState.REFUSING:
            self._log.warning("meter_refuses", **fields)
        elif state is MeterState.GARBLED:
            self._log.warning("meter_garbled", **fields)
        elif before is not MeterState.NEVER_ASKED:
            self._log.info("meter_recovered", meter_id=meter.plan.config.id)
        self._on_change()
