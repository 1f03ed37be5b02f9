"""Meters that are polled cycle after cycle, whatever the disk does."""

from edge_factories import START_MS, make_scan

from edge_agent.buffer.buffer import Buffer
from edge_agent.clock.clock import AgentClock
from edge_agent.polling.recorder import Recorder
from protocol.ranges import Range


class Polling:
    """A recorder on a buffer, by a clock that is trusted."""

    def __init__(self, buffer: Buffer, *, scans_per_cycle: int = 60, memory_scans_max: int = 20_000) -> None:
        self.stored: list[Range] = []
        self.polled = 0
        """Scans so far; the nth is `make_scan(n, layout=1)`."""
        self.recorder = Recorder(
            buffer=buffer,
            clock=AgentClock(wall_ms=lambda: START_MS, boottime_ms=lambda: 0, is_kernel_synchronised=lambda: True),
            on_stored=self.stored.append,
            on_held=lambda: None,
            memory_scans_max=memory_scans_max,
        )
        self._scans_per_cycle = scans_per_cycle

    @property
    def stored_to(self) -> int:
        """The last number that is on disk; 0 for none."""
        return self.stored[-1].last if self.stored else 0

    async def cycle(self) -> bool:
        """Poll once; say whether the disk took it."""
        for _ in range(self._scans_per_cycle):
            self.polled += 1
            scan = make_scan(self.polled, layout=1)
            self.recorder.record(scan, monotonic_ms=scan.observed_at_ms - START_MS)
        return await self.recorder.flush()

    async def cycles(self, number: int) -> bool:
        """Poll so often; say whether the disk took all of it."""
        return all([await self.cycle() for _ in range(number)])

    async def until_refused(self) -> None:
        """Poll until the disk refuses."""
        while await self.cycle():
            assert self.polled < 500_000
