"""A bus is polled on the grid; a silent meter costs its own readings and nobody else's."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from scripted_modbus import Asked, registers, scripted_server
from site_factories import make_energy_point, make_meter_config, make_point, make_profile, make_site_plan
from structlog.testing import capture_logs

from demo.processes import free_port
from edge_agent.modbus import ModbusBus
from edge_agent.poller import BusPoller, MeterState, MeterStatus
from protocol.profile import Profile
from protocol.quality import Quality, exception_quality
from protocol.scans import Scan

DEADLINE_S = 30
TIMEOUT_S = 0.15
VOLTAGE, ENERGY = 2312, 123_456
TWO_REQUESTS = make_profile([make_point(), make_energy_point(address=1_000)])


@dataclass(slots=True)
class Meters:
    """What the meters behind one gateway do, by unit id."""

    words: dict[int, int] = field(default_factory=lambda: {0: VOLTAGE, 10: ENERGY >> 16, 11: ENERGY & 0xFFFF})
    dead: set[int] = field(default_factory=set)
    refused: dict[int, int] = field(default_factory=dict)
    """Exception code by address."""
    asked: list[Asked] = field(default_factory=list)

    async def answer(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        """Answer as the meter asked would."""
        self.asked.append(asked)
        if asked.unit_id in self.dead:
            return
        code = self.refused.get(asked.address)
        if code is not None:
            writer.write(asked.frame(bytes([code]), function_code=asked.function_code | 0x80))
            return
        addresses = range(asked.address, asked.address + asked.count)
        writer.write(asked.frame(registers(*(self.words.get(address, 0) for address in addresses))))


@dataclass(slots=True)
class Recorded:
    """A recorder that keeps scans in a list."""

    scans: list[Scan] = field(default_factory=list)
    open_cycles: int = 0

    def record(self, scan: Scan) -> None:
        """Take a scan, which comes within a cycle only."""
        assert self.open_cycles == 1
        self.scans.append(scan)

    def poll_begun(self) -> None:
        """Note the begin of a cycle."""
        self.open_cycles += 1

    def poll_ended(self) -> None:
        """Note the end of a cycle."""
        self.open_cycles -= 1

    def of(self, layout: int) -> list[Scan]:
        """Return the scans of one meter."""
        return [scan for scan in self.scans if scan.layout == layout]


@dataclass(slots=True)
class Polling:
    """A poller at work."""

    meters: Meters
    recorded: Recorded
    statuses: dict[str, MeterStatus]
    logs: list[Any]
    changes: list[None]
    skew_ms: int = 0
    """What is added to the clock."""
    poller: BusPoller = field(init=False)
    first_slot: int = field(init=False)

    def now_ms(self) -> int:
        """Return the wall clock as the poller sees it."""
        return time.time_ns() // 1_000_000 + self.skew_ms

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition, with a deadline."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # noqa: ASYNC110 - a deadline poll: the parts under test offer no event
                await asyncio.sleep(0.01)


def poll(
    use: Callable[[Polling], Awaitable[None]],
    *,
    meters: Sequence[dict[str, Any]] = (),
    profiles: Sequence[Profile] = (),
    behaviour: Meters | None = None,
) -> Polling:
    """Run a poller against a real gateway while `use` watches it, and end it in good order."""
    behind = behaviour or Meters()

    async def inner() -> Polling:
        async with scripted_server(behind.answer) as server:
            plan = make_site_plan(meters, profiles, port=server.port, timeout_s=TIMEOUT_S).buses[0]
            bus = ModbusBus(host="127.0.0.1", port=server.port, timeout_s=TIMEOUT_S)
            with capture_logs() as logs:
                polling = Polling(behind, Recorded(), {}, logs, [])
                poller = BusPoller(
                    plan=plan,
                    bus=bus,
                    recorder=polling.recorded,
                    now_ms=polling.now_ms,
                    on_change=lambda: polling.changes.append(None),
                )
                polling.statuses = poller.statuses
                polling.poller, polling.first_slot = poller, poller._meters[0].due.slot
                stopping = asyncio.Event()
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(poller.run(stopping))
                    try:
                        await use(polling)
                    finally:
                        stopping.set()
            return polling

    return asyncio.run(inner())


def scans(count: int, layout: int = 0) -> Callable[[Polling], Awaitable[None]]:
    return lambda polling: polling.until(lambda: len(polling.recorded.of(layout)) >= count)


def test_scan_holds_the_decoded_values_in_the_layout_s_order() -> None:
    polling = poll(scans(3))
    scan = polling.recorded.scans[-1]
    assert (scan.layout, scan.values, scan.quality) == (0, (231.2, float(ENERGY)), None)
    assert polling.recorded.open_cycles == 0
    assert polling.statuses["meter-1"].state is MeterState.GOOD
    assert polling.statuses["meter-1"].polls_ok == len(polling.recorded.scans)


def test_every_slot_is_polled_once_or_counted() -> None:
    polling = poll(scans(8))
    status = polling.statuses["meter-1"]
    slots_passed = polling.poller._meters[0].polled_slot - polling.first_slot + 1
    assert len(polling.recorded.scans) + status.polls_skipped == slots_passed


def test_meters_of_a_bus_are_asked_in_the_order_of_the_configuration() -> None:
    meters = [make_meter_config(f"meter-{unit}", unit_id=unit) for unit in (3, 1, 2)]
    polling = poll(scans(2, layout=2), meters=meters)
    assert [asked.unit_id for asked in polling.meters.asked[:3]] == [3, 1, 2]
    assert [scan.layout for scan in polling.recorded.scans[:3]] == [0, 1, 2]


def test_fast_meter_does_not_starve_a_slow_one() -> None:
    meters = [make_meter_config("fast", period_s=0.05), make_meter_config("slow", unit_id=2, period_s=0.3)]
    poll(scans(3, layout=1), meters=meters)


def test_exception_costs_its_block_only() -> None:
    polling = poll(scans(2), profiles=[TWO_REQUESTS], behaviour=Meters(refused={1_000: 2}))
    scan = polling.recorded.scans[0]
    assert scan.values == (231.2, None)
    assert scan.quality == (Quality.GOOD, exception_quality(2))
    status = polling.statuses["meter-1"]
    assert (status.state, status.polls_failed) == (MeterState.REFUSING, 0)
    assert "illegal data address" in str(status.last_error)
    assert [entry["event"] for entry in polling.logs] == ["meter_refuses"]


def test_first_exception_does_not_keep_the_second_block_from_being_asked() -> None:
    polling = poll(scans(1), profiles=[TWO_REQUESTS], behaviour=Meters(refused={0: 2}))
    assert polling.recorded.scans[0].quality == (exception_quality(2), Quality.GOOD)


def test_silent_meter_gives_one_scan_of_timeouts_and_is_then_left_alone() -> None:
    meters = [make_meter_config("dead"), make_meter_config("alive", unit_id=2)]
    polling = poll(scans(10, layout=1), meters=meters, profiles=[TWO_REQUESTS], behaviour=Meters(dead={1}))
    first = polling.recorded.of(0)[0]
    assert (first.values, first.quality) == ((None, None), (Quality.TIMEOUT, Quality.TIMEOUT))
    assert all(scan.quality is None for scan in polling.recorded.of(1))
    dead = polling.statuses["dead"]
    assert dead.state is MeterState.UNREACHABLE
    assert dead.polls_failed == len(polling.recorded.of(0)) == sum(asked.unit_id == 1 for asked in polling.meters.asked)
    assert dead.polls_failed < 5, "its second request is not sent, and it backs off"
    assert polling.statuses["alive"].polls_failed == 0
    assert [entry["event"] for entry in polling.logs] == ["meter_unreachable"]


@pytest.mark.parametrize("code", [10, 11])
def test_gateway_that_speaks_for_a_silent_meter_ends_the_visit(code: int) -> None:
    polling = poll(scans(1), profiles=[TWO_REQUESTS], behaviour=Meters(refused={0: code}))
    assert polling.recorded.scans[0].quality == (exception_quality(code), exception_quality(code))
    assert polling.statuses["meter-1"].state is MeterState.UNREACHABLE
    assert len(polling.meters.asked) == 1


def test_return_of_a_meter_is_logged_once_and_its_skipped_slots_are_counted() -> None:
    async def use(polling: Polling) -> None:
        await polling.until(lambda: polling.statuses["meter-1"].state is MeterState.UNREACHABLE)
        polling.meters.dead.clear()
        await polling.until(lambda: polling.statuses["meter-1"].polls_ok >= 2)

    polling = poll(use, behaviour=Meters(dead={1}))
    assert [entry["event"] for entry in polling.logs] == ["meter_unreachable", "meter_recovered"]
    assert len(polling.changes) == 2
    assert polling.statuses["meter-1"].last_error is None
    assert polling.statuses["meter-1"].polls_skipped >= 15


def test_meters_of_a_bus_that_comes_back_do_not_wait_for_one_another() -> None:
    """The second meter, in back-off because nobody listened, is polled as soon as the first one answers."""

    async def inner() -> None:
        port = free_port()
        meters = [make_meter_config("a"), make_meter_config("b", unit_id=2, period_s=0.2)]
        plan = make_site_plan(meters, port=port, timeout_s=TIMEOUT_S).buses[0]
        polling = Polling(Meters(), Recorded(), {}, [], [])
        poller = BusPoller(
            plan=plan,
            bus=ModbusBus(host="127.0.0.1", port=port, timeout_s=TIMEOUT_S),
            recorder=polling.recorded,
            now_ms=polling.now_ms,
            on_change=lambda: None,
        )
        stopping = asyncio.Event()
        task = asyncio.create_task(poller.run(stopping))
        await polling.until(lambda: all(s.state is MeterState.UNREACHABLE for s in poller.statuses.values()))
        assert "no connection to" in str(poller.statuses["a"].last_error)
        # A back-off that ends long after the other's, as after an outage of minutes.
        poller._meters[1].due = poller._meters[1].due._replace(at_ms=polling.now_ms() + 300_000)
        poller._meters[1].wait_ms = 300_000
        async with scripted_server(polling.meters.answer, port=port):
            await polling.until(lambda: poller.statuses["b"].state is MeterState.GOOD)
            stopping.set()
            await task

    with capture_logs():
        asyncio.run(inner())


def test_clock_set_back_does_not_silence_the_bus() -> None:
    async def use(polling: Polling) -> None:
        await scans(2)(polling)
        polling.skew_ms = -3_600_000
        seen = len(polling.recorded.scans)
        await polling.until(lambda: len(polling.recorded.scans) >= seen + 3)

    poll(use)


def test_counter_that_runs_backwards_is_marked_once_and_keeps_its_value() -> None:
    async def use(polling: Polling) -> None:
        await scans(2)(polling)
        polling.meters.words[10] = polling.meters.words[11] = 0
        seen = len(polling.recorded.scans)
        await polling.until(lambda: len(polling.recorded.scans) >= seen + 3)

    polling = poll(use)
    marked = [scan for scan in polling.recorded.scans if scan.quality is not None]
    assert [(scan.values, scan.quality) for scan in marked] == [
        ((231.2, 0.0), (Quality.GOOD, Quality.COUNTER_REGRESSED))
    ]


def test_marker_of_the_meter_for_no_value_becomes_a_quality_code() -> None:
    profile = make_profile([make_point(not_available=[0xFFFF])])
    polling = poll(scans(1), profiles=[profile], behaviour=Meters(words={0: 0xFFFF}))
    assert polling.recorded.scans[0].values == (None,)
    assert polling.recorded.scans[0].quality == (Quality.NOT_AVAILABLE,)


def test_exponent_of_the_same_visit_is_applied() -> None:
    profile = make_profile(
        [
            make_point(exponent_point="power"),
            make_point("power", address=1, type="int16", quantity="exponent", scale="1"),
        ]
    )
    polling = poll(
        scans(1),
        meters=[make_meter_config(points=["voltage"])],
        profiles=[profile],
        behaviour=Meters(words={0: 23, 1: 2}),
    )
    assert polling.recorded.scans[0].values == (230.0,)
