"""Through the real clock, recorder, timekeeper and buffer: no reading dated 1970, none lost, none doubled."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from clock_world import DAY_MS, HOUR_MS, YEAR_MS, Recording, World, running
from edge_factories import START_MS, read_all
from factories import make_manifest
from hub_client import until
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.buffer.buffer import Buffer
from edge_agent.clock.clock import Source
from protocol.limits import OBSERVED_AT_MS_MIN
from protocol.quality import Quality
from protocol.scans import Scan

BOUND_MS = 200
"""The hub's answers take 200 ms here, and kernels that are synchronised are right."""


async def stored(buffer: Buffer) -> dict[int, Scan]:
    """Read every scan of every stream, by the number that it was taken under; none may be there twice."""
    found: dict[int, Scan] = {}
    for stream in await buffer.streams():
        for entry in await read_all(buffer, stream.stream_id):
            assert isinstance(entry.content, Scan)
            number = int(entry.content.values[0] or 0)
            assert number not in found, "doubled"
            found[number] = entry.content
    return found


async def judge(recording: Recording) -> dict[int, Scan]:
    """Check that each scan that was taken is stored once, at its time or as uncertain."""
    world, found = recording.world, await stored(recording.buffer)
    assert recording.buffer.held_for_clock == 0
    assert sorted(found) == sorted(world.taken)
    for number, scan in found.items():
        if is_uncertain(scan):
            assert OBSERVED_AT_MS_MIN < scan.observed_at_ms <= world.now_ms
        else:
            assert abs(scan.observed_at_ms - world.taken[number]) <= BOUND_MS
    return found


def is_uncertain(scan: Scan) -> bool:
    return scan.quality == (Quality.CLOCK_UNCERTAIN,) * 3


WRONG_CLOCKS = pytest.mark.parametrize(
    "wall_error_ms", [-START_MS, 10 * YEAR_MS, -HOUR_MS], ids=["1970", "+10 years", "-1 h"]
)


@WRONG_CLOCKS
def test_scans_taken_before_the_hub_was_heard_get_their_true_time(tmp_path: Path, wall_error_ms: int) -> None:
    async def run() -> None:
        world = World(wall_error_ms=wall_error_ms)
        async with running(tmp_path, world) as agent:
            for _ in range(5):
                await agent.poll()
            assert agent.buffer.held_for_clock == 5
            assert agent.timekeeper.report()["held"] == 5
            assert agent.buffer.withheld[agent.buffer.stream_id].size == 5
            agent.hear_hub()
            await agent.settle()
            await agent.poll()
            assert not any(is_uncertain(scan) for scan in (await judge(agent)).values())
            assert len(await agent.buffer.streams()) == 1

    asyncio.run(run())


@WRONG_CLOCKS
def test_scans_of_three_days_without_time_are_stamped_when_the_kernel_is_synchronised(
    tmp_path: Path, wall_error_ms: int
) -> None:
    async def run() -> None:
        world = World(wall_error_ms=wall_error_ms)
        async with running(tmp_path, world) as agent:
            for _ in range(288):
                await agent.poll(after_ms=15 * 60_000)
            assert world.now_ms >= START_MS + 3 * DAY_MS
            world.synchronise()
            await agent.settle()
            assert not any(is_uncertain(scan) for scan in (await judge(agent)).values())

    asyncio.run(run())


@pytest.mark.parametrize("by_ms", [-HOUR_MS, HOUR_MS], ids=["-1 h", "+1 h"])
@pytest.mark.parametrize("by_hub", [True, False], ids=["told by the hub", "synchronised before"])
def test_step_while_running_moves_nothing(tmp_path: Path, by_ms: int, *, by_hub: bool) -> None:
    async def run() -> None:
        world = World(is_synchronised=not by_hub)
        async with running(tmp_path, world) as agent:
            if by_hub:
                agent.hear_hub()
            await agent.poll()
            before = await stored(agent.buffer)
            world.is_synchronised, world.wall_error_ms = False, by_ms
            agent.look_at_clock()
            for _ in range(3):
                await agent.poll()
            found = await judge(agent)
            assert found[1] == before[1]
            assert agent.timekeeper.report()["steps"] == 1

    asyncio.run(run())


