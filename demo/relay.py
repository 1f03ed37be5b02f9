"""A TCP relay that can fail as a cellular link does, and counts the bytes that pass."""

import asyncio
import contextlib
from collections.abc import Coroutine
from enum import Enum
from types import TracebackType
from typing import Self

from demo.errors import DemoError
from simulator.tcp import LoopThread, close_listener, reset

_CHUNK_BYTES = 64 * 1024


class Link(Enum):
    """What the relay does with connections."""

    OPEN = "open"
    CUT = "cut"
    """Existing connections are reset, new ones refused."""
    STALLED = "stalled"
    """Half open: connections stand and new ones are accepted, but nothing passes."""


class Relay:
    """Forward 127.0.0.1:`port` to a target, in a thread of its own. Use as a context manager."""

    def __init__(self, target_host: str, target_port: int, *, port: int = 0) -> None:
        """Describe the relay; port 0 takes a free one."""
        self.port = port
        self.bytes_up = 0
        """Payload of TCP from the clients to the target."""
        self.bytes_down = 0
        """Payload of TCP from the target to the clients."""
        self._target = (target_host, target_port)
        self._link = Link.OPEN
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()
        self._passable = asyncio.Event()
        self._loop: LoopThread | None = None

    @property
    def connections(self) -> int:
        """How many sockets are connected through, both sides counted."""
        return len(self._connections)

    def start(self) -> None:
        """Listen.

        Raises: DemoError when the port is in use.
        """
        self._loop = LoopThread("relay")
        self._passable.set()
        try:
            self._call(self._listen())
        except OSError as error:
            self._end_loop()
            raise DemoError(f"the relay cannot listen on 127.0.0.1:{self.port}: {error.strerror}") from error

    def stop(self) -> None:
        """Reset what is connected and stop listening."""
        if self._loop is not None:
            self.cut()
            self._end_loop()

    def cut(self) -> None:
        """Reset all connections and refuse new ones, until `restore`."""
        self._call(self._cut())

    def stall(self) -> None:
        """Let nothing pass but keep all connections, until `restore`; what stalled then goes on."""
        self._call(self._stall())

    def restore(self) -> None:
        """Forward again."""
        self._call(self._restore())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _call(self, work: Coroutine[object, object, None]) -> None:
        if self._loop is None:
            work.close()
            raise DemoError("the relay is not started")
        self._loop.call(work)

    def _end_loop(self) -> None:
        if self._loop is not None:
            self._loop.stop()
            self._loop = None

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _cut(self) -> None:
        self._link = Link.CUT
        if self._server is not None:
            listener, self._server = self._server, None
            await close_listener(listener)
        for writer in tuple(self._connections):
            reset(writer)
        self._passable.set()  # wakes what stalled, to find its connection gone
        await self._until_idle()

    async def _stall(self) -> None:
        await self._listen()
        self._link = Link.STALLED
        self._passable.clear()

    async def _restore(self) -> None:
        await self._listen()
        self._link = Link.OPEN
        self._passable.set()

    async def _until_idle(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task.get_name() == "relay connection"]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            task.set_name("relay connection")
        self._connections.add(writer)
        try:
            await self._passable.wait()
            if self._link is Link.OPEN:
                await self._join(reader, writer)
        except OSError:
            pass  # the target refuses: the client sees its connection end, as it would without a relay
        finally:
            self._connections.discard(writer)
            if not writer.is_closing():
                reset(writer)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target_reader, target_writer = await asyncio.open_connection(*self._target)
        self._connections.add(target_writer)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass(reader, target_writer, is_up=True))
                both.create_task(self._pass(target_reader, writer, is_up=False))
            # Both sides are done. A reset could overtake what one of them has still to read.
            target_writer.close()
            writer.close()
        except* OSError:
            reset(writer)  # one side went away, which ends the other
        finally:
            self._connections.discard(target_writer)
            if not target_writer.is_closing():
                reset(target_writer)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_up: bool) -> None:
        while data := await source.read(_CHUNK_BYTES):
            await self._passable.wait()
            if is_up:
                self.bytes_up += len(data)
            else:
                self.bytes_down += len(data)
            sink.write(data)
            await sink.drain()
        with contextlib.suppress(OSError):
            sink.write_eof()
