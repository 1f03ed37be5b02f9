"""Every point of the buffer's own sequence of deeds at which the power may go, tried with the real module.

METERHAUL_CRASH_POINTS=all tries many more states of each point; METERHAUL_CRASH_SEED picks others.
"""

import asyncio
import os
import random
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from crash_points.account import Account, account_of, is_between
from crash_points.disk_deeds import Deed, Kind
from crash_points.lives import forget_pages, leave_to_the_file, left_by_a_power_cut, scribbled
from crash_points.power_cut import Contents, lay_out
from crash_points.recording import Promise, Recording
from crash_points.watched_disk import watched
from edge_factories import START_MS, make_scan, make_scans, opened, read_all

from edge_agent.buffer import schema as buffer_schema
from edge_agent.buffer.buffer import Buffer
from edge_agent.buffer.held import HeldScan
from edge_agent.errors import AgentError
from protocol.ranges import Range, RangeSet
from protocol.scans import Entry, Gap, GapReason

SEED = os.environ.get("METERHAUL_CRASH_SEED", "1")
RANDOM_STATES = 40 if os.environ.get("METERHAUL_CRASH_POINTS") == "all" else 1
SCANS_PER_CYCLE = 12
FILE = "buffer.sqlite"


@pytest.fixture(autouse=True)
def _small_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the write-ahead log be copied into the file often, and begin anew."""
    monkeypatch.setattr(buffer_schema, "WAL_PAGES", 24)


def test_a_power_cut_anywhere_in_the_life_of_a_buffer_loses_nothing_it_had_promised(disk: Path) -> None:
    recording = record(disk / "life", _live)
    states, faults = replay(recording, disk)
    assert faults == []
    assert states > 1000


def test_a_power_cut_during_the_start_after_a_power_cut_loses_nothing(disk: Path) -> None:
    left = left_by_a_power_cut(disk / "before", scans=120)
    recording = record(disk / "life", _go_on, initial=left)
    states, faults = replay(recording, disk)
    assert faults == []
    assert states > 60


def test_a_power_cut_while_a_damaged_file_is_salvaged_at_the_start_loses_nothing_more(disk: Path) -> None:
    left = left_by_a_power_cut(disk / "before", scans=120)
    left[FILE] = scribbled(left[FILE])
    recording = record(disk / "life", _go_on, initial=left)
    states, faults = replay(recording, disk, RANDOM_STATES - 1)
    assert faults == []
    assert states > 150


def test_a_power_cut_while_a_running_agent_salvages_its_file_loses_nothing_more(disk: Path) -> None:
    recording = record(disk / "life", _find_damage)
    states, faults = replay(recording, disk, RANDOM_STATES - 1)
    assert faults == []
    assert states > 150


def test_the_replay_finds_what_a_less_durable_buffer_loses(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = buffer_schema.connect

    def connect_carelessly(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    with monkeypatch.context() as patched:
        patched.setattr(buffer_schema, "connect", connect_carelessly)
        recording = record(disk / "life", _go_on)
    states, faults = replay(recording, disk)
    assert states > 100
    assert faults


def record(
    directory: Path, life: Callable[[Path, Recording], Awaitable[None]], initial: Contents | None = None
) -> Recording:
    """Let a buffer live in a directory, from what is on disk at first."""
    recording = Recording(initial or {})
    if initial is not None:
        promised = asyncio.run(_account_of_state(initial, directory.with_name("promised")))
        recording.promises = [Promise(0, promised, is_atomic=True)]
    lay_out(recording.initial, directory)
    with watched(directory, recording):
        asyncio.run(life(directory, recording))  # type: ignore[arg-type]
    return recording


def replay(recording: Recording, disk: Path, random_states: int = RANDOM_STATES) -> tuple[int, list[str]]:
    """Open what a power cut may leave after each deed; return how many states that was, and what was wrong."""
    tried: set[tuple[int, int]] = set()
    faults: list[str] = []

    async def run() -> None:
        for done, cut, before, after in recording.cuts():
            for variant, contents in enumerate(cut.states(f"{SEED} {done}", random_states)):
                identity = (before.deeds, hash(tuple(sorted(contents.items()))))
                if identity not in tried:
                    tried.add(identity)
                    fault = await _find_fault(contents, before, after, disk / "state")
                    if fault:
                        faults.append(f"after deed {done}, state {variant}, seed {SEED}: {fault}")

    asyncio.run(run())
    return len(tried), faults


async def _find_fault(contents: Contents, before: Promise, after: Promise, directory: Path) -> str | None:
    try:
        found = await _account_of_state(contents, directory)
    except (AssertionError, AgentError) as error:
        return repr(error)
    if after.is_atomic:
        return None if found in (before.account, after.account) else "it holds neither what it did before nor after"
    return None if is_between(found, before.account, after.account) else "it holds what it never did"


async def _account_of_state(contents: Contents, directory: Path) -> Account:
    """Open what a power cut left, see that it goes on working, and return what it held."""
    # What the page cache made of the shared memory is anybody's guess.
    lay_out({**contents, f"{FILE}-shm": random.Random(SEED).randbytes(4096)}, directory)
    try:
        async with opened(directory) as buffer:
            found = await account_of(buffer)
            assert await buffer.append([make_scan(1)]) == Range(1, 1)
            held = await buffer.read(buffer.stream_id, Range(1, 1))
            assert held.entries == (Entry(1, make_scan(1)),)
    finally:
        shutil.rmtree(directory)
    return found


async def _live(directory: Path, recording: Recording) -> None:
    """Three runs of an agent: cycles, an untrusted clock, belief, forgetting, thinning, pages used again."""
    stream_ids = []
    for run in range(3):
        async with opened(directory) as buffer:
            stream_ids.append(buffer.stream_id)
            await recording.step(buffer, buffer.stats())
            number = await _append_cycles(buffer, recording, 6)
            gap = Gap(5, GapReason.NOT_STORED, START_MS, START_MS + 9)
            await recording.step(buffer, buffer.append([gap, make_scan(number)]))
            held = [HeldScan(make_scan(n, layout=1), START_MS) for n in range(1, SCANS_PER_CYCLE)]
            await recording.step(buffer, buffer.hold(held))
            await recording.step(buffer, buffer.append([make_scan(number)]))
            await recording.step(buffer, buffer.stamp_next(START_MS))
            belief = {buffer.stream_id: (RangeSet([(1, 40)]), RangeSet([(1, 12)]))}
            await recording.step(buffer, buffer.record_belief(run + 1, belief))
            await recording.step(buffer, buffer.forget(stream_ids[0], RangeSet([(3, 4), (20, 30)])))
            used = (await buffer.stats()).used_bytes
            await recording.step(buffer, buffer.make_room(used - 4096), is_atomic=False)
            await recording.step(buffer, buffer.append(make_scans(number, number + 60, layout=1)))


async def _go_on(directory: Path, recording: Recording) -> None:
    """Begin a run on what is there."""
    async with opened(directory) as buffer:
        await recording.step(buffer, buffer.stats())
        await _append_cycles(buffer, recording, 3)


async def _find_damage(directory: Path, recording: Recording) -> None:
    """Meet damaged pages while newer scans are in the write-ahead log only."""
    async with opened(directory) as buffer:
        await _append_cycles(buffer, recording, 12)
        await leave_to_the_file(buffer)
        await _append_cycles(buffer, recording, 1)
        await forget_pages(buffer)
        _scribble_now(directory / FILE, recording)
        await recording.step(buffer, read_all(buffer, buffer.stream_id), is_atomic=False)
        await _append_cycles(buffer, recording, 2)


async def _append_cycles(buffer: Buffer, recording: Recording, cycles: int) -> int:
    """Store cycle after cycle; return the number of the next scan."""
    number = 1
    for _ in range(cycles):
        scans = make_scans(number, number + SCANS_PER_CYCLE - 1, layout=1)
        await recording.step(buffer, buffer.append(scans))
        number += SCANS_PER_CYCLE
    return number


def _scribble_now(path: Path, recording: Recording) -> None:
    """Damage a file that is open, as a worn card does: it is so on disk at once."""
    content = scribbled(path.read_bytes())
    path.write_bytes(content)
    recording.done(Deed(Kind.WRITE, path, data=content))
    recording.done(Deed(Kind.SYNC, path))
