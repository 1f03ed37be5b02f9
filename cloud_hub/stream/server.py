"""The process that keeps streams open: one event loop for all of them, so that an open page holds no thread.

uvicorn rather than granian, which serves the web: its `send` waits while a reader does not read, and only so
is a slow one noticed. The application below it is a few lines of ASGI; what a request may have is asked of the
web application (`cloud_hub.stream.door`).
"""

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import structlog
import uvicorn
from flask import Flask
from sqlalchemy import Engine

from cloud_hub.errors import SettingsError
from cloud_hub.process import stop_on_signals
from cloud_hub.stream.api import PATH
from cloud_hub.stream.connection import Connection, write_frame
from cloud_hub.stream.door import Door, Refusal, Scope, refuse
from cloud_hub.stream.listening import keep_listening
from cloud_hub.stream.switchboard import Full, Switchboard
from cloud_hub.stream.ticket import Ticket

THREADS: Final = 4
_SEND_BUFFER_BYTES = 128 * 1024
_PIECE_BYTES = 16 * 1024
_LOST_AFTER_MS = 60_000
_HEALTH = ("/health/live", "/health/ready")
_END_WITHIN_S = 3
GONE: Final = "gone"
"""Why a stream ends whose reader went away."""
_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would collect what it should hand on
    (b"x-content-type-options", b"nosniff"),
)

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often, and how long."""

    heartbeat_s: float = 20.0
    """Shorter than the minute or so after which proxies give a silent connection up."""
    recheck_s: float = 60.0
    """A session that was revoked is told no more after this."""
    slow_s: float = 20.0
    """For so long a reader may leave what was sent unread."""
    values_every_s: float = 1.0
    retry_ms: tuple[int, int] = (2000, 6000)
    """When readers of a stream that broke come back: not all at one moment."""


class Streams:
    """The ASGI application."""

    def __init__(self, app: Flask, engine: Engine, *, pace: Pace | None = None, **limits: int) -> None:
        """Ask `app` who may come in, and read by `engine`; `limits` are the switchboard's. Opens no connection."""
        self.pace = pace or Pace()
        # Apart, so that a thousand readers who come back at one moment do not hold up what those in here are told.
        self._doormen = ThreadPoolExecutor(THREADS, thread_name_prefix="door")
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="read")
        self._door = Door(app)
        self._engine = engine
        self.board = Switchboard(engine, self._threads, values_every_s=self.pace.values_every_s, **limits)
        self._tasks: list[asyncio.Task[None]] = []
        self._is_ending = False

    def begin(self) -> None:
        """Begin to listen to the database; call it in the event loop."""
        for work, name in (
            (keep_listening(self._engine, self._threads, self.board.notice), "listen"),
            (self.board.keep_telling_values(), "values"),
        ):
            self._tasks.append(asyncio.create_task(work, name=name))

    def end(self) -> None:
        """End every stream, and let nobody in any more."""
        self._is_ending = True
        for connection in self.board.connections():
            connection.end("restart")
        for task in self._tasks:
            task.cancel()
        for pool in (self._doormen, self._threads):
            pool.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, request: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if request["path"] not in {PATH, *_HEALTH}:
            detail = f"this process serves {PATH} alone: let the proxy in front route everything else to 'meterhaul hub serve'"
            await _answer(send, refuse(HTTPStatus.NOT_FOUND, detail))
            return
        if request["method"] != "GET":
            await _answer(send, refuse(HTTPStatus.METHOD_NOT_ALLOWED, "streams are read: send a GET", allow="GET"))
            return
        answer = await self._ask(request)
        if isinstance(answer, Refusal):
            await _answer(send, answer)
            return
        last_id = _last_event_id(request)
        if isinstance(last_id, Refusal):
            await _answer(send, last_id)
            return
        try:
            connection = await self.board.join(answer)
        except Full as full:
            status = HTTPStatus.TOO_MANY_REQUESTS if full.is_own_fault else HTTPStatus.SERVICE_UNAVAILABLE
            await _answer(send, refuse(status, str(full), retry_after="10"))
            return
        try:
            await self._tell(connection, last_id, request, receive, send)
        except TimeoutError:
            log.info("reader_cut", user_id=answer.user_id, reason="slow")
        finally:
            self.board.leave(connection)

    async def _ask(self, request: Scope) -> Ticket | Refusal:
        if self._is_ending:
            return refuse(HTTPStatus.SERVICE_UNAVAILABLE, "this process is about to end: try again", retry_after="5")
        return await asyncio.get_running_loop().run_in_executor(self._doormen, self._door.ask, request)

    async def _tell(
        self, connection: Connection, last_id: int | None, request: Scope, receive: Receive, send: Send
    ) -> None:
        if last_id is not None:
            connection.resume(last_id)
        await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": list(_HEADERS)})
        await self._send(send, f"retry: {random.randint(*self.pace.retry_ms)}\n".encode())  # noqa: S311 - spreads, hides nothing
        await self._send(send, write_frame("ready", "{}", position=connection.told))
        watch = asyncio.create_task(_wait_until_gone(receive, connection), name="watch")
        try:
            await self._keep_telling(connection, request, send)
        finally:
            watch.cancel()

    async def _catch_up(self, connection: Connection, send: Send) -> None:
        """Tell what did not wait, as fast as it is read and no faster."""
        ticket, after, until = connection.ticket, connection.told, connection.catch_up()
        while not connection.end_reason and after < until and (found := await self.board.missed(ticket, after, until)):
            after = found[-1].position
            frames = b"".join(told.frame for told in found if ticket.wants(told.kind, told.site_id))
            if frames:
                await self._send(send, frames)
        connection.told = until

    async def _keep_telling(self, connection: Connection, request: Scope, send: Send) -> None:
        now = asyncio.get_running_loop().time
        # Not all streams that were opened together ask again together.
        recheck_at = now() + self.pace.recheck_s * random.uniform(0.8, 1.0)  # noqa: S311 - as above
        values_from = beat_at = now()
        beat_at += self.pace.heartbeat_s
        while not connection.end_reason:
            if now() >= recheck_at:
                await self._recheck(connection, request)
                recheck_at = now() + self.pace.recheck_s
                continue
            if connection.is_behind:
                await self._catch_up(connection, send)
                continue
            chunk = connection.take_events()
            if connection.has_values and now() >= values_from:
                chunk += connection.take_values()
                values_from = now() + self.pace.values_every_s
            if not chunk and now() >= beat_at:
                chunk = b": still here\n\n"
            if chunk:
                await self._send(send, chunk)
                beat_at = now() + self.pace.heartbeat_s
                continue
            due = [recheck_at, beat_at, *([values_from] if connection.has_values else [])]
            await connection.wait(max(0.0, min(due) - now()))
        if connection.end_reason != GONE:
            await self._send(send, connection.farewell(), is_last=True)

    async def _recheck(self, connection: Connection, request: Scope) -> None:
        """Ask again who this is: a session may have been revoked, a role changed, a meter added."""
        answer = await self._ask(request)
        if isinstance(answer, Ticket) and answer.scope == connection.ticket.scope:
            connection.knows_values = connection.ticket.meter_ids == answer.meter_ids
            connection.ticket = answer
        elif isinstance(answer, Ticket):
            connection.end("rights changed")  # who comes back is told by the new ones
        elif answer.status < HTTPStatus.INTERNAL_SERVER_ERROR and answer.status != HTTPStatus.TOO_MANY_REQUESTS:
            connection.end("not permitted any more")

    async def _send(self, send: Send, body: bytes, *, is_last: bool = False) -> None:
        # In pieces: a reader on a thin line takes each in time, one who does not read takes none.
        for start in range(0, len(body), _PIECE_BYTES):
            async with asyncio.timeout(self.pace.slow_s):
                await send(_body(body[start : start + _PIECE_BYTES], more=True))
        if is_last:
            async with asyncio.timeout(self.pace.slow_s):
                await send(_body(b"", more=False))


