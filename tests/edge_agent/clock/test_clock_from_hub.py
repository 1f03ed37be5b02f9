"""Over a real broker: the answer to the first hello sets the clock, and what was held is delivered at once."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from clock_world import HOUR_MS, Recording, World, running
from edge_factories import START_MS
from hub_client import until
from small_hub import SmallHub

from demo.mosquitto import Login, PrivateMosquitto
from edge_agent.buffer.buffer import Buffer
from edge_agent.clock.clock import AgentClock
from edge_agent.domain.delivery import Policy
from edge_agent.domain.send_schedule import SendPlan
from edge_agent.uplink.connection import BrokerLogin
from edge_agent.uplink.forwarder import Forwarder
from edge_agent.uplink.uplink import Uplink
from protocol.messages import decode_hello
from protocol.quality import Quality
from protocol.ranges import Range
from protocol.scans import Scan
from protocol.site_config import SendSchedule
from protocol.topics import Up


@asynccontextmanager
async def delivering(buffer: Buffer, clock: AgentClock, login: Login) -> AsyncIterator[Forwarder]:
    uplink = Uplink(
        controller_id=login.username,
        login=BrokerLogin(login.host, login.port, login.username, login.password),
        retry_first_s=0.05,
        retry_cap_s=0.2,
    )
    forwarder = Forwarder(
        buffer=buffer,
        uplink=uplink,
        policy=Policy(scans_per_batch=10),
        agent_version="test",
        boot_id=b"boot",
        send_plan=SendPlan(SendSchedule.AT_ONCE),
        clock=clock,
        hello_retry_s=0.2,
    )
    tasks = [asyncio.create_task(uplink.run()), asyncio.create_task(forwarder.run())]
    try:
        yield forwarder
        await forwarder.stop()
        await uplink.stop()
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def agent_of(directory: Path, world: World, login: Login) -> AsyncIterator[tuple[Recording, Forwarder]]:
    """Run all of an agent but its meters."""
    told: list[Forwarder] = []

    def on_stored(numbers: Range) -> None:
        told[0].stored(numbers)

    def on_stamped(stream_id: bytes, numbers: Range) -> None:
        told[0].stamped(stream_id, numbers)

    async with running(directory, world, on_stored=on_stored, on_stamped=on_stamped) as recording:
        await recording.poll()
        await recording.poll()
        assert recording.buffer.held_for_clock >= 2
        async with delivering(recording.buffer, recording.clock, login) as forwarder:
            told.append(forwarder)
            yield recording, forwarder


@pytest.fixture
def login(broker: PrivateMosquitto) -> Login:
    return broker.add_controller(f"clock-{uuid.uuid4().hex[:12]}")


def committed(hub: SmallHub) -> dict[int, Scan]:
    found = {int(scan.values[0] or 0): scan for scan in hub.contents.values() if isinstance(scan, Scan)}
    assert len(found) == len(hub.contents), "doubled, or a gap"
    return found


def test_held_scans_are_delivered_with_their_true_times_once_the_hub_has_answered(
    tmp_path: Path, broker: PrivateMosquitto, login: Login
) -> None:
    async def run() -> None:
        world = World(wall_error_ms=-START_MS)
        with SmallHub(broker.hub, login.username, now_ms=lambda: world.now_ms) as hub:
            async with agent_of(tmp_path, world, login) as (recording, _):
                await until(lambda: len(hub.contents) == 2)
                await recording.poll()
                await until(lambda: len(hub.contents) == 3)
            found = committed(hub)
            assert {number: scan.observed_at_ms for number, scan in found.items()} == world.taken
            hellos = [decode_hello(payload) for payload in hub.payloads(Up.HELLO)]
            assert (hellos[0].clock, hellos[0].now_ms) == ("untrusted", world.taken[2] - START_MS)
            assert hub.repeated == 0

    asyncio.run(run())


def test_hub_that_does_not_tell_the_time_gets_nothing_that_has_none(
    tmp_path: Path, broker: PrivateMosquitto, login: Login
) -> None:
    async def run() -> None:
        world = World(wall_error_ms=-START_MS)
        with SmallHub(broker.hub, login.username, now_ms=lambda: 0) as hub:
            async with agent_of(tmp_path, world, login) as (recording, forwarder):
                await until(lambda: forwarder.hub_is_there)
                assert recording.buffer.held_for_clock == 2
                world.synchronise()
                await until(lambda: len(hub.contents) == 2)
            assert {number: scan.observed_at_ms for number, scan in committed(hub).items()} == world.taken

    asyncio.run(run())


def test_scans_of_an_earlier_boot_are_delivered_as_uncertain(
    tmp_path: Path, broker: PrivateMosquitto, login: Login
) -> None:
    async def run() -> None:
        world = World(wall_error_ms=-START_MS)
        async with running(tmp_path, world) as recording:
            await recording.poll()
        world.reboot(off_ms=HOUR_MS, shows_ms=0)
        with SmallHub(broker.hub, login.username, now_ms=lambda: world.now_ms) as hub:
            async with agent_of(tmp_path, world, login):
                await until(lambda: len(hub.contents) == 3)
            found = committed(hub)
            assert found[1].quality == (Quality.CLOCK_UNCERTAIN,) * 3
            assert [found[number].quality for number in (2, 3)] == [None, None]
            assert START_MS - HOUR_MS < found[1].observed_at_ms <= world.booted_ms

    asyncio.run(run())
