import asyncio
import sqlite3
import tempfile
from pathlib import Path

import pytest
from edge_factories import MANIFEST, START_MS, contents, make_scan, make_scans, opened, read_all
from factories import make_manifest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.buffer import schema as buffer_schema
from edge_agent.buffer.buffer import Buffer
from edge_agent.buffer.opening import open_buffer
from edge_agent.errors import AlreadyRunning, SettingsError, StorageUnavailable
from protocol.ranges import Range, RangeSet
from protocol.scans import Entry, Gap, GapReason, Scan


def test_scans_are_numbered_from_one_without_holes(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer:
            assert await buffer.append(make_scans(1, 2)) == Range(1, 2)
            assert await buffer.append(make_scans(3, 3)) == Range(3, 3)
            entries = await read_all(buffer, buffer.stream_id)
        assert [entry.sequence for entry in entries] == [1, 2, 3]
        assert contents(entries) == make_scans(1, 3)

    asyncio.run(run())


def test_each_run_has_a_stream_of_its_own_and_earlier_ones_stay(tmp_path: Path) -> None:
    async def run() -> None:
        ids = []
        for number in (1, 2, 3):
            async with opened(tmp_path) as buffer:
                await buffer.append([make_scan(number)])
                ids.append(buffer.stream_id)
        async with opened(tmp_path) as buffer:
            streams = await buffer.streams()
            assert [stream.stream_id for stream in streams] == [*ids, buffer.stream_id]
            assert [(stream.lowest_held, stream.next) for stream in streams] == [(1, 2)] * 3 + [(1, 1)]
            for number, stream_id in enumerate(ids, start=1):
                assert contents(await read_all(buffer, stream_id)) == [make_scan(number)]

    asyncio.run(run())


def test_a_run_without_scans_leaves_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        for _ in range(3):
            async with opened(tmp_path) as buffer:
                assert len(await buffer.streams()) == 1

    asyncio.run(run())


def test_a_gap_takes_as_many_numbers_as_it_counts(tmp_path: Path) -> None:
    gap = Gap(10, GapReason.NOT_STORED, START_MS, START_MS + 9)

    async def run() -> None:
        async with opened(tmp_path) as buffer:
            assert await buffer.append([gap, make_scan(1)]) == Range(1, 11)
            assert await read_all(buffer, buffer.stream_id) == [Entry(1, gap), Entry(11, make_scan(1))]
            middle = await buffer.read(buffer.stream_id, Range(4, 6))
            assert middle.entries == (Entry(4, Gap(3, GapReason.NOT_STORED, START_MS, START_MS + 9)),)

    asyncio.run(run())


def test_what_was_forgotten_reads_as_a_gap_and_its_numbers_stay_used(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer:
            await buffer.append(make_scans(1, 9))
            stream_id = buffer.stream_id
            await buffer.forget(stream_id, RangeSet([(1, 3), (8, 9)]))
            assert await buffer.append([make_scan(10)]) == Range(10, 10)
        async with opened(tmp_path) as buffer:
            old = (await buffer.streams())[0]
            assert (old.lowest_held, old.next) == (4, 11)
            entries = await read_all(buffer, stream_id)
        assert entries[0] == Entry(1, Gap(3, GapReason.FORGOTTEN, 0, 0))
        assert contents(entries[1:5]) == make_scans(4, 7)
        assert entries[5:] == [Entry(8, Gap(2, GapReason.FORGOTTEN, 0, 0)), Entry(10, make_scan(10))]

    asyncio.run(run())


def test_a_stream_whose_rows_are_all_forgotten_still_knows_its_next_number(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer:
            await buffer.append(make_scans(1, 4))
            stream_id = buffer.stream_id
            await buffer.forget(stream_id, RangeSet([(1, 4)]))
        async with opened(tmp_path) as buffer:
            assert await read_all(buffer, stream_id) == [Entry(1, Gap(4, GapReason.FORGOTTEN, 0, 0))]

    asyncio.run(run())


def test_forgetting_part_of_a_gap_record_keeps_the_rest(tmp_path: Path) -> None:
    gap = Gap(10, GapReason.THINNED, START_MS, START_MS + 9)

    async def run() -> None:
        async with opened(tmp_path) as buffer:
            await buffer.append([gap, make_scan(1)])
            await buffer.forget(buffer.stream_id, RangeSet([(1, 4)]))
            entries = await read_all(buffer, buffer.stream_id)
        assert [(entry.sequence, entry.last_sequence) for entry in entries] == [(1, 4), (5, 10), (11, 11)]
        assert entries[1].content == Gap(6, GapReason.THINNED, START_MS, START_MS + 9)

    asyncio.run(run())


def test_belief_and_incarnation_outlive_the_process(tmp_path: Path) -> None:
    committed, safe = RangeSet([(1, 5), (7, 8)]), RangeSet([(1, 2)])

    async def run() -> None:
        async with opened(tmp_path) as buffer:
            assert await buffer.incarnation() == 0
            await buffer.append(make_scans(1, 9))
            await buffer.record_belief(3, {buffer.stream_id: (committed, safe)})
        async with opened(tmp_path) as buffer:
            assert await buffer.incarnation() == 3
            stream = (await buffer.streams())[0]
            assert (stream.committed, stream.safe) == (committed, safe)
            assert stream.outstanding == RangeSet([(6, 6), (9, 9)])

    asyncio.run(run())


def test_each_stream_keeps_its_manifest(tmp_path: Path) -> None:
    earlier, later = make_manifest((2,)), make_manifest((2, 2))

    async def run() -> None:
        async with opened(tmp_path, manifest=earlier) as buffer:
            await buffer.append([Scan(0, START_MS, (1.0, 2.0))])
            stream_id = buffer.stream_id
        async with opened(tmp_path, manifest=later) as buffer:
            assert (await buffer.read(stream_id, Range(1, 1))).manifest_hash == earlier.hash
            assert await buffer.manifest_body(earlier.hash) == earlier.body
            assert await buffer.manifest_body(later.hash) == later.body
            assert await buffer.manifest_body(bytes(16)) is None

    asyncio.run(run())


def test_appends_that_wait_together_share_a_transaction(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer:
            commits = 0

            def count(statement: str) -> None:
                nonlocal commits
                commits += statement == "COMMIT"

            buffer._store.connection.set_trace_callback(count)
            ranges = await asyncio.gather(*(buffer.append([make_scan(number)]) for number in range(1, 101)))
            assert ranges == [Range(number, number) for number in range(1, 101)]
            assert commits < 50

    asyncio.run(run())


def test_a_second_agent_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path):
            with pytest.raises(AlreadyRunning, match="another agent is using"):
                await _open_and_close(tmp_path)
        await _open_and_close(tmp_path)

    asyncio.run(run())


def test_a_directory_that_cannot_be_made_is_a_settings_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SettingsError, match="data_dir: cannot write"):
        asyncio.run(_open_and_close(tmp_path / "file"))


def test_a_file_of_a_newer_release_is_a_settings_fault(tmp_path: Path) -> None:
    asyncio.run(_open_and_close(tmp_path))
    connection = sqlite3.connect(tmp_path / "buffer.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(SettingsError, match="newer release"):
        asyncio.run(_open_and_close(tmp_path))


def test_a_size_too_small_to_work_with_is_a_settings_fault(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"buffer\.max_bytes"):
        open_buffer(tmp_path / "b", manifest=MANIFEST, boot_id=b"", max_bytes=1000, started_at_ms=0)


def test_the_file_is_durable_to_the_last_commit(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer:
            execute = buffer._store.connection.execute
            assert execute("PRAGMA journal_mode").fetchone() == (b"wal",)
            assert execute("PRAGMA synchronous").fetchone() == (2,)
            assert execute("PRAGMA page_size").fetchone() == (buffer_schema.PAGE_BYTES,)

    asyncio.run(run())


def test_a_closed_buffer_takes_nothing_more(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer:
            await buffer.append([make_scan(1)])
        with pytest.raises(StorageUnavailable, match="closed"):
            await buffer.append([make_scan(2)])

    asyncio.run(run())


def test_stats_count_what_the_hub_has_not_confirmed(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer:
            empty = await buffer.stats()
            assert (empty.held, empty.uncommitted, empty.oldest_ms) == (0, 0, None)
            await buffer.append(make_scans(1, 10))
            await buffer.record_belief(1, {buffer.stream_id: (RangeSet([(1, 4)]), RangeSet())})
            stats = await buffer.stats()
        assert (stats.held, stats.uncommitted) == (10, 6)
        assert stats.oldest_ms == make_scan(1).observed_at_ms
        assert stats.oldest_uncommitted_ms == make_scan(5).observed_at_ms
        assert stats.disk_free_bytes > 0

    asyncio.run(run())


RUNS = st.lists(st.lists(st.integers(1, 5), max_size=5), min_size=1, max_size=4)


@settings(max_examples=25, deadline=None)
@given(runs=RUNS, data=st.data())
def test_what_was_appended_and_not_forgotten_survives_reopening_in_order(
    runs: list[list[int]], data: st.DataObject
) -> None:
    async def run(directory: Path) -> None:
        model: dict[bytes, dict[int, Scan]] = {}
        for groups in runs:
            async with opened(directory) as buffer:
                own = model.setdefault(buffer.stream_id, {})
                for size in groups:
                    scans = make_scans(len(own) + 1, len(own) + size)
                    stored = await buffer.append(scans)
                    own.update(zip(range(stored.first, stored.last + 1), scans, strict=True))
                if own:
                    gone = data.draw(st.sets(st.integers(1, max(own)), max_size=4))
                    await buffer.forget(buffer.stream_id, RangeSet((n, n) for n in gone))
                    model[buffer.stream_id] = {n: scan for n, scan in own.items() if n not in gone}
        async with opened(directory) as buffer:
            for stream_id, expected in model.items():
                held = await _scans_by_number(buffer, stream_id)
                assert list(held.items()) == sorted(expected.items())

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(run(Path(directory)))


async def _scans_by_number(buffer: Buffer, stream_id: bytes) -> dict[int, Scan]:
    if all(stream.stream_id != stream_id for stream in await buffer.streams()):
        return {}
    entries = await read_all(buffer, stream_id)
    return {entry.sequence: entry.content for entry in entries if isinstance(entry.content, Scan)}


async def _open_and_close(directory: Path) -> None:
    async with opened(directory):
        pass
