"""All buses of a site: a loop each, begun anew when it fails or stands still, and exchanged when the plan changes."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from typing import NamedTuple, TypeVar

import structlog

from edge_agent.bus.bus import ModbusBus
from edge_agent.clock.clock import Clock
from edge_agent.domain.backoff import backoff_s
from edge_agent.errors import AgentError
from edge_agent.polling.group_poll import ScanSink
from edge_agent.polling.meter_reader import Visit, bus_of
from edge_agent.polling.poller import BusPoller
from edge_agent.polling.status import BusStatus, MeterStatus
from edge_agent.site.compile import find_meter
from protocol.site.plan import BusPlan, GroupPlan, MeterPlan, SitePlan
from protocol.wording import did_you_mean

log = structlog.get_logger()

Outcome = TypeVar("Outcome")

_LOOK_EVERY_S = 5.0
_ALLOWANCE_S = 15.0
"""What a loop may take beyond its longest visit: the longest sleep, a close, a busy processor."""
_LINES_AT_ONCE = 400
_RESTART_FIRST_S, _RESTART_CAP_S = 1.0, 60.0
_CANCELLED_WITHIN_S = 5.0


class Progress(NamedTuple):
    """What a watchdog needs to know of one bus."""

    polls: int
    """Visits so far."""
    is_overdue: bool
    """Some meter should have been visited by now, and nobody has taken the matter in hand."""


class _Kept:
    """A bus and the task that keeps its loop going."""

    def __init__(self, poller: BusPoller) -> None:
        self.poller = poller
        self.task: asyncio.Task[None] | None = None
        self.stopping = asyncio.Event()
        self.is_resting = False
        """Between a restart's failure and its next attempt."""

    @property
    def is_in_hand(self) -> bool:
        """Say whether its loop rests on purpose: before it is begun anew, or behind other buses."""
        return self.is_resting or self.poller.is_queueing

    def stop(self) -> None:
        self.stopping.set()
        self.poller.stop()


