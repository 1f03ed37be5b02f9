"""From the pollers to the buffer: one transaction per poll cycle, and memory while the disk refuses.

Here, and nowhere else, monotonic time becomes `observed_at`. While the clock is not trusted, scans go to
the part of the buffer where they wait for it.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog

from edge_agent.buffer.buffer import Buffer
from edge_agent.buffer.held import HeldScan, stamped
from edge_agent.clock.clock import AgentClock
from edge_agent.domain.backoff import backoff_s
from edge_agent.errors import StorageUnavailable
from protocol.ranges import Range
from protocol.scans import Gap, GapReason, Scan

_RETRY_CAP_S = 60.0

log = structlog.get_logger()


class Recorder:
    """Takes scans at once and stores them together.

    A cycle's scans are stored when no poll is under way any more, or `linger_s` after the first of
    them. While the disk takes nothing, up to `memory_scans_max` stay in memory; of the oldest beyond
    that, a gap record is stored first when the disk is back.
    """

    def __init__(
        self,
        *,
        buffer: Buffer,
        clock: AgentClock,
        on_stored: Callable[[Range], None],
        on_held: Callable[[], None],
        linger_s: float = 0.5,
        memory_scans_max: int = 20_000,
        retry_first_s: float = 1.0,
    ) -> None:
        """`on_stored` is told which numbers of this run's stream are on disk, `on_held` that scans wait for the clock."""
        self._buffer, self._clock = buffer, clock
        self._on_stored, self._on_held = on_stored, on_held
        self._linger_s = linger_s
        self._memory_scans_max = memory_scans_max
        self._retry_first_s = retry_first_s
        self._waiting: deque[tuple[Scan, int]] = deque()
        """Scans with monotonic times, and what the wall clock showed."""
        self._given_up: Gap | None = None
        self._in_flight = 0
        self._linger_until_s = 0.0
        self._changed = asyncio.Event()
        self._storing: asyncio.Task[None] | None = None
        self._failures = 0

    @property
    def scans_in_memory(self) -> int:
        """How many scans are in memory and not on disk yet."""
        return len(self._waiting)

    @property
    def is_storage_failing(self) -> bool:
        """Say whether the disk refused the last time."""
        return self._failures > 0

    def record(self, scan: Scan, *, monotonic_ms: int) -> None:
        """Take a scan, and when its last answer arrived; its `observed_at` is replaced. Returns at once."""
        if not self._waiting:
            self._linger_until_s = time.monotonic() + self._linger_s
        self._waiting.append((replace(scan, observed_at_ms=monotonic_ms), self._clock.wall_ms(monotonic_ms)))
        while len(self._waiting) > self._memory_scans_max and self._storing is None:
            self._give_up(self._waiting.popleft()[0])
        self._changed.set()

    def poll_begun(self) -> None:
        """Note that a poller is at work: its scans are worth waiting for."""
        self._in_flight += 1

    def poll_ended(self) -> None:
        """Note that a poller has recorded what it had."""
        self._in_flight -= 1
        self._changed.set()

    async def run(self) -> None:
        """Store cycle after cycle until cancelled.

        Raises: BufferCorrupt.
        """
        while True:
            await self._wait_for_cycle()
            await self._store()
            if self._failures:
                await asyncio.sleep(
                    backoff_s(self._failures, random.random(), first_s=self._retry_first_s, cap_s=_RETRY_CAP_S)  # noqa: S311 - spread, not secrecy
                )

    async def flush(self) -> bool:
        """Store what is in memory, waiting for no cycle to end; False when the disk refuses it.

        Raises: BufferCorrupt.
        """
        while self._waiting or self._given_up or self._storing:
            await self._store()
            if self._failures:
                return False
        return True

    async def between_cycles(self, deed: Callable[[], Awaitable[None]]) -> None:
        """Store what is in memory, then do something while nothing is stored; nobody may record meanwhile.

        Raises: StorageUnavailable when the disk refuses; the deed is then not done, or raised that itself. BufferCorrupt.
        """
        if not await self.flush():
            raise StorageUnavailable("the disk takes no scans just now")
        faults: list[Exception] = []

        async def do() -> None:
            try:
                await deed()
            except Exception as error:  # noqa: BLE001 - it belongs to our caller, not to who waits to store
                faults.append(error)
            finally:
                self._storing = None

        self._storing = asyncio.create_task(do(), name="recorder pause")
        await asyncio.shield(self._storing)
        if faults:
            raise faults[0]

    async def _wait_for_cycle(self) -> None:
        """Return when scans are there and no poll is under way, or when they have waited long enough."""
        while True:
            self._changed.clear()
            if self._waiting or self._given_up:
                left_s = self._linger_until_s - time.monotonic()
                if self._in_flight <= 0 or left_s <= 0:
                    return
            else:
                left_s = None
            try:
                async with asyncio.timeout(left_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _store(self) -> None:
        """Store everything held, or wait for the storing that is under way.

        It goes on when the caller is cancelled, so that no scan is stored twice.
        """
        if self._storing is None:
            self._storing = asyncio.create_task(self._store_waiting(), name="recorder store")
        await asyncio.shield(self._storing)

    async def _store_waiting(self) -> None:
        scans, given_up = list(self._waiting), self._given_up
        contents = [HeldScan(scan, wall_ms) for scan, wall_ms in scans]
        if given_up:
            contents.insert(0, HeldScan(given_up, self._clock.wall_ms(given_up.to_ms)))
        try:
            if not contents:
                return
            stored = await self._put(contents)
        except StorageUnavailable as error:
            self._refused(error)
            return
        finally:
            self._storing = None
        for _ in scans:
            self._waiting.popleft()
        self._given_up = None
        self._linger_until_s = time.monotonic() + self._linger_s
        self._accepted()
        if stored is None:
            self._on_held()
        else:
            self._on_stored(stored)

    async def _put(self, contents: list[HeldScan]) -> Range | None:
        """Store contents under the time that they were taken; None when that is not known yet."""
        if self._clock.is_trusted:
            offset_ms = self._clock.offset_ms
            return await self._buffer.append([stamped(held.content, offset_ms) for held in contents])
        await self._buffer.hold(contents)
        return None

    def _refused(self, error: StorageUnavailable) -> None:
        self._failures += 1
        if self._failures == 1:
            log.error("storage_unavailable", reason=str(error), scans_in_memory=len(self._waiting))

    def _accepted(self) -> None:
        if self._failures:
            log.info("storage_recovered", attempts=self._failures)
        self._failures = 0

    def _give_up(self, scan: Scan) -> None:
        """Let the oldest scan go; the gap record that names it grows by one."""
        lost = self._given_up or Gap(0, GapReason.NOT_STORED, scan.observed_at_ms, scan.observed_at_ms)
        self._given_up = Gap(
            lost.count + 1,
            GapReason.NOT_STORED,
            min(lost.from_ms, scan.observed_at_ms),
            max(lost.to_ms, scan.observed_at_ms),
        )
