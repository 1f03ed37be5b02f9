"""When the manifest changes, the scans before it stay in their stream, and those after it go to one of their own."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from edge_factories import START_MS, contents, make_scan, make_scans, opened, read_all
from factories import make_manifest

from edge_agent.buffer.buffer import Buffer
from edge_agent.clock.clock import AgentClock
from edge_agent.errors import StorageUnavailable
from edge_agent.polling.recorder import Recorder
from protocol.ranges import Range
from protocol.scans import Scan

BOOTED_MS = START_MS - 1_000_000
OTHER = make_manifest((2,))
NEW_SCAN = Scan(0, START_MS + 1, (1.0, 2.0))


def make_recorder(buffer: Buffer, stored: list[tuple[bytes, Range]], *, is_trusted: bool = True) -> Recorder:
    clock = AgentClock(
        wall_ms=lambda: START_MS, boottime_ms=lambda: START_MS - BOOTED_MS, is_kernel_synchronised=lambda: is_trusted
    )
    return Recorder(
        buffer=buffer,
        clock=clock,
        on_stored=lambda numbers: stored.append((buffer.stream_id, numbers)),
        on_held=lambda: None,
    )


def record(recorder: Recorder, scan: Scan) -> None:
    recorder.record(replace(scan, observed_at_ms=0), monotonic_ms=scan.observed_at_ms - BOOTED_MS)


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def inner() -> None:
        await work()

    asyncio.run(inner())


def test_each_scan_lands_in_the_stream_of_its_manifest(tmp_path: Path) -> None:
    async def work() -> None:
        stored: list[tuple[bytes, Range]] = []
        async with opened(tmp_path) as buffer:
            recorder = make_recorder(buffer, stored)
            for number in (1, 2):
                record(recorder, make_scan(number))
            old = buffer.stream_id
            await recorder.between_cycles(lambda: buffer.begin_stream(OTHER, started_at_ms=START_MS))
            new = buffer.stream_id
            record(recorder, NEW_SCAN)
            assert await recorder.flush()
            assert stored == [(old, Range(1, 2)), (new, Range(1, 1))]
            assert contents(await read_all(buffer, old)) == make_scans(1, 2)
            assert contents(await read_all(buffer, new)) == [NEW_SCAN]
            assert (await buffer.read(new, Range(1, 1))).manifest_hash == OTHER.hash == buffer.manifest_hash
            assert await buffer.manifest_body(OTHER.hash) == OTHER.body
        async with opened(tmp_path) as buffer:
            assert contents(await read_all(buffer, old)) == make_scans(1, 2)
            assert contents(await read_all(buffer, new)) == [NEW_SCAN]

    run(work)


def test_scans_that_wait_for_the_clock_stay_with_their_manifest(tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(tmp_path) as buffer:
            recorder = make_recorder(buffer, [], is_trusted=False)
            record(recorder, make_scan(1))
            old = buffer.stream_id
            await recorder.between_cycles(lambda: buffer.begin_stream(OTHER, started_at_ms=START_MS))
            record(recorder, NEW_SCAN)
            assert await recorder.flush()
            stamped = [await buffer.stamp_next(BOOTED_MS) for _ in range(2)]
            assert stamped == [(old, Range(1, 1)), (buffer.stream_id, Range(1, 1))]
            assert contents(await read_all(buffer, old)) == [make_scan(1)]
            assert contents(await read_all(buffer, buffer.stream_id)) == [NEW_SCAN]

    run(work)


def test_change_that_the_disk_refuses_leaves_everything_as_it_was(tmp_path: Path) -> None:
    async def work() -> None:
        stored: list[tuple[bytes, Range]] = []
        async with opened(tmp_path) as buffer:
            recorder = make_recorder(buffer, stored)
            old, streams = buffer.stream_id, await buffer.streams()

            async def fail() -> None:
                raise StorageUnavailable("the card is read-only")

            with pytest.raises(StorageUnavailable, match="read-only"):
                await recorder.between_cycles(fail)
            record(recorder, make_scan(1))
            assert await recorder.flush()
            assert stored == [(old, Range(1, 1))]
            assert len(await buffer.streams()) == len(streams)

    run(work)


def test_nothing_is_stored_while_the_stream_changes(tmp_path: Path) -> None:
    async def work() -> None:
        stored: list[tuple[bytes, Range]] = []
        async with opened(tmp_path) as buffer:
            recorder = make_recorder(buffer, stored)
            storing = asyncio.create_task(recorder.run())
            may_go_on = asyncio.Event()

            async def change() -> None:
                await buffer.begin_stream(OTHER, started_at_ms=START_MS)
                record(recorder, NEW_SCAN)
                await may_go_on.wait()
                assert stored == []

            changing = asyncio.create_task(recorder.between_cycles(change))
            await buffer.stats()
            may_go_on.set()
            await changing
            assert await recorder.flush()
            assert stored == [(buffer.stream_id, Range(1, 1))]
            storing.cancel()

    run(work)
