"""The disk answers EIO, ENOSPC or EROFS at any one of the buffer's deeds, once or until it is mended."""

import asyncio
import errno
import os
from contextlib import suppress
from pathlib import Path

import pytest
from crash_points.account import Account, account_of
from crash_points.failing_disk import FailingDisk
from crash_points.lives import forget_pages, leave_to_the_file, left_by_a_power_cut, scribbled
from crash_points.polling import Polling
from crash_points.power_cut import Contents, lay_out, read_directory
from crash_points.watched_disk import watched
from edge_factories import make_scan, make_scans, opened
from structlog.testing import capture_logs

from edge_agent.buffer import schema as buffer_schema
from edge_agent.errors import StorageUnavailable
from protocol.ranges import Range, RangeSet
from protocol.scans import Gap, GapReason, Scan

ERRNOS = [errno.EIO, errno.ENOSPC, errno.EROFS]
STEP = 1 if os.environ.get("METERHAUL_CRASH_POINTS") == "all" else 3
"""How many deeds lie between two that are refused; each one is with METERHAUL_CRASH_POINTS=all."""
NEVER = 10**9
CYCLES = 8
SCANS_PER_CYCLE = 6
FORGOTTEN = Gap(1, GapReason.FORGOTTEN, 0, 0)


@pytest.fixture(autouse=True)
def _small_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the write-ahead log be copied into the file often."""
    monkeypatch.setattr(buffer_schema, "WAL_PAGES", 12)


@pytest.mark.parametrize("code", ERRNOS, ids=errno.errorcode.get)
@pytest.mark.parametrize("times", [1, None], ids=["once", "until mended"])
def test_polling_goes_on_while_the_disk_refuses_and_everything_is_stored_once(
    disk: Path, code: int, times: int | None
) -> None:
    whole = FailingDisk(code, first=NEVER)
    _poll(disk / "whole", whole)
    for first in range(0, whole.deeds, STEP):
        with capture_logs() as logs:
            failing = FailingDisk(code, first=first, times=times)
            stored, killed, closed = _poll(disk / str(first), failing)
        said = f"refused {failing.refused[:1]}, the {first}th deed"
        assert _numbers(closed) == make_scans(1, CYCLES * SCANS_PER_CYCLE, layout=1), said
        assert stored < SCANS_PER_CYCLE or _numbers(killed)[:stored] == make_scans(1, stored, layout=1), said
        events = [entry["event"] for entry in logs]
        assert events.count("storage_unavailable") == events.count("storage_recovered") <= 1, said


@pytest.mark.parametrize("code", ERRNOS, ids=errno.errorcode.get)
@pytest.mark.parametrize("is_damaged", [False, True], ids=["whole", "damaged"])
def test_a_start_on_a_failing_disk_says_so_and_the_next_one_finds_everything(
    disk: Path,
    code: int,
    is_damaged: bool,  # noqa: FBT001 - pytest gives it by name
) -> None:
    left = left_by_a_power_cut(disk / "before", scans=120)
    if is_damaged:
        left["buffer.sqlite"] = scribbled(left["buffer.sqlite"])
    expected, whole = asyncio.run(_start(disk / "whole", left, FailingDisk(code, first=NEVER)))
    assert expected is not None
    for first in range(0, whole.deeds, 4 * STEP - 3 if is_damaged else 1):
        for times in (1, None):
            directory = disk / f"{first}-{times}"
            found, failing = asyncio.run(_start(directory, left, FailingDisk(code, first=first, times=times)))
            assert found in (None, expected), f"refused {failing.refused[:1]}, the {first}th deed"
            assert asyncio.run(_reopened(directory)) == expected, f"refused {failing.refused[:1]}, the {first}th deed"


@pytest.mark.parametrize("code", ERRNOS, ids=errno.errorcode.get)
def test_damage_met_on_a_failing_disk_is_mended_when_the_disk_is_and_polling_goes_on(disk: Path, code: int) -> None:
    whole = FailingDisk(code, first=NEVER)
    expected = asyncio.run(_meet_damage(disk / "whole", whole))
    for first in range(0, whole.deeds, 6 * STEP - 5):
        for times in (1, None):
            failing = FailingDisk(code, first=first, times=times)
            found = asyncio.run(_meet_damage(disk / f"{first}-{times}", failing))
            assert found == expected, f"refused {failing.refused[:1]}, the {first}th deed"


async def _start(directory: Path, left: Contents, failing: FailingDisk) -> tuple[Account | None, FailingDisk]:
    """Open what was left while the disk fails; None when the agent gave up with a reason."""
    lay_out(left, directory)
    with watched(directory, failing), suppress(StorageUnavailable):
        failing.arm()
        async with opened(directory) as buffer:
            failing.mend()
            return await account_of(buffer), failing
    return None, failing


async def _meet_damage(directory: Path, failing: FailingDisk) -> list[Scan | Gap]:
    """Poll on while pages turn out to be damaged and the disk fails; return what is there after it was mended."""
    with watched(directory, failing):
        async with opened(directory) as buffer:
            polling = Polling(buffer, scans_per_cycle=10)
            assert await polling.cycles(30)
            await leave_to_the_file(buffer)
            assert await polling.cycle()
            await forget_pages(buffer)
            buffer.path.write_bytes(scribbled(buffer.path.read_bytes()))
            failing.arm()
            for _ in range(3):
                with suppress(StorageUnavailable):
                    await buffer.read(buffer.stream_id, Range(1, 310))
                await polling.cycle()
            failing.mend()
            assert await polling.recorder.flush()
            (stream,) = (await account_of(buffer)).streams.values()
            return list(stream.numbers)


def _poll(directory: Path, failing: FailingDisk) -> tuple[int, Account, Account]:
    """Poll while the disk fails.

    Returns how many scans had been stored when the last poll ended, what a kill at that moment leaves,
    and what is there after the disk was mended and the agent stopped.
    """
    with watched(directory, failing):
        stored, left = asyncio.run(_poll_and_mend(directory, failing))
    killed = directory.with_name(f"{directory.name}-killed")
    lay_out(left, killed)
    return stored, asyncio.run(_reopened(killed)), asyncio.run(_reopened(directory))


async def _poll_and_mend(directory: Path, failing: FailingDisk) -> tuple[int, Contents]:
    async with opened(directory) as buffer:
        polling = Polling(buffer, scans_per_cycle=SCANS_PER_CYCLE)
        failing.arm()
        for _ in range(CYCLES):
            await polling.cycle()
            with suppress(StorageUnavailable):
                await buffer.record_belief(1, {buffer.stream_id: (RangeSet([(1, 2)]), RangeSet())})
        assert polling.recorder.is_storage_failing == (polling.recorder.scans_in_memory > 0)
        stored, left = polling.stored_to, read_directory(directory)
        failing.mend()
        assert await polling.recorder.flush()
    assert [number for span in polling.stored for number in range(span.first, span.last + 1)] == list(
        range(1, polling.polled + 1)
    )
    return stored, left


async def _reopened(directory: Path) -> Account:
    async with opened(directory) as buffer:
        return await account_of(buffer)


def _numbers(account: Account) -> list[Scan | Gap]:
    """Return what stands at each number; what the hub has may have made room, so it is put back."""
    (stream,) = account.streams.values()
    forgotten = [n for n, content in enumerate(stream.numbers, start=1) if content == FORGOTTEN]
    assert stream.committed.covers(RangeSet((n, n) for n in forgotten))
    return [make_scan(n, layout=1) if n in forgotten else content for n, content in enumerate(stream.numbers, start=1)]
