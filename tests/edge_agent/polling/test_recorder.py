import asyncio
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from edge_factories import START_MS, contents, make_scan, make_scans, opened, read_all
from hub_client import until

from edge_agent.buffer.buffer import Buffer
from edge_agent.clock.clock import AgentClock
from edge_agent.polling.recorder import Recorder
from protocol.ranges import Range
from protocol.scans import Entry, Gap, GapReason

BOOTED_MS = START_MS - 1_000_000


def trusted_clock() -> AgentClock:
    """Make a clock of a kernel that is synchronised; where it stands does not matter here."""
    return AgentClock(
        wall_ms=lambda: START_MS, boottime_ms=lambda: START_MS - BOOTED_MS, is_kernel_synchronised=lambda: True
    )


def record(recorder: Recorder, number: int) -> None:
    """Record the scan of a period: the recorder is told monotonic time, and has to find `observed_at` itself."""
    scan = make_scan(number)
    recorder.record(replace(scan, observed_at_ms=1), monotonic_ms=scan.observed_at_ms - BOOTED_MS)


@asynccontextmanager
async def recording(
    buffer: Buffer, *, linger_s: float = 0.05, memory_scans_max: int = 20_000
) -> AsyncIterator[tuple[Recorder, list[Range]]]:
    stored: list[Range] = []
    recorder = Recorder(
        buffer=buffer,
        clock=trusted_clock(),
        on_stored=stored.append,
        on_held=lambda: None,
        linger_s=linger_s,
        memory_scans_max=memory_scans_max,
        retry_first_s=0.05,
    )
    task = asyncio.create_task(recorder.run())
    try:
        yield recorder, stored
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@contextmanager
def full_disk(buffer: Buffer) -> Iterator[None]:
    """Let the kernel refuse to make any file of this process longer than the buffer's log is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (buffer.path.stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_scans_of_a_cycle_are_stored_together_when_it_ends(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer, recording(buffer, linger_s=60) as (recorder, stored):
            recorder.poll_begun()
            recorder.poll_begun()
            record(recorder, 1)
            recorder.poll_ended()
            record(recorder, 2)
            await buffer.stats()
            assert stored == []
            recorder.poll_ended()
            await until(lambda: stored)
            assert stored == [Range(1, 2)]
            assert contents(await read_all(buffer, buffer.stream_id)) == make_scans(1, 2)

    asyncio.run(run())


def test_a_slow_poll_does_not_keep_scans_in_memory(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer, recording(buffer) as (recorder, stored):
            recorder.poll_begun()
            record(recorder, 1)
            await until(lambda: stored)
            assert recorder.scans_in_memory == 0

    asyncio.run(run())


def test_flushing_waits_for_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer, recording(buffer, linger_s=60) as (recorder, stored):
            recorder.poll_begun()
            record(recorder, 1)
            assert await recorder.flush()
            assert stored == [Range(1, 1)]
            assert await recorder.flush()

    asyncio.run(run())


def test_a_cancelled_recorder_stores_each_scan_once(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer:
            for number in range(1, 21):
                async with recording(buffer) as (recorder, _):
                    record(recorder, number)
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
                await recorder.flush()
            assert contents(await read_all(buffer, buffer.stream_id)) == make_scans(1, 20)

    asyncio.run(run())


def test_scans_wait_in_memory_while_the_disk_is_full(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer, recording(buffer) as (recorder, stored):
            with full_disk(buffer):
                for number in range(1, 11):
                    record(recorder, number)
                await until(lambda: recorder.is_storage_failing)
                assert not await recorder.flush()
                assert (stored, recorder.scans_in_memory) == ([], 10)
            await until(lambda: stored)
            assert not recorder.is_storage_failing
            assert contents(await read_all(buffer, buffer.stream_id)) == make_scans(1, 10)

    asyncio.run(run())


def test_beyond_what_memory_bridges_the_oldest_become_one_gap_record(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer, recording(buffer, memory_scans_max=4) as (recorder, stored):
            with full_disk(buffer):
                for number in range(1, 11):
                    record(recorder, number)
                    assert not await recorder.flush()
            await until(lambda: stored)
            gap = Gap(6, GapReason.NOT_STORED, make_scan(1).observed_at_ms, make_scan(6).observed_at_ms)
            entries = await read_all(buffer, buffer.stream_id)
            assert entries[0] == Entry(1, gap)
            assert contents(entries[1:]) == make_scans(7, 10)
            assert entries[1].sequence == 7

    asyncio.run(run())


@pytest.mark.parametrize("cycles", [1, 5])
def test_on_stored_names_every_number_once(tmp_path: Path, cycles: int) -> None:
    async def run() -> None:
        async with opened(tmp_path) as buffer, recording(buffer) as (recorder, stored):
            for cycle in range(cycles):
                record(recorder, cycle)
                await until(lambda cycle=cycle: len(stored) == cycle + 1)  # type: ignore[misc]
        assert stored == [Range(n, n) for n in range(1, cycles + 1)]

    asyncio.run(run())