class Supervisor:
    """Owns the pollers of a site."""

    def __init__(
        self,
        *,
        plan: SitePlan,
        sink: ScanSink,
        clock: Clock,
        on_change: Callable[[], None],
        open_bus: Callable[[BusPlan], ModbusBus] = bus_of,
        allowance_s: float = _ALLOWANCE_S,
        lines_at_once: int = _LINES_AT_ONCE,
    ) -> None:
        """Prepare the buses; `run` begins to poll. `on_change` is called when the state of a meter or bus changes.

        No more than `lines_at_once` buses are polled at the same time: the others queue.
        """
        self.plan = plan
        self._sink, self._clock, self._on_change, self._open_bus = sink, clock, on_change, open_bus
        self._allowance_s = allowance_s
        self._lines = asyncio.Semaphore(lines_at_once)
        self._keep_every = 1
        self._tasks: asyncio.TaskGroup | None = None
        self._changing = asyncio.Lock()
        self._kept = {bus.config.id: self._make(bus) for bus in plan.buses}

    @property
    def statuses(self) -> dict[str, MeterStatus]:
        """Return the status of each meter by its id."""
        return {meter: status for kept in self._kept.values() for meter, status in kept.poller.statuses.items()}

    @property
    def newest(self) -> dict[str, list[tuple[GroupPlan, Visit]]]:
        """Return the newest visit to each group, by meter."""
        return {meter: visits for kept in self._kept.values() for meter, visits in kept.poller.newest.items()}

    @property
    def bus_statuses(self) -> dict[str, BusStatus]:
        """Return the status of each bus by its id."""
        return {bus: kept.poller.bus_status for bus, kept in self._kept.items()}

    @property
    def progress(self) -> dict[str, Progress]:
        """Return the progress of each bus by its id."""
        return {
            bus: Progress(kept.poller.status.polls, kept.poller.is_overdue and not kept.is_in_hand)
            for bus, kept in self._kept.items()
        }

    async def run(self, stopping: asyncio.Event) -> None:
        """Poll until `stopping` is set, finish the scans in hand, and record what report policies still hold."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                for kept in self._kept.values():
                    self._start(kept)
                await stopping.wait()
                async with self._changing:
                    for kept in self._kept.values():
                        kept.stop()
        finally:
            self._tasks = None
            for kept in self._kept.values():
                kept.poller.report_rest()

    async def reconfigure(self, plan: SitePlan, *, switch: Callable[[], Awaitable[None]] | None = None) -> None:
        """Go over to another plan: what it does not change goes on as it was, but for the numbers of layouts.

        `switch` is awaited while no bus polls: behind the last scan of the old plan, and before the first
        of the new. Where it raises, the old plan stays in force.
        """
        async with self._changing, AsyncExitStack() as turns:
            wanted = {bus.config.id: bus for bus in plan.buses}
            kept = {
                bus: kept
                for bus, kept in self._kept.items()
                if bus in wanted and _is_same(wanted[bus], kept.poller.plan)
            }
            await self._end([other for bus, other in self._kept.items() if bus not in kept])
            for same in kept.values():
                await turns.enter_async_context(same.poller.turn)
            try:
                if switch is not None:
                    await switch()
                self.plan = plan
            finally:
                self._take_up(kept)

    def go_live(self, *, period_ms: int, until_monotonic_ms: int, meter_ids: Collection[str] | None = None) -> None:
        """Sample meters (None: all) at least each `period_ms` and record each sample, until then.

        Raises: AgentError for a meter that is not there.
        """
        for kept in self._kept_for(meter_ids):
            kept.poller.go_live(period_ms=period_ms, until_monotonic_ms=until_monotonic_ms, meter_ids=meter_ids)

    def thin_gauges(self, keep_every: int) -> None:
        """Report each n-th sample of gauges only; 1 ends it. The first sample of a half hour is always kept."""
        if keep_every == self._keep_every:
            return
        self._keep_every = keep_every
        for kept in self._kept.values():
            kept.poller.thin_gauges(keep_every)
        self._on_change()

    async def read_now(self, meter_ids: Collection[str] | None = None) -> dict[str, tuple[Visit, ...]]:
        """Visit meters (None: all) now, record what they say, and return a visit per group, by meter.

        After a silence the meter's further groups are not asked.
        Raises: AgentError for a meter that is not there, or when a bus does not come to an end.
        """
        chosen = self._kept_for(meter_ids)
        read = await asyncio.gather(*(self._read(kept, meter_ids) for kept in chosen))
        return {meter: visits for by_meter in read for meter, visits in by_meter.items()}

    async def on_bus(self, meter_id: str, deed: Callable[[ModbusBus, MeterPlan], Awaitable[Outcome]]) -> Outcome:
        """Do something with a meter's bus between two visits, such as write a point.

        Raises: AgentError for a meter that is not there, or when it takes too long; and what `deed` raises.
        """
        [kept] = self._kept_for({meter_id})
        _, meter = find_meter(self.plan, meter_id)

        async def do() -> Outcome:
            async with kept.poller.turn:
                return await deed(kept.poller.bus, meter)

        return await self._bounded(kept, do())

    def _make(self, bus: BusPlan) -> _Kept:
        poller = BusPoller(
            plan=bus,
            bus=self._open_bus(bus),
            sink=self._sink,
            clock=self._clock,
            on_change=self._on_change,
            lines=self._lines,
        )
        poller.thin_gauges(self._keep_every)
        return _Kept(poller)

    def _start(self, kept: _Kept) -> None:
        if self._tasks is not None:
            kept.task = self._tasks.create_task(self._keep(kept), name=f"poll {kept.poller.plan.config.id}")

    async def _end(self, leaving: Collection[_Kept]) -> None:
        for kept in leaving:
            kept.stop()
        tasks = [kept.task for kept in leaving if kept.task is not None]
        if tasks:
            await asyncio.wait(tasks)
        for kept in leaving:
            kept.poller.report_rest()

    def _take_up(self, kept: dict[str, _Kept]) -> None:
        """Put the plan in force: `kept` buses with their new numbers, all others from their beginning."""
        before, self._kept = self._kept, {}
        for bus in self.plan.buses:
            bus_id = bus.config.id
            if bus_id in kept:
                self._kept[bus_id] = before[bus_id]
                before[bus_id].poller.renumber(bus)
            else:
                self._kept[bus_id] = self._make(bus)
                self._start(self._kept[bus_id])

    def _kept_for(self, meter_ids: Collection[str] | None) -> list[_Kept]:
        statuses = self.statuses
        for meter_id in meter_ids or ():
            if meter_id not in statuses:
                raise AgentError(
                    f"there is no meter {meter_id!r} here{did_you_mean(meter_id, statuses)}; correct its id"
                )
        return [
            kept
            for kept in self._kept.values()
            if meter_ids is None or not kept.poller.statuses.keys().isdisjoint(meter_ids)
        ]

    async def _read(self, kept: _Kept, meter_ids: Collection[str] | None) -> dict[str, tuple[Visit, ...]]:
        async with self._lines:
            return await self._bounded(kept, kept.poller.read_now(meter_ids))

    async def _bounded(self, kept: _Kept, deed: Awaitable[Outcome]) -> Outcome:
        plan = kept.poller.plan
        visits = 1 + sum(len(meter.groups) for meter in plan.meters)
        bound_s = visits * plan.longest_visit_s + self._allowance_s
        try:
            async with asyncio.timeout(bound_s):
                return await deed
        except TimeoutError:
            raise AgentError(
                f"bus {plan.config.id!r} did not come to an end within {bound_s:.0f} s; try again"
            ) from None

    async def _keep(self, kept: _Kept) -> None:
        """Keep the loop of a bus going until it is stopped."""
        failures, polls = 0, 0
        while not kept.stopping.is_set():
            reason = await self._run_once(kept.poller)
            if reason is None:
                return
            failures = failures + 1 if kept.poller.status.polls == polls else 1
            polls = kept.poller.status.polls
            self._tell_restart(kept.poller, reason)
            kept.is_resting = True
            try:
                async with asyncio.timeout(backoff_s(failures, 1.0, first_s=_RESTART_FIRST_S, cap_s=_RESTART_CAP_S)):
                    await kept.stopping.wait()
            except TimeoutError:
                pass
            finally:
                kept.is_resting = False

    async def _run_once(self, poller: BusPoller) -> str | None:
        """Run the loop until it ends; return why it did not end in good order."""
        task = asyncio.create_task(poller.run(), name=f"loop {poller.plan.config.id}")
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=min(_LOOK_EVERY_S, self._allowance_s))
                bound_s = poller.plan.longest_visit_s + self._allowance_s
                is_late = time.monotonic() - poller.alive_at_s > bound_s and not poller.is_queueing
                if is_late and not task.done():
                    return f"it stood still for more than {bound_s:.0f} s"
            error = task.exception()
            return None if error is None else f"{type(error).__name__}: {error}"
        finally:
            task.cancel()
            await asyncio.wait({task}, timeout=_CANCELLED_WITHIN_S)
            poller.bus.close()

    def _tell_restart(self, poller: BusPoller, reason: str) -> None:
        status = poller.status
        status.restarts += 1
        status.since_ms = self._clock.now_ms()
        if status.last_restart_reason != reason:
            log.error("bus_restarted", bus=poller.plan.config.id, reason=reason)
        status.last_restart_reason = reason
        self._on_change()


def _is_same(plan: BusPlan, other: BusPlan) -> bool:
    """Say whether two plans differ in nothing but the numbers of their layouts: all else follows from these."""
    return plan.config == other.config and [m.profile for m in plan.meters] == [m.profile for m in other.meters]
