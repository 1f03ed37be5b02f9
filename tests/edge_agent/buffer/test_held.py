import asyncio
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from crash_points.lives import forget_pages, leave_to_the_file
from edge_factories import BOOT, START_MS, contents, make_scan, make_scans, opened, read_all

from edge_agent.buffer.buffer import Buffer
from edge_agent.buffer.held import HeldScan
from edge_agent.buffer.inspect import inspect_buffer
from edge_agent.buffer.opening import MAX_BYTES_MIN
from edge_agent.buffer.schema import PAGE_BYTES, WAL_BYTES
from protocol.ranges import Range, RangeSet
from protocol.scans import Entry, Gap, GapReason, Scan

OFFSET_MS = START_MS
"""UTC minus monotonic time: periods count from the boot."""
ANOTHER_BOOT = b"boot-2".ljust(16)


def held(first: int, last: int, *, layout: int = 0) -> list[HeldScan]:
    """Make scans as they wait: with monotonic times, while the wall clock shows 1970."""
    return [
        HeldScan(Scan(scan.layout, scan.observed_at_ms - OFFSET_MS, scan.values), scan.observed_at_ms - OFFSET_MS)
        for scan in make_scans(first, last, layout=layout)
    ]


async def stamp_all(buffer: Buffer) -> list[tuple[bytes, Range]]:
    numbered = []
    while (chunk := await buffer.stamp_next(OFFSET_MS)) is not None:
        numbered.append(chunk)
    return numbered


def scans(entries: Sequence[Entry]) -> list[Scan]:
    return [entry.content for entry in entries if isinstance(entry.content, Scan)]


def lost(entries: Sequence[Entry], reason: GapReason) -> int:
    gaps = [entry.content for entry in entries if isinstance(entry.content, Gap)]
    assert {gap.reason for gap in gaps} <= {reason}
    return sum(gap.count for gap in gaps)


