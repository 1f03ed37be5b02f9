"""One group of a meter: when it is due, what of its samples is recorded, and as what."""

from typing import NamedTuple, Protocol

from edge_agent.bus.bus import ModbusBus
from edge_agent.clock.clock import Clock
from edge_agent.domain.reporting import Sample, make_reporter
from edge_agent.domain.schedule import Due, Grid
from edge_agent.polling.meter_reader import MeterReader, Visit
from protocol.report_policy import HALF_HOUR_S
from protocol.scans import Scan
from protocol.site.plan import GroupPlan, MeterPlan

_HALF_HOUR_MS = HALF_HOUR_S * 1000
_SELDOM_MS = 30_000


class ScanSink(Protocol):
    """Where scans go; `edge_agent.polling.recorder` is the one in use. Every call returns at once."""

    def record(self, scan: Scan, *, monotonic_ms: int) -> None:
        """Take a scan that was observed at `monotonic_ms` since boot."""

    def poll_begun(self) -> None:
        """Note that a poll cycle has begun: more scans follow at once."""

    def poll_ended(self) -> None:
        """Note that a poll cycle has ended."""


class _Live(NamedTuple):
    grid: Grid
    until_ms: int
    """Monotonic."""


class GroupPoll:
    """Visits a group when it is due, and records what its policy or a live view asks for."""

    def __init__(self, *, meter: MeterPlan, group: GroupPlan, bus: ModbusBus, sink: ScanSink, clock: Clock) -> None:
        """Begin on the grid from now; a group that is seldom read is also read at once."""
        self.plan = group
        self.reader = MeterReader(meter=meter, group=group, bus=bus, clock=clock)
        self.keep_every = 1
        self._sink, self._clock = sink, clock
        self._grid = Grid(group.period_ms, group.offset_ms)
        self._reporter = make_reporter([point.kind for point in group.points], group.report, group.period_ms)
        self._live: _Live | None = None
        self._live_due = Due(0, 0, 0)
        self._polled_slot = 0
        self._last: Visit | None = None
        self.due = self._enter(clock.now_ms())
        if group.period_ms >= _SELDOM_MS:
            # Whoever has just installed a meter sees it now, and not after half an hour.
            self._polled_slot -= 1
            self.due = Due(self._polled_slot + 1, clock.now_ms(), 0)

    @property
    def is_live(self) -> bool:
        """Say whether each sample is recorded; ends by itself."""
        return self._live is not None and self._clock.monotonic_ms() < self._live.until_ms

    @property
    def at_ms(self) -> int:
        """Return when the next visit is due, UTC ms."""
        return min(self.due.at_ms, self._live_due.at_ms) if self.is_live else self.due.at_ms

    @property
    def last_visit(self) -> Visit | None:
        """Return the newest visit; None before the first."""
        return self._last

    @property
    def last_values(self) -> dict[str, float]:
        """Return the values of the last visit by point, those that it brought."""
        if self._last is None:
            return {}
        names = (point.name for point in self.plan.points)
        values = zip(names, self._last.scan.values, strict=True)
        return {name: value for name, value in values if value is not None}

    def is_at_boundary(self, now_ms: int) -> bool:
        """Say whether counters are due to be read at the end of a half hour: that goes before all else."""
        return self.plan.has_counters and self.due.at_ms % _HALF_HOUR_MS == 0 and self.due.at_ms <= now_ms

    async def visit(self) -> tuple[Visit, int]:
        """Visit the meter, record, and return the visit and how many slots had passed unpolled before it."""
        now_ms = self._clock.now_ms()
        is_own = self.due.at_ms <= now_ms
        missed = self.due.missed if is_own else 0
        if is_own:
            self._polled_slot = self.due.slot
        visit = await self._ask()
        self._record(visit, is_own=is_own)
        self.go_on()
        return visit, missed

    async def visit_now(self) -> Visit:
        """Visit the meter out of turn and record what it says."""
        visit = await self._ask()
        self._record_raw(visit)
        return visit

    def go_on(self) -> None:
        """Be due in the next slots."""
        now_ms = self._clock.now_ms()
        self.due = self._grid.next_due(self._polled_slot, now_ms)
        if self._live is not None:
            self._live_due = self._live.grid.first_due(now_ms + 1)

    def back_off(self, wait_ms: int) -> None:
        """Be due in the first slots that are at least `wait_ms` away."""
        now_ms = self._clock.now_ms()
        self.due = self._grid.due_after(self._polled_slot, now_ms, wait_ms)
        if self._live is not None:
            self._live_due = self._live.grid.first_due(now_ms + max(wait_ms, 1))

    def enter_afresh(self, wait_ms: int) -> None:
        """Begin on the grid anew, at least `wait_ms` from now: the clock was set."""
        now_ms = self._clock.now_ms() + wait_ms
        self.due = self._enter(now_ms)
        if self._live is not None:
            self._live_due = self._live.grid.first_due(now_ms)

    def go_live(self, period_ms: int, until_monotonic_ms: int) -> None:
        """Sample at least each `period_ms` until then, and record each sample."""
        grid = self._grid if period_ms >= self.plan.period_ms else Grid(period_ms)
        self._live = _Live(grid, until_monotonic_ms)
        self._live_due = grid.first_due(self._clock.now_ms())

    def renumber(self, group: GroupPlan) -> None:
        """Take the layout numbers of a new plan that is otherwise the same."""
        self.plan = self.reader.group = group

    def report_rest(self) -> None:
        """Record what the policy has gathered and not reported yet."""
        rest = self._reporter.close()
        if rest is not None:
            self._put(self.plan.layout, rest)

    async def _ask(self) -> Visit:
        visit = await self.reader.visit()
        self._last = visit
        return visit

    def _enter(self, now_ms: int) -> Due:
        due = self._grid.first_due(now_ms)
        self._polled_slot = due.slot - 1
        return due

    def _record(self, visit: Visit, *, is_own: bool) -> None:
        report = None
        if is_own:
            # Where there are no gauges there is nothing that may be thinned.
            keep_every = self.keep_every if self.plan.has_gauges else 1
            report = self._reporter.take(_sample_of(visit), keep_every=keep_every)
            if report is not None:
                self._put(self.plan.layout, report)
        if self.is_live and (self.plan.live_layout is not None or report is None):
            self._record_raw(visit)

    def _record_raw(self, visit: Visit) -> None:
        layout = self.plan.layout if self.plan.live_layout is None else self.plan.live_layout
        self._put(layout, _sample_of(visit))

    def _put(self, layout: int, sample: Sample) -> None:
        scan = Scan(layout, sample.at_ms, sample.values, sample.quality)
        self._sink.record(scan, monotonic_ms=sample.monotonic_ms)


def _sample_of(visit: Visit) -> Sample:
    scan = visit.scan
    return Sample(scan.observed_at_ms, visit.monotonic_ms, scan.values, scan.quality)
