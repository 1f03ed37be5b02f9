"""A real gateway whose meters do as told, and a poller or supervisor at work on it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from scripted_modbus import Asked, registers, scripted_server
from site_factories import make_site_plan
from structlog.testing import capture_logs

from edge_agent.clock.clock import SystemClock
from edge_agent.polling.meter_reader import bus_of
from edge_agent.polling.poller import BusPoller
from edge_agent.polling.status import MeterStatus
from protocol.profile import Profile
from protocol.scans import Scan
from protocol.site.plan import SitePlan

DEADLINE_S = 30
TIMEOUT_S = 0.15
VOLTAGE, ENERGY = 2312, 123_456


@dataclass(slots=True)
class Meters:
    """What the meters behind one gateway do, by unit id."""

    words: dict[int, int] = field(default_factory=lambda: {0: VOLTAGE, 10: ENERGY >> 16, 11: ENERGY & 0xFFFF})
    dead: set[int] = field(default_factory=set)
    refused: dict[int, int] = field(default_factory=dict)
    """Exception code by address: for every request that touches it."""
    garbled: set[int] = field(default_factory=set)
    """Beginnings of requests that are answered with another function."""
    asked: list[Asked] = field(default_factory=list)

    async def answer(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        """Answer as the meter asked would."""
        self.asked.append(asked)
        if asked.unit_id in self.dead:
            return
        addresses = range(asked.address, asked.address + asked.count)
        code = next((self.refused[address] for address in addresses if address in self.refused), None)
        if code is not None:
            writer.write(asked.frame(bytes([code]), function_code=asked.function_code | 0x80))
            return
        function_code = asked.function_code + (asked.address in self.garbled)
        body = registers(*(self.words.get(address, 0) for address in addresses))
        writer.write(asked.frame(body, function_code=function_code))

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Address and count of each request so far."""
        return [(asked.address, asked.count) for asked in self.asked]


@dataclass(slots=True)
class Recorded:
    """A recorder that keeps scans in a list."""

    scans: list[Scan] = field(default_factory=list)
    open_cycles: int = 0

    def record(self, scan: Scan, *, monotonic_ms: int) -> None:
        """Take a scan."""
        assert monotonic_ms > 0
        self.scans.append(scan)

    def poll_begun(self) -> None:
        """Note the begin of a cycle."""
        self.open_cycles += 1

    def poll_ended(self) -> None:
        """Note the end of a cycle."""
        self.open_cycles -= 1

    def of(self, layout: int) -> list[Scan]:
        """Return the scans of one layout."""
        return [scan for scan in self.scans if scan.layout == layout]


@dataclass(slots=True)
class SettableClock:
    """The controller's clock, and somebody who sets it. Monotonic time runs on, by more when told so."""

    skew_ms: int = 0
    slept_ms: int = 0

    def now_ms(self) -> int:
        """Return the wall clock as it is set."""
        return time.time_ns() // 1_000_000 + self.skew_ms + self.slept_ms

    def monotonic_ms(self) -> int:
        """Return milliseconds since boot."""
        return SystemClock().monotonic_ms() + self.slept_ms


@dataclass(slots=True)
class Polling:
    """A poller at work."""

    meters: Meters
    recorded: Recorded
    clock: SettableClock
    poller: BusPoller
    logs: list[Any]
    changes: list[None]
    begun_at_ms: int

    @property
    def statuses(self) -> dict[str, MeterStatus]:
        """Return how the meters do."""
        return self.poller.statuses

    @property
    def events(self) -> list[str]:
        """Return what was logged."""
        return [entry["event"] for entry in self.logs]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition, with a deadline."""
        await until(condition)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, with a deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - a deadline poll: the parts under test offer no event
            await asyncio.sleep(0.01)


@asynccontextmanager
async def polling_at(plan: SitePlan, behind: Meters, clock: SettableClock | None = None) -> AsyncIterator[Polling]:
    """Run a poller of the plan's only bus, and end it in good order."""
    clock = clock or SettableClock()
    recorded, changes = Recorded(), list[None]()
    with capture_logs() as logs:
        poller = BusPoller(
            plan=plan.buses[0],
            bus=bus_of(plan.buses[0]),
            sink=recorded,
            clock=clock,
            on_change=lambda: changes.append(None),
        )
        polling = Polling(behind, recorded, clock, poller, logs, changes, clock.now_ms())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(poller.run())
            try:
                yield polling
            finally:
                poller.stop()


def poll(
    use: Callable[[Polling], Awaitable[None]],
    *,
    meters: Sequence[dict[str, Any]] = (),
    profiles: Sequence[Profile] = (),
    behaviour: Meters | None = None,
    clock: SettableClock | None = None,
    **bus: Any,
) -> Polling:
    """Run a poller against a real gateway while `use` watches it, and end it in good order."""
    behind = behaviour or Meters()

    async def inner() -> Polling:
        async with scripted_server(behind.answer) as server:
            plan = make_site_plan(meters, profiles, port=server.port, **{"timeout_s": TIMEOUT_S, **bus})
            async with polling_at(plan, behind, clock) as polling:
                await use(polling)
            return polling

    return asyncio.run(inner())


def scans(count: int, layout: int = 0) -> Callable[[Polling], Awaitable[None]]:
    """Wait until so many scans of a layout are recorded."""
    return lambda polling: polling.until(lambda: len(polling.recorded.of(layout)) >= count)