class _Server(uvicorn.Server):
    """uvicorn that ends our streams before it waits for them."""

    def __init__(self, config: uvicorn.Config, streams: Streams) -> None:
        super().__init__(config)
        self._streams = streams

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin."""
        self._streams.begin()
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        self._streams.end()
        await super().shutdown(sockets)


def make_server(streams: Streams) -> uvicorn.Server:
    """Make the server; `run` it with the socket of `listen`."""
    config = uvicorn.Config(
        streams,
        lifespan="off",
        ws="none",
        interface="asgi3",
        access_log=False,
        log_config=None,
        log_level="critical",
        proxy_headers=False,  # the web application knows which proxies it trusts
        server_header=False,
        timeout_graceful_shutdown=_END_WITHIN_S,
    )
    return _Server(config, streams)


def run(streams: Streams, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT. Blocks."""
    host, port = listener.getsockname()[:2]
    log.info("streaming", url=f"http://{f'[{host}]' if ':' in host else host}:{port}{PATH}")
    stop_on_signals()  # uvicorn has its own while it serves, and then raises what it got once more
    make_server(streams).run(sockets=[listener])
    log.info("stopped")


def listen(host: str, port: int) -> socket.socket:
    """Open the socket that readers come to; 0 takes a free port.

    Raises: SettingsError.
    """
    if not 0 <= port <= 0xFFFF:
        raise SettingsError(f"there is no port {port}: give a number from 0 to 65535 with --port")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by every connection: a thousand slow readers fill this much of the kernel's memory, no more.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        # A reader that vanished, or that never reads, is given up by the kernel.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _LOST_AFTER_MS)
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {host} port {port} ({error.strerror}): check --host and --port"
        ) from error
    return listener


def _body(piece: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": piece, "more_body": more}


async def _answer(send: Send, refusal: Refusal) -> None:
    await send({"type": "http.response.start", "status": refusal.status, "headers": list(refusal.headers)})
    await send(_body(refusal.body, more=False))


async def _wait_until_gone(receive: Receive, connection: Connection) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    connection.end(GONE)


def _last_event_id(request: Scope) -> int | Refusal | None:
    values = [value for name, value in request["headers"] if name == b"last-event-id" and value]
    if not values:
        return None
    if not values[0].isdigit() or len(values[0]) > 18:
        return refuse(
            HTTPStatus.UNPROCESSABLE_ENTITY, "Last-Event-ID is not one that a stream gave out: begin without it"
        )
    return int(values[0])
