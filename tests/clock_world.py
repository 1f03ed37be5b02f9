"""A controller's clocks as a test sets them, and a recorder and a timekeeper that go by them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from edge_factories import BOOT, MANIFEST, START_MS, opened
from hub_client import until

from edge_agent.buffer.buffer import Buffer
from edge_agent.clock.clock import AgentClock
from edge_agent.clock.timekeeper import Timekeeper
from edge_agent.polling.recorder import Recorder
from protocol.manifest import Manifest
from protocol.ranges import Range
from protocol.scans import Scan

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
YEAR_MS = 365 * DAY_MS


@dataclass
class World:
    """What is true, what the controller's clocks show, and what was taken."""

    now_ms: int = START_MS
    """The true UTC."""
    boot: int = 1
    booted_ms: int = START_MS - 10_000
    """When the present boot began, truly."""
    wall_error_ms: int = 0
    is_synchronised: bool = False
    """What the kernel says."""
    taken: dict[int, int] = field(default_factory=dict)
    """The true time of each scan, by the number that is its first value."""
    boots: dict[int, int] = field(default_factory=dict)
    """The boot of each scan."""

    @property
    def boot_id(self) -> bytes:
        return f"boot-{self.boot}".encode().ljust(len(BOOT))

    def monotonic_ms(self) -> int:
        return self.now_ms - self.booted_ms

    def wall_ms(self) -> int:
        return self.now_ms + self.wall_error_ms

    def clock(self) -> AgentClock:
        return AgentClock(
            wall_ms=self.wall_ms, boottime_ms=self.monotonic_ms, is_kernel_synchronised=lambda: self.is_synchronised
        )

    def pass_time(self, ms: int) -> None:
        self.now_ms += ms

    def synchronise(self) -> None:
        """Let a time service set the wall clock right and vouch for it."""
        self.wall_error_ms, self.is_synchronised = 0, True

    def reboot(self, *, off_ms: int = 60_000, shows_ms: int | None = None) -> None:
        """Boot again; the wall clock then shows `shows_ms`, or goes on as it was."""
        self.pass_time(off_ms)
        self.boot += 1
        self.booted_ms = self.now_ms
        self.is_synchronised = False
        if shows_ms is not None:
            self.wall_error_ms = shows_ms - self.now_ms
        self.pass_time(5_000)


@dataclass
class Recording:
    """The storing half of an agent, in one run."""

    world: World
    clock: AgentClock
    buffer: Buffer
    recorder: Recorder
    timekeeper: Timekeeper
    stamped: list[tuple[bytes, Range]]

    async def poll(self, *, after_ms: int = 60_000) -> None:
        """Let time pass, take a scan, and see it on disk."""
        world = self.world
        world.pass_time(after_ms)
        number = len(world.taken) + 1
        world.taken[number], world.boots[number] = world.now_ms, world.boot
        scan = Scan(0, self.clock.now_ms(), (float(number), 231.2, 50.0))
        self.recorder.record(scan, monotonic_ms=world.monotonic_ms())
        assert await self.recorder.flush()

    def look_at_clock(self) -> None:
        """Do what the timekeeper does every two seconds."""
        self.clock.check()

    def hear_hub(self, *, hub_error_ms: int = 0, round_trip_ms: int = 200) -> None:
        """Let the hub answer a hello."""
        world = self.world
        asked_ms = world.monotonic_ms()
        world.pass_time(round_trip_ms)
        self.clock.hear_hub(
            world.now_ms - round_trip_ms // 2 + hub_error_ms, asked_ms=asked_ms, answered_ms=world.monotonic_ms()
        )

    async def settle(self) -> None:
        """Wait until nothing is held any more."""
        await until(lambda: not self.buffer.held_for_clock)


@asynccontextmanager
async def running(
    directory: Path,
    world: World,
    *,
    manifest: Manifest = MANIFEST,
    max_bytes: int = 64 * 2**20,
    on_stored: Callable[[Range], None] = lambda _: None,
    on_stamped: Callable[[bytes, Range], None] = lambda *_: None,
) -> AsyncIterator[Recording]:
    """Run the storing half of an agent over a data directory."""
    async with opened(directory, manifest=manifest, max_bytes=max_bytes, boot_id=world.boot_id) as buffer:
        clock = world.clock()
        stamped: list[tuple[bytes, Range]] = []

        def note(stream_id: bytes, numbers: Range) -> None:
            stamped.append((stream_id, numbers))
            on_stamped(stream_id, numbers)

        timekeeper = Timekeeper(clock=clock, buffer=buffer, on_stamped=note, on_change=lambda: None, check_every_s=0.05)
        recorder = Recorder(buffer=buffer, clock=clock, on_stored=on_stored, on_held=timekeeper.scans_held)
        task = asyncio.create_task(timekeeper.run())
        try:
            yield Recording(world, clock, buffer, recorder, timekeeper, stamped)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
