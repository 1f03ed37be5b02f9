"""A controller whose card has turned read-only for good still delivers, and goes back to the disk by itself."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from acking_hub import AckingHub
from agent_process import AgentProcess, two_meters
from edge_factories import contents, make_scans, opened, read_all

from demo.mosquitto import PrivateMosquitto
from demo.processes import wait_until
from edge_agent.buffer.inspect import inspect_buffer
from edge_agent.buffer.refuge import Refuge
from edge_agent.errors import StorageUnavailable

IMAGE_BYTES = 8 * 2**20


class Card:
    """A card with ext4, mounted read-only."""

    def __init__(self, directory: Path, image: Path) -> None:
        self.directory = directory
        directory.mkdir()
        with image.open("wb") as file:
            file.truncate(IMAGE_BYTES)
        _as_root("mkfs.ext4", "-q", str(image))
        _as_root("mount", "-o", "loop", str(image), str(directory))
        _as_root("mount", "-o", "remount,ro", str(directory))

    def mend(self) -> None:
        """Let it be written to again."""
        _as_root("mount", "-o", "remount,rw", str(self.directory))


def _as_root(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs root and a loop device: {done.stderr.strip()}")


@pytest.fixture
def card(tmp_path: Path) -> Iterator[Card]:
    card = Card(tmp_path / "data", tmp_path / "image")
    yield card
    subprocess.run(["umount", str(card.directory)], check=True)


@pytest.fixture
def refuge(tmp_path: Path) -> Iterator[Refuge]:
    refuge = Refuge(tmp_path / "data")
    yield refuge
    refuge.leave()


def test_a_read_only_card_costs_no_reading_and_is_used_again_when_it_is_mended(
    tmp_path: Path, broker: PrivateMosquitto, card: Card, refuge: Refuge
) -> None:
    login = broker.add_controller("refuge-1")
    with two_meters() as meters, AckingHub(broker.hub) as hub:
        settings = "[buffer]\ndisk_retry_s = 0.2\n"
        agent = AgentProcess(tmp_path, login.username, login.port, login.password, meters, more_settings=settings)
        with agent.process:
            wait_until(lambda: hub.scans >= 20, 30, "readings arrive although the disk takes nothing")
            assert "read-only" in agent.events("running_in_memory")[0]["reason"].lower()
            wait_until(lambda: any(health.buffer["is_in_memory"] for health in hub.healths), 30, "health tells")
            card.mend()
            wait_until(lambda: agent.events("buffer_returns_to_disk") != [], 30, "the agent notices")
            wait_until(lambda: agent.has_stored, 30, "scans are on the card")
    assert not refuge.directory.exists()
    assert len(inspect_buffer(card.directory / "buffer.sqlite3").streams) == 2
    for entries in hub.entries.values():
        assert sorted(entries) == list(range(1, len(entries) + 1))


def test_streams_in_memory_are_brought_home_once_and_whole(tmp_path: Path) -> None:
    asyncio.run(_bring_twice(tmp_path))


async def _bring_twice(tmp_path: Path) -> None:
    home = tmp_path / "data"
    home.mkdir()
    refuge = Refuge(home, memory=tmp_path)
    async with opened(home, name="buffer.sqlite3") as buffer:
        await buffer.append(make_scans(1, 3))
        first = buffer.stream_id
    refuge.prepare()
    async with opened(refuge.directory, name="buffer.sqlite3") as buffer:
        await buffer.append(make_scans(4, 9))
        second = buffer.stream_id
    path = home / "buffer.sqlite3"
    copy = refuge.path.read_bytes()
    refuge.bring_home(path)
    assert not refuge.directory.exists()
    refuge.prepare()
    refuge.path.write_bytes(copy)  # as after a power cut behind the commit
    refuge.bring_home(path)
    async with opened(home, name="buffer.sqlite3") as buffer:
        assert contents(await read_all(buffer, first)) == make_scans(1, 3)
        assert contents(await read_all(buffer, second)) == make_scans(4, 9)
        assert [stream.stream_id for stream in await buffer.streams()] == [first, second, buffer.stream_id]


def test_a_directory_that_is_not_ours_alone_is_no_refuge(tmp_path: Path) -> None:
    refuge = Refuge(tmp_path / "data", memory=tmp_path)
    refuge.directory.mkdir()
    refuge.directory.chmod(0o777)
    with pytest.raises(StorageUnavailable, match="is not ours alone: remove it"):
        refuge.prepare()
