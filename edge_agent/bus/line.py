"""Bytes in and out of one line to meters: what TCP connections and serial ports have in common."""

import asyncio
import time
from abc import ABC, abstractmethod


class LineLost(Exception):
    """The connection or the device went away; the text says how, without a subject."""


class Line(ABC):
    """An open line. It collects what arrives; once lost or closed it stays so, and a new one is made."""

    idle_s: float = 0.0
    """When nothing came for so long after the last byte, nothing more belongs to it."""
    character_s: float = 0.0
    """What a character takes on the wire, as far as that is known here."""

    def __init__(self) -> None:
        self.received = bytearray()
        """What arrived and is not yet taken."""
        self.last_byte_at_s = time.monotonic()
        """When bytes arrived last, or the line was opened, by `time.monotonic`, which is the clock of asyncio too."""
        self.lost = ""
        """Why the line can be used no longer; empty while it can."""
        self._waiter: asyncio.Future[None] | None = None

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Send bytes.

        Raises: LineLost.
        """

    @abstractmethod
    def close(self, *, is_orderly: bool = True) -> None:
        """End the line; in no order, what is still under way is thrown away."""

    def drain(self) -> int:
        """Throw away what has arrived, and return how many bytes that were."""
        count = len(self.received)
        self.received.clear()
        return count

    async def wait(self, until_s: float) -> bool:
        """Wait for more bytes, to `until_s` (`time.monotonic`) at the longest, and say whether any came.

        Raises: LineLost.
        """
        self.require()
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        timer = loop.call_at(until_s, self._wake)
        before = len(self.received)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None
        if len(self.received) > before:
            return True  # also when the line was lost right after them: some devices answer and close
        self.require()
        return False

    def require(self) -> None:
        """Raise LineLost when the line can be used no longer."""
        if self.lost:
            raise LineLost(self.lost)

    def _take(self, data: bytes) -> None:
        self.received += data
        self.last_byte_at_s = time.monotonic()
        self._wake()

    def _lose(self, reason: str) -> None:
        self.lost = self.lost or reason
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
