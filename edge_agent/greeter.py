"""Hellos: what the agent tells the hub of its streams, and how it finds out whether a hub is there."""

import random
import secrets
import time
from collections.abc import Callable

import structlog

from edge_agent.buffer import Buffer
from edge_agent.domain.backoff import backoff_s
from edge_agent.domain.delivery import Delivery
from edge_agent.uplink import Uplink
from protocol.errors import LimitExceeded
from protocol.messages import Ack, HeldStream, Hello, encode_hello, encode_manifest
from protocol.topics import Up

_RETRY_CAP_S = 120.0
_MANIFEST_ROUNDS_MAX = 3
"""Hellos that wait for a manifest to be known; batches then go without, and the hub keeps them raw."""

log = structlog.get_logger()


class Greeter:
    """Says hello on every connect, every few minutes and on demand, until the hub answers."""

    def __init__(
        self,
        *,
        buffer: Buffer,
        uplink: Uplink,
        delivery: Delivery,
        agent_version: str,
        boot_id: bytes,
        every_s: float,
        retry_first_s: float,
        clock: Callable[[], float],
    ) -> None:
        self.due_s = 0.0
        """When the next hello is to be said, by `clock`."""
        self._buffer, self._uplink, self._delivery = buffer, uplink, delivery
        self._agent_version, self._boot_id = agent_version, boot_id
        self._every_s, self._retry_first_s = every_s, retry_first_s
        self._clock = clock
        self._nonce = 0
        self._unanswered = 0
        self._is_answered = False
        self._names_everything = True
        self._wanted: set[bytes] = set()
        self._manifest_rounds = 0

    @property
    def is_awake(self) -> bool:
        """Say whether a hub is there to take batches, as far as we know."""
        return self._is_answered and self._unanswered <= 1 and not self._wanted

    def connected(self) -> None:
        """Begin again on a new connection: a hello that names everything is due."""
        self._nonce, self._unanswered, self._is_answered = 0, 0, False
        self._names_everything = True
        self._wanted.clear()
        self._manifest_rounds = 0
        self.due_s = self._clock()

    def ask_now(self) -> None:
        """Say hello at once."""
        self.due_s = self._clock()

    def suspect(self) -> None:
        """Say hello at once, unless one is under way: batches stay without an answer."""
        if not self._unanswered:
            self.ask_now()

    def hub_is_gone(self) -> None:
        """Wait for the answer to a hello before anything else is sent: nobody listens."""
        if self._is_answered:
            self._is_answered = False
            self._unanswered += 1
            self.due_s = self._clock() + self._retry_wait_s()

    def took(self, ack: Ack) -> None:
        """Take in an acknowledgement of the present incarnation."""
        self._wanted.update(ack.wanted_manifests)
        if not self._nonce or ack.answers_hello != self._nonce:
            return
        self._nonce, self._unanswered, self._is_answered = 0, 0, True
        self._names_everything = False
        self.due_s = self._clock() + self._every_s * (0.9 + 0.2 * _chance())

    async def say_due(self) -> None:
        """Send the manifests that were asked for, and a hello when one is due.

        Raises: BrokerUnreachable, StorageUnavailable.
        """
        if self._wanted:
            await self._send_manifests()
        if self._clock() >= self.due_s:
            await self._say_hello()

    async def _say_hello(self) -> None:
        self._unanswered += 1
        self._nonce = secrets.randbits(32) | 1
        self.due_s = self._clock() + self._retry_wait_s()
        await self._uplink.publish(Up.HELLO, encode_hello(await self._make_hello()))

    async def _make_hello(self) -> Hello:
        held = {stream.stream_id: stream for stream in await self._buffer.streams()}
        named = self._delivery.streams_to_name(everything=self._names_everything or self._delivery.is_in_doubt)
        streams = []
        for stream_id in named:
            belief = self._delivery.streams[stream_id]
            outstanding = belief.outstanding.ranges
            lowest = min(held[stream_id].lowest_held, belief.next, *(span.first for span in outstanding[:1]))
            streams.append(HeldStream(stream_id, lowest, belief.next, belief.committed))
        return Hello(
            agent_version=self._agent_version,
            incarnation=self._delivery.incarnation,
            manifest_hash=self._buffer.manifest_hash,
            boot_id=self._boot_id,
            clock="trusted",
            now_ms=time.time_ns() // 1_000_000,
            nonce=self._nonce,
            complete=len(named) == len(self._delivery.streams),
            streams=tuple(streams),
        )

    async def _send_manifests(self) -> None:
        """Send what the hub asked for, and find out by a hello whether it knows it now."""
        wanted, self._wanted = self._wanted, set()
        for manifest_hash in sorted(wanted):
            body = await self._buffer.manifest_body(manifest_hash)
            if body is None:
                log.warning("manifest_unknown", manifest=manifest_hash.hex())
                continue
            try:
                await self._uplink.publish(Up.MANIFEST, encode_manifest(body))
            except LimitExceeded as error:
                log.warning("manifest_too_large", reason=str(error))
        self._manifest_rounds += 1
        if self._manifest_rounds <= _MANIFEST_ROUNDS_MAX:
            self._is_answered = False
            self.ask_now()

    def _retry_wait_s(self) -> float:
        return backoff_s(self._unanswered, _chance(), first_s=self._retry_first_s, cap_s=_RETRY_CAP_S)


def _chance() -> float:
    return random.random()  # noqa: S311 - spread, not secrecy
