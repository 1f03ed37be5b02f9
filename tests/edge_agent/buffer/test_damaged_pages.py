"""Each page of a buffer's file lost or a bit of it turned, and the file cut off at each kilobyte."""

import asyncio
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from crash_points.account import Account, account_of
from crash_points.power_cut import lay_out
from edge_factories import make_scan, make_scans, opened

from edge_agent.buffer.schema import PAGE_BYTES
from protocol.ranges import Range, RangeSet
from protocol.scans import Gap, GapReason, Scan

SCANS = 240
CONFIRMED = 60
LATER_SCANS = 30
ROWS_PER_PAGE_MAX = 16
FILE = "buffer.sqlite"
FORGOTTEN, UNREADABLE = (Gap(1, reason, 0, 0) for reason in (GapReason.FORGOTTEN, GapReason.UNREADABLE))


@dataclass(frozen=True, slots=True)
class Stored:
    """A buffer of two runs, closed."""

    content: bytes
    first: bytes
    """The stream of the first run; the hub has its first scans."""
    later: bytes

    @property
    def pages(self) -> range:
        """The pages of its file, the first being 0."""
        return range(len(self.content) // PAGE_BYTES)


@pytest.fixture
def stored(disk: Path) -> Stored:
    async def run() -> Stored:
        directory = disk / "stored"
        async with opened(directory) as buffer:
            for number in range(1, SCANS + 1, 60):
                await buffer.append(make_scans(number, number + 59, layout=1))
            await buffer.record_belief(3, {buffer.stream_id: (RangeSet([(1, CONFIRMED)]), RangeSet())})
            first = buffer.stream_id
        async with opened(directory) as buffer:
            await buffer.append(make_scans(1, LATER_SCANS, layout=1))
            later = buffer.stream_id
        return Stored((directory / FILE).read_bytes(), first, later)

    return asyncio.run(run())


def test_a_lost_page_costs_the_scans_on_it_and_they_are_counted(disk: Path, stored: Stored) -> None:
    for page in stored.pages:
        found = _opened_with(disk, _zeroed(stored.content, page))
        lost = _check(stored, found)
        assert lost <= ROWS_PER_PAGE_MAX, f"page {page}"


def test_a_turned_bit_never_keeps_the_agent_from_starting_nor_makes_up_a_reading(disk: Path, stored: Stored) -> None:
    rng = random.Random(1)
    real = {make_scan(number, layout=1) for number in range(1, SCANS + 1)}
    for page in stored.pages:
        for _ in range(2):
            at = page * PAGE_BYTES + rng.randrange(PAGE_BYTES)
            found = _opened_with(disk, _turned(stored.content, at, rng.randrange(8)))
            scans = {
                number for stream in found.streams.values() for number in stream.numbers if isinstance(number, Scan)
            }
            assert scans <= real, f"byte {at}"
            assert len(scans) >= SCANS - 2 * ROWS_PER_PAGE_MAX, f"byte {at}"


def test_a_file_cut_off_anywhere_gives_what_is_left_of_it(disk: Path, stored: Stored) -> None:
    whole = len(stored.content)
    for size in range(PAGE_BYTES, whole, PAGE_BYTES):
        found = _opened_with(disk, stored.content[:size])
        if stored.first in found.streams:
            _check(stored, found)
            held = sum(isinstance(number, Scan) for number in found.streams[stored.first].numbers)
            assert held >= (size - whole // 2) // PAGE_BYTES * 8


def _opened_with(disk: Path, content: bytes) -> Account:
    """Open a file, see that it goes on working, and return what it held."""
    directory = disk / "damaged"
    lay_out({FILE: content}, directory)

    async def run() -> Account:
        async with opened(directory) as buffer:
            found = await account_of(buffer)
            assert await buffer.append([make_scan(1)]) == Range(1, 1)
        return found

    found = asyncio.run(run())
    shutil.rmtree(directory)
    return found


def _check(stored: Stored, found: Account) -> int:
    """Check that each number holds its scan, or says that it cannot be read; return how many of them do not."""
    lost = 0
    for stream_id, scans in ((stored.first, SCANS), (stored.later, LATER_SCANS)):
        stream = found.streams.get(stream_id)
        numbers = stream.numbers if stream is not None else ()
        for number, content in enumerate(numbers, start=1):
            assert content in (make_scan(number, layout=1), UNREADABLE, FORGOTTEN)
            if content == FORGOTTEN:
                assert stream_id == stored.first
                assert number <= CONFIRMED
        # The end of a run that was never confirmed may be lost without a trace here; the hub's hello knows it.
        lost += scans - len(numbers) + sum(content == UNREADABLE for content in numbers)
    return lost


def _zeroed(content: bytes, page: int) -> bytes:
    return content[: page * PAGE_BYTES] + bytes(PAGE_BYTES) + content[(page + 1) * PAGE_BYTES :]


def _turned(content: bytes, at: int, bit: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]