def test_trust_that_comes_goes_and_comes_again_leaves_no_hole(tmp_path: Path) -> None:
    async def run() -> None:
        world = World(wall_error_ms=-START_MS)
        async with running(tmp_path, world) as agent:
            await agent.poll()
            world.synchronise()
            await agent.settle()
            await agent.poll()
            world.is_synchronised, world.wall_error_ms = False, 10 * YEAR_MS
            agent.look_at_clock()
            await agent.poll(after_ms=DAY_MS)
            world.synchronise()
            agent.look_at_clock()
            await agent.poll()
            await judge(agent)

    asyncio.run(run())


def test_wrong_kernel_is_overruled_by_the_hub(tmp_path: Path) -> None:
    async def run() -> None:
        world = World(is_synchronised=True, wall_error_ms=HOUR_MS)
        async with running(tmp_path, world) as agent:
            agent.hear_hub()
            for _ in range(3):
                await agent.poll()
            await judge(agent)
            assert agent.timekeeper.report()["state"] == "fault"

    asyncio.run(run())


def test_restart_in_the_same_boot_knows_the_time_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        world = World(wall_error_ms=-START_MS)
        async with running(tmp_path, world) as agent:
            agent.hear_hub()
            await agent.poll()
            await until(lambda: agent.timekeeper._kept)
        world.pass_time(HOUR_MS)
        async with running(tmp_path, world) as agent:
            assert agent.clock.source is Source.ANCHOR
            await agent.poll()
            await judge(agent)
        world.reboot(shows_ms=0)
        async with running(tmp_path, world) as agent:
            assert not agent.clock.is_trusted

    asyncio.run(run())


def test_scans_held_over_a_restart_get_their_true_time_in_the_stream_of_their_run(tmp_path: Path) -> None:
    async def run() -> None:
        world = World(wall_error_ms=-START_MS)
        async with running(tmp_path, world, manifest=make_manifest((3,))) as agent:
            for _ in range(3):
                await agent.poll()
            first = agent.buffer.stream_id
        async with running(tmp_path, world) as agent:
            await agent.poll()
            assert agent.buffer.held_for_clock == 4
            agent.hear_hub()
            await agent.settle()
            found = await judge(agent)
            assert not any(is_uncertain(scan) for scan in found.values())
            streams = {stream.stream_id: stream for stream in await agent.buffer.streams()}
            assert (streams[first].next, streams[agent.buffer.stream_id].next) == (4, 2)
            assert [name for name, _ in agent.stamped] == [first, agent.buffer.stream_id]

    asyncio.run(run())


@pytest.mark.parametrize("shows_ms", [0, START_MS + 10 * YEAR_MS], ids=["1970", "+10 years"])
def test_scans_of_a_boot_that_never_knew_the_time_are_uncertain_and_after_what_was_known(
    tmp_path: Path, shows_ms: int
) -> None:
    async def run() -> None:
        world = World(is_synchronised=True)
        async with running(tmp_path, world) as agent:
            await agent.poll()
        world.reboot(off_ms=DAY_MS, shows_ms=shows_ms)
        async with running(tmp_path, world) as agent:
            for _ in range(3):
                await agent.poll()
        world.reboot(shows_ms=0)
        async with running(tmp_path, world) as agent:
            await agent.poll()
            agent.hear_hub()
            await agent.settle()
            found = await judge(agent)
        assert [is_uncertain(found[number]) for number in range(1, 6)] == [False, True, True, True, False]
        times = [found[number].observed_at_ms for number in range(1, 6)]
        assert times == sorted(times)
        assert times[2] - times[1] == times[3] - times[2] == 60_000
        assert times[3] <= world.booted_ms

    asyncio.run(run())


