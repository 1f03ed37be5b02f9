"""Real small disks: one of 4 MB in memory that fills up, and a card whose file system turns read-only."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from crash_points.account import account_of
from crash_points.polling import Polling
from edge_factories import make_scan, opened
from structlog.testing import capture_logs

from edge_agent.buffer.buffer import Buffer
from edge_agent.buffer.opening import MAX_BYTES_MIN
from edge_agent.buffer.reserve import RESERVE_BYTES
from edge_agent.errors import StorageUnavailable
from protocol.ranges import Range, RangeSet
from protocol.scans import Gap, GapReason, Scan

DISK_BYTES = 4 * 2**20
CARD_BYTES = 8 * 2**20
MEMORY_MAX = 600
LARGE = 64 * 2**20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB."""
    _run_as_root("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(tmp_path))
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


class Card:
    """A card with ext4, which turns read-only at its first fault, as Linux does by default."""

    def __init__(self, directory: Path) -> None:
        self.directory, self._image = directory / "card", directory / "image"
        self.directory.mkdir()
        with self._image.open("wb") as image:
            image.truncate(CARD_BYTES)
        _run_as_root("mkfs.ext4", "-q", str(self._image))
        self.mount()

    def mount(self) -> None:
        _run_as_root("mount", "-o", "loop,errors=remount-ro", str(self._image), str(self.directory))

    def fail(self) -> None:
        """Let the kernel find a fault."""
        device = subprocess.check_output(["findmnt", "-no", "SOURCE", str(self.directory)], text=True).strip()
        trigger = Path("/sys/fs/ext4", Path(device).name, "trigger_fs_error")
        if not trigger.exists():
            pytest.skip("this kernel cannot be told to find a fault on a disk")
        trigger.write_text("1")

    def repair(self) -> None:
        """Do what a start of the controller does."""
        self.unmount()
        # It says 1 when there was something to put right.
        assert subprocess.run(["e2fsck", "-p", str(self._image)], check=False, capture_output=True).returncode <= 1
        self.mount()

    def unmount(self) -> None:
        subprocess.run(["umount", str(self.directory)], check=True)


@pytest.fixture
def card(tmp_path: Path) -> Iterator[Card]:
    card = Card(tmp_path)
    yield card
    card.unmount()


def test_on_a_full_disk_memory_bridges_and_what_had_to_go_is_counted_when_room_returns(small_disk: Path) -> None:
    async def run() -> None:
        async with opened(small_disk, max_bytes=LARGE) as buffer:
            polling = Polling(buffer, memory_scans_max=MEMORY_MAX)
            await polling.until_refused()
            kept = polling.stored_to
            assert not await polling.cycles(20)
            assert polling.recorder.scans_in_memory == MEMORY_MAX
            await _confirm(buffer, Range(1, kept))
            assert await polling.cycle()
            lost = polling.polled - kept - MEMORY_MAX
            gap = Gap(1, GapReason.NOT_STORED, _time_of(kept + 1), _time_of(kept + lost))
            numbers = await _numbers(buffer)
            assert numbers[kept : kept + lost] == [gap] * lost
            assert numbers[kept + lost :] == _scans(kept + lost + 1, polling.polled)
            _check_confirmed(numbers[:kept])

    with capture_logs() as logs:
        asyncio.run(run())
    events = [entry["event"] for entry in logs]
    assert (events.count("storage_unavailable"), events.count("storage_recovered")) == (1, 1)


def test_a_full_disk_takes_each_scan_as_long_as_the_hub_confirms(small_disk: Path) -> None:
    async def run() -> None:
        async with opened(small_disk, max_bytes=LARGE) as buffer:
            polling = Polling(buffer)
            await polling.until_refused()
            refused = 0
            for _ in range(150):
                await _confirm(buffer, Range(1, polling.stored_to))
                refused += not await polling.cycle()
            assert refused == 0
            numbers = await _numbers(buffer)
            assert len(numbers) == polling.polled
            _check_confirmed(numbers)
        async with opened(small_disk, max_bytes=LARGE) as buffer:
            assert await Polling(buffer).cycle()

    asyncio.run(run())


def test_a_buffer_smaller_than_its_disk_is_never_refused_and_thins(small_disk: Path) -> None:
    async def run() -> None:
        async with opened(small_disk, max_bytes=MAX_BYTES_MIN) as buffer:
            polling = Polling(buffer)
            assert await polling.cycles(400)
            numbers = await _numbers(buffer)
        assert len(numbers) == polling.polled
        assert {number.reason for number in numbers if isinstance(number, Gap)} == {GapReason.THINNED}

    asyncio.run(run())
    used = sum(file.stat().st_blocks * 512 for file in small_disk.iterdir())
    assert used < MAX_BYTES_MIN * 1.1 + RESERVE_BYTES


@pytest.mark.parametrize("before", [1, 8, 150], ids=["at once", "early", "late"])
def test_a_disk_that_somebody_else_fills_costs_confirmed_scans_only(small_disk: Path, before: int) -> None:
    async def run() -> None:
        async with opened(small_disk, max_bytes=LARGE) as buffer:
            polling = Polling(buffer)
            assert await polling.cycles(before)
            await _confirm(buffer, Range(1, polling.stored_to // 2))
            confirmed = polling.stored_to // 2
            _fill(small_disk / "somebody-else")
            await polling.cycles(20)
            numbers = await _numbers(buffer)
            assert numbers[confirmed:] == _scans(confirmed + 1, len(numbers))
            _check_confirmed(numbers[:confirmed])
            (small_disk / "somebody-else").unlink()
            assert await polling.recorder.flush()
            assert await polling.cycles(20)
            assert (await _numbers(buffer))[confirmed:] == _scans(confirmed + 1, polling.polled)

    asyncio.run(run())


def test_an_agent_starts_on_a_full_disk_with_the_room_that_it_kept(small_disk: Path) -> None:
    async def run() -> None:
        async with opened(small_disk, max_bytes=LARGE) as buffer:
            polling = Polling(buffer)
            assert await polling.cycles(100)
            stream_id = buffer.stream_id
        _fill(small_disk / "somebody-else")
        async with opened(small_disk, max_bytes=LARGE) as buffer:
            later = Polling(buffer)
            assert not await later.cycle()
            (small_disk / "somebody-else").unlink()
            assert await later.recorder.flush()
            assert await _numbers(buffer) == _scans(1, later.polled)
            held = (await account_of(buffer)).streams[stream_id]
            assert list(held.numbers) == _scans(1, polling.polled)

    asyncio.run(run())


def test_a_card_that_turns_read_only_is_bridged_in_memory_and_has_everything_after_its_repair(
    card: Card,
) -> None:
    async def run() -> None:
        async with opened(card.directory) as buffer:
            polling = Polling(buffer, memory_scans_max=MEMORY_MAX)
            assert await polling.cycles(20)
            card.fail()
            assert not await polling.cycles(20)
            assert polling.recorder.is_storage_failing
            assert polling.recorder.scans_in_memory == MEMORY_MAX
            # What is on the card can still be delivered.
            assert await _numbers(buffer) == _scans(1, polling.stored_to)
            stream_id = buffer.stream_id
        with pytest.raises(StorageUnavailable, match="read-only"):
            await _open_and_close(card.directory)
        card.repair()
        async with opened(card.directory) as buffer:
            held = (await account_of(buffer)).streams[stream_id]
            assert list(held.numbers) == _scans(1, polling.stored_to)
            assert await Polling(buffer).cycle()

    with capture_logs() as logs:
        asyncio.run(run())
    assert [entry["event"] for entry in logs].count("storage_unavailable") == 1


async def _confirm(buffer: Buffer, span: Range) -> None:
    await buffer.record_belief(1, {buffer.stream_id: (RangeSet([span]), RangeSet())})


async def _open_and_close(directory: Path) -> None:
    async with opened(directory):
        pass


async def _numbers(buffer: Buffer) -> list[Scan | Gap]:
    return list((await account_of(buffer)).streams[buffer.stream_id].numbers)


def _scans(first: int, last: int) -> list[Scan | Gap]:
    return [make_scan(number, layout=1) for number in range(first, last + 1)]


def _check_confirmed(numbers: list[Scan | Gap]) -> None:
    """Check that what the hub has is as it was, or forgotten."""
    for number, content in enumerate(numbers, start=1):
        assert content in (make_scan(number, layout=1), Gap(1, GapReason.FORGOTTEN, 0, 0))


def _time_of(number: int) -> int:
    return make_scan(number).observed_at_ms


def _fill(path: Path) -> None:
    """Write until the disk is full to the last byte."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert os.statvfs(path).f_bavail == 0


def _run_as_root(*command: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a disk")
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip(f"{command[0]} is not installed")
    if done.returncode:
        pytest.skip(f"{command[0]} is not allowed here: {done.stderr.strip()}")
