"""What systemd is told: ready, stopping, and that work goes on. Plain datagrams; nothing without systemd.

Source: sd_notify(3).
"""

import asyncio
import socket
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from edge_agent.polling.supervisor import Progress
from edge_agent.settings import ServiceManager

log = structlog.get_logger()

_LOOKS_PER_PERIOD = 8
"""A late look must not cost a restart."""


class Storing(Protocol):
    """What the watchdog sees of the recorder."""

    @property
    def scans_in_memory(self) -> int:
        """How many scans are in memory and not on disk yet."""

    @property
    def is_storage_failing(self) -> bool:
        """Whether the disk refused the last time."""


class Notifier:
    """Sends state changes to the service manager."""

    def __init__(self, address: str | None) -> None:
        """Take the address of its socket; None where there is no service manager."""
        # A leading @ stands for the null byte of Linux' abstract names.
        self._address = "\0" + address[1:] if address and address.startswith("@") else address

    def ready(self) -> None:
        """Say that the start is complete."""
        self._send("READY=1")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Set the one line that `systemctl status` shows."""
        self._send(f"STATUS={text}")

    def feed_watchdog(self) -> None:
        """Say that work goes on."""
        self._send("WATCHDOG=1")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as connection:
                connection.sendto(state.encode(), self._address)
        except OSError as error:
            # Its absence must not stop the agent; a watchdog that waits in vain is seen from outside.
            log.debug("service_manager_not_told", state=state, reason=str(error))


class Watchdog:
    """Feeds systemd's watchdog, but only on real progress.

    Since the last feeding every bus with something due has finished a visit (or its loop is being begun
    anew), and what was recorded was committed, or the disk said definitely that it refuses: a restart
    would lose what is in memory.
    """

    def __init__(
        self,
        *,
        manager: ServiceManager,
        notifier: Notifier,
        buses: Callable[[], Mapping[str, Progress]],
        storing: Storing,
    ) -> None:
        self._period_s, self._notifier = manager.watchdog_s, notifier
        self._buses, self._storing = buses, storing
        self._polls: dict[str, int] = {}
        self._has_committed = False

    def committed(self) -> None:
        """Note that scans reached the disk."""
        self._has_committed = True

    async def run(self) -> None:
        """Feed until cancelled; return at once where nobody watches."""
        if self._period_s is None:
            return
        while True:
            if self._has_progressed():
                self._notifier.feed_watchdog()
                self._polls = {bus: progress.polls for bus, progress in self._buses().items()}
                self._has_committed = False
            await asyncio.sleep(self._period_s / _LOOKS_PER_PERIOD)

    def _has_progressed(self) -> bool:
        stores = self._has_committed or not self._storing.scans_in_memory or self._storing.is_storage_failing
        return stores and all(
            not progress.is_overdue or progress.polls > self._polls.get(bus, -1)
            for bus, progress in self._buses().items()
        )
