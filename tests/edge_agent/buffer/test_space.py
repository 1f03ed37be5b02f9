import asyncio
from itertools import pairwise
from pathlib import Path

from edge_factories import make_scan, make_scans, opened, read_all

from edge_agent.buffer.buffer import Buffer
from edge_agent.buffer.opening import MAX_BYTES_MIN
from edge_agent.buffer.schema import WAL_BYTES
from protocol.ranges import Range, RangeSet
from protocol.scans import Entry, Gap, GapReason, Scan

HALF_HOUR_MS = 1_800_000
CYCLE = 60
ROOM = MAX_BYTES_MIN - WAL_BYTES


async def fill(buffer: Buffer, scans: int, *, first: int = 1) -> None:
    """Store scans of 20 points, some at a time."""
    for start in range(first, first + scans, CYCLE):
        await buffer.append(make_scans(start, min(start + CYCLE, first + scans) - 1, layout=1))


def sizes(entries: list[Entry], kind: type) -> int:
    return sum(entry.last_sequence - entry.sequence + 1 for entry in entries if isinstance(entry.content, kind))


def reasons(entries: list[Entry]) -> set[GapReason]:
    return {entry.content.reason for entry in entries if isinstance(entry.content, Gap)}


def test_safe_scans_go_first_then_committed_ones_and_unacknowledged_stay(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer:
            await fill(buffer, 3000)
            safe, committed = RangeSet([(1001, 2000)]), RangeSet([(1, 2500)])
            await buffer.record_belief(1, {buffer.stream_id: (committed, safe)})
            full = (await buffer.stats()).used_bytes
            assert await buffer.make_room(int(full * 0.8))
            gone = _missing(await read_all(buffer, buffer.stream_id))
            assert gone.ranges[0].first == 1001
            assert safe.covers(gone)
            assert await buffer.make_room(int(full * 0.4))
            gone = _missing(await read_all(buffer, buffer.stream_id))
            assert gone.covers(safe)
            assert committed.covers(gone)

    asyncio.run(run())


def test_thinning_leaves_gap_records_and_the_first_scan_of_each_half_hour(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer:
            await fill(buffer, 4000)
            full = (await buffer.stats()).used_bytes
            assert await buffer.make_room(full // 3)
            assert (await buffer.stats()).used_bytes <= full // 3
            entries = await read_all(buffer, buffer.stream_id)
        assert reasons(entries) == {GapReason.THINNED}
        assert sizes(entries, Scan) + sizes(entries, Gap) == 4000
        kept = {entry.content.observed_at_ms for entry in entries if isinstance(entry.content, Scan)}
        times = [scan.observed_at_ms for scan in make_scans(1, 4000, layout=1)]
        boundaries = {at for before, at in pairwise(times) if before // HALF_HOUR_MS != at // HALF_HOUR_MS}
        assert boundaries <= kept

    asyncio.run(run())


def test_gap_records_of_thinning_say_when(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer:
            await fill(buffer, 3000)
            full = (await buffer.stats()).used_bytes
            await buffer.make_room(full // 2)
            for entry in await read_all(buffer, buffer.stream_id):
                if isinstance(entry.content, Gap):
                    assert entry.content.from_ms == make_scan(entry.sequence).observed_at_ms
                    assert entry.content.to_ms == make_scan(entry.last_sequence).observed_at_ms

    asyncio.run(run())


def test_even_boundaries_go_when_nothing_else_is_left(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer:
            hourly = [make_scan(number * 60, layout=1) for number in range(2000)]
            await buffer.append(hourly)
            full = (await buffer.stats()).used_bytes
            assert await buffer.make_room(full // 2)
            entries = await read_all(buffer, buffer.stream_id)
        assert sizes(entries, Scan) + sizes(entries, Gap) == 2000

    asyncio.run(run())


def test_the_file_stays_within_its_bounds_and_every_number_is_accounted_for(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path, max_bytes=MAX_BYTES_MIN) as buffer:
            await fill(buffer, 30_000)
            stats = await buffer.stats()
            assert stats.used_bytes <= ROOM
            assert stats.file_bytes <= ROOM * 1.1
            entries = await read_all(buffer, buffer.stream_id)
            newest = await buffer.read(buffer.stream_id, Range(29_900, 30_000))
        assert sizes(entries, Scan) + sizes(entries, Gap) == 30_000
        assert reasons(entries) == {GapReason.THINNED}
        assert [entry.content for entry in newest.entries] == make_scans(29_900, 30_000, layout=1)

    asyncio.run(run())


def test_space_of_committed_scans_is_used_again(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path, max_bytes=MAX_BYTES_MIN) as buffer:
            for start in range(1, 40_001, 2000):
                await fill(buffer, 2000, first=start)
                done = RangeSet([(1, start + 1999)])
                await buffer.record_belief(1, {buffer.stream_id: (done, RangeSet())})
            stats = await buffer.stats()
            entries = await read_all(buffer, buffer.stream_id)
        assert stats.file_bytes <= ROOM * 1.1
        assert reasons(entries) == {GapReason.FORGOTTEN}
        assert sizes(entries, Scan) > 5000

    asyncio.run(run())


def test_the_oldest_run_is_thinned_first(tmp_path: Path) -> None:
    async def run() -> None:
        ids = []
        for _ in range(3):
            async with opened(tmp_path) as buffer:
                await fill(buffer, 2000)
                ids.append(buffer.stream_id)
        async with opened(tmp_path) as buffer:
            full = (await buffer.stats()).used_bytes
            assert await buffer.make_room(int(full * 0.95))
            scans = [sizes(await read_all(buffer, stream_id), Scan) for stream_id in ids]
        assert scans[0] < 2000
        assert scans[1:] == [2000, 2000]

    asyncio.run(run())


def _missing(entries: list[Entry]) -> RangeSet:
    return RangeSet((e.sequence, e.last_sequence) for e in entries if isinstance(e.content, Gap))
