"""The line to the broker: connects, connects again, and says who is listening what the hub says.

Nothing in the broker matters to us: every connection starts clean, and what it did not acknowledge is
sent again by `edge_agent.uplink.forwarder`.
"""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import structlog

from edge_agent.domain.backoff import backoff_s
from edge_agent.domain.keepalive import Keepalive
from edge_agent.errors import AgentError, BrokerRefused, BrokerUnreachable
from edge_agent.uplink.connection import BrokerLogin, Connection, LastWill, unreachable
from edge_agent.uplink.tcp_info import LineBytes
from protocol import topics
from protocol.messages import Presence, Status, encode_status
from protocol.topics import Down, Up

FAILURE = 0x80
"""Reason codes from here on say that the broker did not take a message."""
NOBODY_LISTENED = 0x10

_LEAVE_TIMEOUT_S = 3.0
_REFUSED_FIRST_S, _REFUSED_CAP_S = 120.0, 600.0
_STABLE_S = 30.0
"""A connection that lasted this long ends a row of failures."""
_KEEPALIVE_S, _KEEPALIVE_MAX_S = 1200, 3600
_ARRIVES_WITH = {Down.ACK: 0, Down.CONFIG: 1, Down.COMMAND: 1}
"""The quality of service on the last hop. An ack that is lost costs a resend, never a reading, and TCP carries
it anyway for as long as the connection lives: having the broker told that it came would cost more."""

log = structlog.get_logger()


class Listener(Protocol):
    """What is called on the event loop; none of it may block."""

    def on_connected(self) -> None:
        """Learn that the broker took us in: from now on, everything the hub says arrives."""

    def on_disconnected(self) -> None:
        """Learn that the connection is gone: whatever was not acknowledged is in doubt."""

    def on_message(self, kind: Down, payload: bytes) -> None:
        """Take in what the hub said."""


@dataclass(slots=True)
class UplinkStats:
    """Counters since the start, for health."""

    bytes_up: int = 0
    """Payloads and topics; what TCP and TLS add is not in it."""
    bytes_down: int = 0
    connects: int = 0


