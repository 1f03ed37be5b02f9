"""An event loop in a thread, and ways to end TCP connections as failing devices and links do."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import TypeVar

Result = TypeVar("Result")

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time left: closing sends RST instead of FIN, and throws away what is not sent yet."""


class LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self, name: str) -> None:
        """Start the thread."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[object, object, Result]) -> Result:
        """Run a coroutine there and wait for its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def call_later(self, delay_s: float, work: Callable[[], Coroutine[object, object, None]]) -> None:
        """Run a coroutine there after a while, without waiting."""
        self._loop.call_soon_threadsafe(
            lambda: self._loop.call_later(delay_s, lambda: asyncio.run_coroutine_threadsafe(work(), self._loop))
        )

    def stop(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def close_listener(listener: asyncio.Server) -> None:
    """Stop listening; no connection is left half accepted.

    asyncio forgets, neither served nor closed, a connection that it took from the kernel just before
    the close. So it is first kept from taking more, and given a turn to begin with those it has.
    """
    for listening in listener.sockets:
        asyncio.get_running_loop().remove_reader(listening.fileno())
    await asyncio.sleep(0)
    listener.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection at once, with a TCP reset."""
    raw = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