def test_wall_clock_of_an_earlier_boot_is_the_best_guess_where_it_is_possible(tmp_path: Path) -> None:
    """A controller with a battery clock and no time service: its clock is a few seconds off, and never vouched for."""

    async def run() -> None:
        world = World(wall_error_ms=7_000)
        for _ in range(3):
            async with running(tmp_path, world) as agent:
                for _ in range(3):
                    await agent.poll()
            world.reboot(off_ms=HOUR_MS)
        async with running(tmp_path, world) as agent:
            agent.hear_hub()
            await agent.settle()
            found = await judge(agent)
        assert all(is_uncertain(scan) for scan in found.values())
        assert all(abs(scan.observed_at_ms - world.taken[n] - 7_000) <= 1 for n, scan in found.items())

    asyncio.run(run())


def test_several_boots_without_time_stay_in_their_order(tmp_path: Path) -> None:
    async def run() -> None:
        world = World(wall_error_ms=-START_MS)
        for _ in range(4):
            async with running(tmp_path, world) as agent:
                for _ in range(2):
                    await agent.poll()
            world.reboot(shows_ms=0)
        async with running(tmp_path, world) as agent:
            agent.hear_hub()
            await agent.settle()
            found = await judge(agent)
        times = [found[number].observed_at_ms for number in sorted(found)]
        assert times == sorted(times)

    asyncio.run(run())


def test_values_that_were_wrong_in_another_way_keep_their_quality(tmp_path: Path) -> None:
    async def run() -> None:
        world = World(wall_error_ms=-START_MS)
        quality = (Quality.GOOD, Quality.TIMEOUT, Quality.COUNTER_REGRESSED)
        async with running(tmp_path, world) as agent:
            agent.recorder.record(Scan(0, 1, (1.0, None, 50.0), quality), monotonic_ms=world.monotonic_ms())
            assert await agent.recorder.flush()
        world.reboot(shows_ms=0)
        async with running(tmp_path, world) as agent:
            agent.hear_hub()
            await agent.settle()
            found = await stored(agent.buffer)
        assert found[1].quality == (Quality.CLOCK_UNCERTAIN, Quality.TIMEOUT, Quality.COUNTER_REGRESSED)

    asyncio.run(run())


DEEDS = st.lists(
    st.sampled_from(
        ["poll", "poll", "poll", "step back", "step on", "hub", "sync", "unsync", "restart", "reboot", "1970"]
    ),
    max_size=30,
)


@settings(max_examples=40, deadline=None)
@given(deeds=DEEDS, shows_1970=st.booleans())
def test_whatever_happens_to_the_clock_each_scan_is_stored_once_at_its_time_or_as_uncertain(
    deeds: list[str], *, shows_1970: bool
) -> None:
    async def run(directory: Path) -> None:
        world = World(wall_error_ms=-START_MS if shows_1970 else 0)
        left = iter(deeds)
        while True:
            async with running(directory, world) as agent:
                ends = await _live(agent, left)
            if ends is None:
                break
            _begin_again(world, ends)
        async with running(directory, world) as agent:
            agent.hear_hub()
            await agent.settle()
            found = await judge(agent)
        known = _trusted_at(world, found)
        assert all(scan.observed_at_ms >= known[n] - BOUND_MS for n, scan in found.items() if is_uncertain(scan))

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(run(Path(directory)))


async def _live(agent: Recording, deeds: Iterator[str]) -> str | None:
    """Do deeds until one ends the run; None when none are left."""
    world = agent.world
    for deed in deeds:
        if deed in {"restart", "reboot", "1970"}:
            return deed
        if deed == "poll":
            await agent.poll()
        elif deed == "hub":
            agent.hear_hub()
        elif deed == "sync":
            world.synchronise()
        else:
            world.is_synchronised = False
            world.wall_error_ms += {"step back": -HOUR_MS, "step on": HOUR_MS, "unsync": 0}[deed]
        agent.look_at_clock()
    return None


def _begin_again(world: World, ends: str) -> None:
    if ends != "restart":
        world.reboot(shows_ms=0 if ends == "1970" else None)


def _trusted_at(world: World, found: dict[int, Scan]) -> dict[int, int]:
    """Return for each scan the newest certain time of an earlier boot."""
    known: dict[int, int] = {}
    for number in found:
        certain = [
            world.taken[n]
            for n, scan in found.items()
            if world.boots[n] < world.boots[number] and not is_uncertain(scan)
        ]
        known[number] = max(certain, default=0)
    return known