class Uplink:
    """Keeps a connection to the broker for as long as `run` runs."""

    def __init__(
        self,
        *,
        controller_id: str,
        login: BrokerLogin,
        agent_version: str = "",
        boot_id: bytes = b"",
        keepalive: Keepalive | None = None,
        retry_first_s: float = 2.0,
        retry_cap_s: float = 120.0,
    ) -> None:
        self.stats = UplinkStats()
        self.keepalive = keepalive or Keepalive(_KEEPALIVE_S, max_s=_KEEPALIVE_MAX_S)
        """What the line has taught about silences; read at each connect."""
        self.on_keepalive_learnt: Callable[[], None] = lambda: None
        """Called when the line has taught something worth keeping."""
        self.fault: AgentError | None = None
        """Why there is no connection; None while there is one, or before the first attempt."""
        self._controller_id = controller_id
        self._login = login
        self._agent_version, self._boot_id = agent_version, boot_id
        self._retry_first_s, self._retry_cap_s = retry_first_s, retry_cap_s
        self._listeners: list[Listener] = []
        self._connection: Connection | None = None
        self._attempt: Connection | None = None
        """The connection, or what may become one."""
        self._failures = 0
        self._died_after_idle_s: float | None = None
        self._bytes_before = LineBytes()
        self._leaving = asyncio.Event()

    @property
    def line_bytes(self) -> LineBytes:
        """Return the bytes of IP packets to and from the broker since the start, as the kernel counted them."""
        if self._attempt is None:
            return self._bytes_before
        return self._bytes_before + self._attempt.watch.bytes

    @property
    def is_connected(self) -> bool:
        """Say whether the broker has taken us in, as far as we know."""
        return self._connection is not None

    def listen(self, listener: Listener) -> None:
        """Tell a listener from now on; before `run`."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Connect, and connect again, until cancelled or stopped."""
        while not self._leaving.is_set():
            wait_s = await self._connect_once()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._leaving.wait()

    async def publish(self, kind: Up, payload: bytes, *, retain: bool = False) -> int:
        """Say something under our own topic and return the broker's reason code.

        From `FAILURE` on the broker did not take it; `NOBODY_LISTENED` says that no hub is there.
        Raises: BrokerUnreachable when there is no connection, or it ends before the broker answers.
        """
        if self._connection is None:
            raise unreachable(self._login, "not connected yet")
        topic = topics.up(self._controller_id, kind)
        self.stats.bytes_up += len(topic) + len(payload)
        return await self._connection.publish(topic, payload, retain=retain)

    async def stop(self) -> None:
        """Say that we leave on purpose, and disconnect."""
        self._leaving.set()
        connection = self._connection
        if connection is None:
            return
        with suppress(BrokerUnreachable, TimeoutError):
            async with asyncio.timeout(_LEAVE_TIMEOUT_S):
                await self.publish(Up.STATUS, self._status(Presence.LEAVING), retain=True)
        connection.leave()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_TIMEOUT_S):
                await asyncio.shield(connection.ended)

    async def _connect_once(self) -> float:
        """Live through one connection; return the seconds to wait before the next."""
        connection = self._attempt = Connection(
            login=self._login,
            client_id=self._controller_id,
            keepalive_s=self.keepalive.in_use_s,
            will=LastWill(topics.up(self._controller_id, Up.STATUS), self._status(Presence.OFFLINE)),
            subscriptions={topics.down(self._controller_id, kind): _ARRIVES_WITH[kind] for kind in Down},
            on_message=self._on_message,
            on_survived=self._survived,
        )
        try:
            error: AgentError = await self._live_through(connection)
        except (BrokerUnreachable, BrokerRefused) as refusal:
            error = refusal
            self._failures += 1
        finally:
            connection.end("the agent gives it up")
        await connection.closed()
        self._ended(connection)
        self._say_once(error)
        return self._wait_s(error)

    async def _live_through(self, connection: Connection) -> AgentError:
        """Open a connection, serve it, and return why it ended.

        Raises: BrokerUnreachable, BrokerRefused when it does not open.
        """
        await connection.open()
        began_s = time.monotonic()
        self._connected(connection)
        try:
            return await asyncio.shield(connection.ended)
        finally:
            self._failures = 1 if time.monotonic() - began_s >= _STABLE_S else self._failures + 1
            self._connection = None
            for listener in self._listeners:
                _tell(listener.on_disconnected)

    def _ended(self, connection: Connection) -> None:
        self._bytes_before += connection.watch.bytes
        self._attempt = None
        self._died_after_idle_s = connection.watch.died_after_idle_s

    def _survived(self, idle_s: float) -> None:
        if self.keepalive.survived(idle_s):
            self.on_keepalive_learnt()

    def _learn(self, attempts: int) -> None:
        """Learn from how the last line ended, when its network was there all the time: it had forgotten us."""
        idle_s, self._died_after_idle_s = self._died_after_idle_s, None
        if idle_s is None or attempts > 1:
            return
        if self.keepalive.died(idle_s):
            log.info("keepalive_shortened", died_after_idle_s=round(idle_s), keepalive_s=self.keepalive.in_use_s)
        self.on_keepalive_learnt()

    def _connected(self, connection: Connection) -> None:
        self._learn(self._failures)
        self._connection = connection
        self.fault = None
        self.stats.connects += 1
        log.info("broker_connected", host=self._login.host, port=self._login.port, attempts=self._failures + 1)
        topic = topics.up(self._controller_id, Up.STATUS)
        payload = self._status(Presence.ONLINE)
        self.stats.bytes_up += len(topic) + len(payload)
        connection.publish_unwatched(topic, payload, retain=True)
        for listener in self._listeners:
            _tell(listener.on_connected)

    def _on_message(self, topic: str, payload: bytes) -> None:
        self.stats.bytes_down += len(topic) + len(payload)
        kind = next((kind for kind in Down if topic == topics.down(self._controller_id, kind)), None)
        if kind is None:
            return
        for listener in self._listeners:
            _tell(partial(listener.on_message, kind, payload))

    def _say_once(self, error: AgentError) -> None:
        """Log why there is no connection when that is news."""
        is_news = type(error) is not type(self.fault) and not self._leaving.is_set()
        self.fault = error
        if not is_news:
            return
        event = "broker_refused" if isinstance(error, BrokerRefused) else "broker_unreachable"
        log.warning(event, reason=str(error))

    def _wait_s(self, error: AgentError) -> float:
        jitter = random.random()  # noqa: S311 - spread, not secrecy
        if isinstance(error, BrokerRefused):
            return backoff_s(self._failures, jitter, first_s=_REFUSED_FIRST_S, cap_s=_REFUSED_CAP_S)
        return backoff_s(self._failures, jitter, first_s=self._retry_first_s, cap_s=self._retry_cap_s)

    def _status(self, presence: Presence) -> bytes:
        return encode_status(
            Status(
                presence=presence,
                agent_version=self._agent_version,
                boot_id=self._boot_id.hex(),
                at_ms=time.time_ns() // 1_000_000,
            )
        )


def _tell(callback: Callable[[], None]) -> None:
    """Call a listener; its mistake is its own and never ends the uplink."""
    try:
        callback()
    except Exception:
        log.exception("uplink_listener_failed")
