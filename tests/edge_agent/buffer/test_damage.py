import asyncio
import os
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from crash_points.lives import forget_pages, leave_to_the_file
from edge_factories import make_scan, make_scans, opened, read_all
from structlog.testing import capture_logs

from edge_agent.buffer.schema import PAGE_BYTES
from edge_agent.errors import BufferFull, StorageUnavailable
from protocol.ranges import RangeSet
from protocol.scans import Entry, Gap, GapReason, Scan

STORING = """
import asyncio, sys
from pathlib import Path
from edge_factories import make_scans, opened
from protocol.ranges import RangeSet

async def run():
    async with opened(Path(sys.argv[1])) as buffer:
        print(buffer.stream_id.hex(), flush=True)
        number = 1
        while True:
            stored = await buffer.append(make_scans(number, number + 5))
            print(stored.last, flush=True)
            number = stored.last + 1
            if number % 5 == 0:
                await buffer.record_belief(1, {buffer.stream_id: (RangeSet([(1, number // 2)]), RangeSet())})

asyncio.run(run())
"""


def test_what_a_killed_agent_reported_as_stored_is_there(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'tests'}"}
    reported: dict[bytes, int] = {}
    for seed in range(10):
        child = subprocess.Popen(
            [sys.executable, "-c", STORING, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment
        )
        assert child.stdout is not None
        stream_id = bytes.fromhex(child.stdout.readline())
        for _ in range(random.Random(seed).randint(1, 60)):
            last = int(child.stdout.readline())
        child.kill()
        rest = [line for line in child.stdout.read().split("\n") if line]
        reported[stream_id] = int(rest[-1]) if rest and child.wait() < 0 else last
        child.stdout.close()
        child.wait()

    async def run() -> None:
        async with opened(tmp_path) as buffer:
            for stream in await buffer.streams():
                assert RangeSet([(1, max(stream.next - 1, 1))]).covers(stream.committed)
            for stream_id, last in reported.items():
                entries = await read_all(buffer, stream_id)
                assert [entry.content for entry in entries[:last]] == make_scans(1, last)
                assert all(isinstance(entry.content, Scan) for entry in entries)

    asyncio.run(run())


def test_unreadable_pages_become_gap_records_and_the_rest_is_saved(tmp_path: Path) -> None:
    asyncio.run(_store(tmp_path, 2000))
    _scribble(tmp_path, pages=range(40, 44))

    async def run() -> None:
        async with opened(tmp_path) as buffer:
            stream = (await buffer.streams())[0]
            entries = await read_all(buffer, stream.stream_id)
        _check(entries, 2000)
        assert 0 < _lost(entries) < 500
        aside = tmp_path / "buffer.sqlite.damaged-1"
        assert aside.exists()

    with capture_logs() as logs:
        asyncio.run(run())
    salvaged = [entry for entry in logs if entry["event"] == "buffer_salvaged"]
    assert len(salvaged) == 1
    assert salvaged[0]["unreadable_numbers"] > 0


@pytest.mark.parametrize("seed", range(12))
def test_whatever_page_is_damaged_every_number_is_accounted_for(tmp_path: Path, seed: int) -> None:
    """Page 1 holds the schema: without it nothing can be read, so it is spared here."""
    stream_id = asyncio.run(_store(tmp_path, 600))
    rng = random.Random(seed)
    pages = (tmp_path / "buffer.sqlite").stat().st_size // PAGE_BYTES
    _scribble(tmp_path, pages=[rng.randrange(1, pages) for _ in range(3)], seed=seed)

    async def run() -> None:
        async with opened(tmp_path) as buffer:
            await buffer.append([make_scan(1)])
            if stream_id in {stream.stream_id for stream in await buffer.streams()}:
                stream = next(s for s in await buffer.streams() if s.stream_id == stream_id)
                entries = await read_all(buffer, stream_id)
                _check(entries, stream.next - 1)

    asyncio.run(run())


def test_damage_found_while_running_is_mended_without_a_number_used_twice(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer:
            for start in range(1, 1201, 60):
                await buffer.append(make_scans(start, start + 59))
            await leave_to_the_file(buffer)
            await forget_pages(buffer)
            _scribble(tmp_path, pages=range(30, 60))
            entries = await read_all(buffer, buffer.stream_id)
            _check(entries, 1200)
            assert 0 < _lost(entries) < 1200
            assert (await buffer.append([make_scan(1201)])).first == 1201
            assert (await read_all(buffer, buffer.stream_id))[-1] == Entry(1201, make_scan(1201))

    asyncio.run(run())


def test_a_file_that_is_no_database_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "buffer.sqlite").write_bytes(os.urandom(10_000))

    async def run() -> None:
        async with opened(tmp_path) as buffer:
            assert (await buffer.append([make_scan(1)])).last == 1

    asyncio.run(run())
    assert (tmp_path / "buffer.sqlite.damaged-1").exists()


def test_a_row_whose_bits_have_turned_is_a_gap_record(tmp_path: Path) -> None:
    stream_id = asyncio.run(_store(tmp_path, 5))
    connection = sqlite3.connect(tmp_path / "buffer.sqlite")
    position, body = connection.execute(
        "SELECT position, body FROM entries ORDER BY position LIMIT 1 OFFSET 2"
    ).fetchone()
    turned = bytes([*body[:-1], body[-1] ^ 1])
    connection.execute("UPDATE entries SET body = ? WHERE position = ?", (turned, position))
    connection.commit()
    connection.close()

    async def run() -> None:
        async with opened(tmp_path) as buffer:
            entries = await read_all(buffer, stream_id)
        assert entries[2] == Entry(3, Gap(1, GapReason.UNREADABLE, 0, 0))
        assert _lost(entries) == 1

    asyncio.run(run())


def test_a_full_disk_refuses_the_whole_append_and_takes_the_next(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer:
            await buffer.append(make_scans(1, 60))
            execute = buffer._store.connection.execute
            pages = execute("PRAGMA page_count").fetchone()[0]
            execute(f"PRAGMA max_page_count = {pages}")
            with pytest.raises(BufferFull, match="free space"):
                await buffer.append(make_scans(61, 200))
            execute("PRAGMA max_page_count = 100000")
            assert (await buffer.append(make_scans(61, 61))).first == 61
            _check(await read_all(buffer, buffer.stream_id), 61)

    asyncio.run(run())


def test_on_a_full_disk_committed_scans_give_way(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer:
            await buffer.append(make_scans(1, 600))
            await buffer.record_belief(1, {buffer.stream_id: (RangeSet([(1, 600)]), RangeSet())})
            execute = buffer._store.connection.execute
            pages = execute("PRAGMA page_count").fetchone()[0]
            execute(f"PRAGMA max_page_count = {pages}")
            await buffer.append(make_scans(601, 650))
            entries = await read_all(buffer, buffer.stream_id)
        assert isinstance(entries[0].content, Gap)
        assert [entry.content for entry in entries[-50:]] == make_scans(601, 650)

    asyncio.run(run())


def test_a_card_gone_read_only_refuses_and_recovers(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer:
            buffer._store.connection.execute("PRAGMA query_only = ON")
            with pytest.raises(StorageUnavailable, match="read-only"):
                await buffer.append([make_scan(1)])
            buffer._store.connection.execute("PRAGMA query_only = OFF")
            assert (await buffer.append([make_scan(1)])).first == 1

    asyncio.run(run())


async def _store(directory: Path, scans: int) -> bytes:
    async with opened(directory) as buffer:
        for start in range(1, scans + 1, 100):
            await buffer.append(make_scans(start, min(start + 99, scans)))
        await buffer.record_belief(1, {})
        return buffer.stream_id


def _scribble(directory: Path, *, pages: range | list[int], seed: int = 0) -> None:
    rng = random.Random(seed)
    with (directory / "buffer.sqlite").open("r+b") as file:
        for page in pages:
            file.seek(page * PAGE_BYTES)
            file.write(rng.randbytes(PAGE_BYTES))


def _check(entries: list[Entry], last: int) -> None:
    """Check that every number is there once, as it was or as an unreadable gap."""
    expected = 1
    for entry in entries:
        assert entry.sequence == expected
        if isinstance(entry.content, Scan):
            assert entry.content == make_scan(entry.sequence)
        else:
            assert entry.content.reason is GapReason.UNREADABLE
        expected = entry.last_sequence + 1
    assert expected == last + 1


def _lost(entries: list[Entry]) -> int:
    return sum(entry.content.count for entry in entries if isinstance(entry.content, Gap))