def test_held_scans_have_numbers_and_cannot_be_sent_until_they_have_their_time(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer:
            assert await buffer.hold(held(1, 3)) == Range(1, 3)
            assert buffer.withheld == {buffer.stream_id: RangeSet([(1, 3)])}
            stats = await buffer.stats()
            assert (stats.held_for_clock, stats.held, stats.uncommitted) == (3, 3, 3)
            assert inspect_buffer(buffer.path).held_for_clock == 3
            assert await stamp_all(buffer) == [(buffer.stream_id, Range(1, 3))]
            assert buffer.withheld == {}
            assert contents(await read_all(buffer, buffer.stream_id)) == make_scans(1, 3)
            assert (await buffer.stats()).held_for_clock == 0

    asyncio.run(run())


def test_many_get_their_time_in_several_transactions_and_stay_in_their_order(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer:
            await buffer.hold(held(1, 1000))
            await buffer.stamp_next(OFFSET_MS)
            await buffer.append([make_scan(1001)])
            assert buffer.withheld[buffer.stream_id].ranges[0].first > 1
            await stamp_all(buffer)
            assert contents(await read_all(buffer, buffer.stream_id)) == make_scans(1, 1001)

    asyncio.run(run())


def test_a_held_gap_record_takes_as_many_numbers_as_it_counts_and_gets_its_times(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer:
            await buffer.hold([HeldScan(Gap(10, GapReason.NOT_STORED, 60_000, 600_000), 0), *held(11, 11)])
            assert buffer.held_for_clock == 11
            assert await stamp_all(buffer) == [(buffer.stream_id, Range(1, 11))]
            gap = Gap(10, GapReason.NOT_STORED, OFFSET_MS + 60_000, OFFSET_MS + 600_000)
            assert await read_all(buffer, buffer.stream_id) == [Entry(1, gap), Entry(11, make_scan(11))]

    asyncio.run(run())


def test_an_older_copy_that_is_put_back_gives_held_scans_the_numbers_that_they_had(tmp_path: Path) -> None:
    """So that the hub, which has them from before, stores none of them again."""

    async def run() -> None:
        async with opened(tmp_path) as buffer:
            await buffer.hold(held(1, 3))
        shutil.copytree(tmp_path, tmp_path / "copy")
        delivered: list[list[tuple[bytes, Range]]] = []
        for directory in (tmp_path, tmp_path / "copy"):
            async with opened(directory) as buffer:
                await buffer.hold(held(4, 4))
                delivered.append(await stamp_all(buffer))
        (earlier, own), (earlier_again, own_again) = delivered
        assert earlier == earlier_again
        assert own[0] != own_again[0]

    asyncio.run(run())


def test_runs_that_only_held_scans_keep_their_names(tmp_path: Path) -> None:
    async def run() -> None:
        names = []
        for first in (1, 3, 5):
            async with opened(tmp_path) as buffer:
                await buffer.hold(held(first, first + 1))
                names.append(buffer.stream_id)
        async with opened(tmp_path) as buffer:
            assert [stream.stream_id for stream in await buffer.streams()] == [*names, buffer.stream_id]
            assert [stream_id for stream_id, _ in await stamp_all(buffer)] == names
            found = [scan for name in names for scan in contents(await read_all(buffer, name))]
        assert found == make_scans(1, 6)

    asyncio.run(run())


def test_a_file_of_the_first_release_is_migrated_with_all_that_it_holds(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer:
            await buffer.append(make_scans(1, 5))
            stream_id = buffer.stream_id
        connection = sqlite3.connect(tmp_path / "buffer.sqlite")
        connection.executescript("DROP TABLE held; PRAGMA user_version = 1")
        connection.close()
        assert inspect_buffer(tmp_path / "buffer.sqlite").held_for_clock == 0
        async with opened(tmp_path) as buffer:
            await buffer.hold(held(6, 8))
            assert contents(await read_all(buffer, stream_id)) == make_scans(1, 5)
        async with opened(tmp_path) as buffer:
            assert buffer.held_for_clock == 3

    asyncio.run(run())


def test_a_full_buffer_thins_what_is_held_and_counts_what_went(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path, max_bytes=MAX_BYTES_MIN) as buffer:
            for start in range(1, 20_001, 500):
                await buffer.hold(held(start, start + 499, layout=1))
            stats = await buffer.stats()
            assert stats.used_bytes <= MAX_BYTES_MIN - WAL_BYTES
            assert stats.held_for_clock == 20_000
        async with opened(tmp_path, max_bytes=MAX_BYTES_MIN) as buffer:
            [(stream_id, _), *_] = await stamp_all(buffer)
            entries = await read_all(buffer, stream_id)
        kept = scans(entries)
        assert len(kept) + lost(entries, GapReason.THINNED) == 20_000
        assert kept[-300:] == make_scans(19_701, 20_000, layout=1)
        expected = {scan.observed_at_ms: scan for scan in make_scans(1, 20_000, layout=1)}
        assert all(expected[scan.observed_at_ms] == scan for scan in kept)
        gaps = [entry.content for entry in entries if isinstance(entry.content, Gap)]
        assert all(START_MS < gap.from_ms <= gap.to_ms for gap in gaps)

    asyncio.run(run())


@pytest.mark.parametrize("seed", range(6))
def test_held_scans_of_a_damaged_file_are_saved_or_counted(tmp_path: Path, seed: int) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer:
            for start in range(1, 601, 60):
                await buffer.hold(held(start, start + 59, layout=1))
            await leave_to_the_file(buffer)
            await forget_pages(buffer)
            _scribble(buffer.path, seed)
            await stamp_all(buffer)
            entries = await read_all(buffer, buffer.stream_id)
        kept = scans(entries)
        assert len(kept) + lost(entries, GapReason.UNREADABLE) == 600
        assert len(kept) > 300
        expected = {scan.observed_at_ms: scan for scan in make_scans(1, 600, layout=1)}
        assert all(expected[scan.observed_at_ms] == scan for scan in kept)

    asyncio.run(run())


def test_held_scans_are_salvaged_at_the_start_too(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer:
            await buffer.hold(held(1, 600, layout=1))
        _scribble(tmp_path / "buffer.sqlite", 3)
        async with opened(tmp_path) as buffer:
            number = buffer.held_for_clock
            [(stream_id, _), *_] = await stamp_all(buffer)
            entries = await read_all(buffer, stream_id)
        assert number > 300
        assert len(scans(entries)) + lost(entries, GapReason.UNREADABLE) == number

    asyncio.run(run())


def test_a_held_row_whose_bits_have_turned_is_a_gap_record(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer:
            await buffer.hold(held(1, 5))
            buffer._store.connection.execute("UPDATE held SET monotonic_ms = monotonic_ms + 1 WHERE position & 7 = 3")
            await stamp_all(buffer)
            entries = await read_all(buffer, buffer.stream_id)
        assert entries[2] == Entry(3, Gap(1, GapReason.UNREADABLE, 0, 0))
        assert scans(entries) == [make_scan(number) for number in (1, 2, 4, 5)]

    asyncio.run(run())


STAMPING = """
import asyncio, sys
from pathlib import Path
from edge_factories import START_MS, opened

async def run():
    async with opened(Path(sys.argv[1])) as buffer:
        while await buffer.stamp_next(START_MS):
            print("stamped", flush=True)
        print("done", flush=True)
        sys.stdin.read()

asyncio.run(run())
"""


@pytest.mark.parametrize("chunks", range(4))
def test_an_agent_killed_between_holding_and_stamping_stores_each_scan_once(tmp_path: Path, chunks: int) -> None:
    async def store() -> None:
        async with opened(tmp_path) as buffer:
            await buffer.hold(held(1, 900))

    async def check() -> None:
        async with opened(tmp_path) as buffer:
            await stamp_all(buffer)
            entries = [entry for s in await buffer.streams() for entry in await read_all(buffer, s.stream_id)]
        assert sorted(scans(entries), key=lambda scan: scan.observed_at_ms) == make_scans(1, 900)
        assert len(entries) == 900

    asyncio.run(store())
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'tests'}"}
    with subprocess.Popen(
        [sys.executable, "-c", STAMPING, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as child:
        assert child.stdout is not None
        for _ in range(chunks):
            child.stdout.readline()
        child.kill()
    asyncio.run(check())


def test_another_boot_is_told_from_this_one(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path, boot_id=BOOT) as buffer:
            await buffer.hold(held(1, 1))
        async with opened(tmp_path, boot_id=ANOTHER_BOOT) as buffer:
            [(stream_id, _)] = await stamp_all(buffer)
            [entry] = await read_all(buffer, stream_id)
            stream = next(s for s in await buffer.streams() if s.stream_id == stream_id)
        assert stream.boot_id == BOOT
        assert isinstance(entry.content, Scan)
        assert entry.content.quality is not None

    asyncio.run(run())


def _scribble(path: Path, seed: int) -> None:
    """Turn some pages into noise, but not those of the schema and of the tables that other tests damage."""
    rng = random.Random(seed)
    pages = path.stat().st_size // PAGE_BYTES
    with path.open("r+b") as file:
        for page in rng.sample(range(pages // 2, pages), 4):
            file.seek(page * PAGE_BYTES)
            file.write(rng.randbytes(PAGE_BYTES))
