"""systemd hears of the start, of the end, and of real progress only."""

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_agent.polling.supervisor import Progress
from edge_agent.settings import ServiceManager, read_service_manager
from edge_agent.systemd import Notifier, Watchdog

PERIOD_S = 0.2
LOOKS_S = PERIOD_S * 2


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.setblocking(False)
        yield receiver


def heard(manager: socket.socket) -> list[str]:
    said = []
    while True:
        try:
            said.append(manager.recv(4096).decode())
        except BlockingIOError:
            return said


@dataclass
class Agent:
    """What the watchdog looks at."""

    polls: int = 0
    is_overdue: bool = True
    scans_in_memory: int = 0
    is_storage_failing: bool = False
    advances: bool = True

    def buses(self) -> dict[str, Progress]:
        """Tell of a good bus and of the one that the test is about; both go on with each look unless told."""
        self.polls += self.advances
        return {"good": Progress(0, is_overdue=False), "bus": Progress(self.polls, self.is_overdue)}


def feedings(manager: socket.socket, agent: Agent, *, commits: bool = False) -> int:
    """Let the watchdog look for a while after its first feeding, and count how often it was fed then."""

    async def inner() -> int:
        watchdog = Watchdog(
            manager=ServiceManager(manager.getsockname(), PERIOD_S),
            notifier=Notifier(manager.getsockname()),
            buses=agent.buses,
            storing=agent,
        )
        watchdog.committed()
        task = asyncio.create_task(watchdog.run())
        async with asyncio.timeout(10):
            while "WATCHDOG=1" not in heard(manager):  # noqa: ASYNC110 - a datagram socket has no event
                await asyncio.sleep(0.005)
        looks = 0
        while looks < 10:
            looks += 1
            if commits:
                watchdog.committed()
            await asyncio.sleep(LOOKS_S / 10)
        task.cancel()
        return heard(manager).count("WATCHDOG=1")

    return asyncio.run(inner())


def test_progress_feeds_the_watchdog(manager: socket.socket) -> None:
    assert feedings(manager, Agent()) > 0


def test_bus_with_nothing_due_does_not_stop_the_feeding(manager: socket.socket) -> None:
    assert feedings(manager, Agent(advances=False, is_overdue=False)) > 0


def test_stalled_bus_stops_the_feeding(manager: socket.socket) -> None:
    assert feedings(manager, Agent(advances=False)) == 0


def test_hung_recorder_stops_the_feeding(manager: socket.socket) -> None:
    assert feedings(manager, Agent(scans_in_memory=3)) == 0


def test_recorder_that_commits_feeds_it(manager: socket.socket) -> None:
    assert feedings(manager, Agent(scans_in_memory=3), commits=True) > 0


def test_disk_that_refuses_definitely_does_not_stop_the_feeding(manager: socket.socket) -> None:
    """A restart would lose what memory bridges."""
    assert feedings(manager, Agent(scans_in_memory=3, is_storage_failing=True)) > 0


def test_nobody_is_fed_where_nobody_watches() -> None:
    watchdog = Watchdog(manager=ServiceManager(), notifier=Notifier(None), buses=dict, storing=Agent())
    asyncio.run(asyncio.wait_for(watchdog.run(), 10))


def test_start_status_and_end_are_said(manager: socket.socket) -> None:
    notifier = Notifier(manager.getsockname())
    notifier.ready()
    notifier.status("6 meters")
    notifier.stopping()
    assert heard(manager) == ["READY=1", "STATUS=6 meters", "STOPPING=1"]


def test_manager_that_is_gone_does_not_stop_the_agent(tmp_path: Path) -> None:
    Notifier(str(tmp_path / "nowhere")).ready()


def test_abstract_name_of_the_socket_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0meterhaul-test-notify")
        Notifier("@meterhaul-test-notify").ready()
        assert receiver.recv(100) == b"READY=1"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ServiceManager()),
        ({"NOTIFY_SOCKET": "/run/notify"}, ServiceManager("/run/notify")),
        ({"WATCHDOG_USEC": "30000000"}, ServiceManager(None, 30.0)),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, ServiceManager()),
        ({"WATCHDOG_USEC": "soon"}, ServiceManager()),
    ],
)
def test_environment_says_what_systemd_wants(environment: dict[str, str], expected: ServiceManager) -> None:
    assert read_service_manager(environment) == expected
