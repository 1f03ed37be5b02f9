"""Hellos: what the agent tells the hub of its streams, and how it finds out whether a hub is there."""

import random
import secrets
from collections.abc import Callable

import structlog

from edge_agent.buffer.buffer import Buffer
from edge_agent.clock.clock import TaughtClock
from edge_agent.domain.backoff import backoff_s
from edge_agent.domain.delivery import Delivery
from edge_agent.uplink.uplink import Uplink
from protocol.errors import LimitExceeded
from protocol.messages import Ack, HeldStream, Hello, encode_hello, encode_manifest
from protocol.topics import Up

_RETRY_CAP_S = 120.0
_MANIFEST_ROUNDS_MAX = 3
"""Hellos that wait for a manifest to be known; batches then go without, and the hub keeps them raw."""

log = structlog.get_logger()


class Greeter:
    """Says hello on every connect, on demand, and every few hours, each time until the hub answers.

    Acknowledgements of batches tell nearly all that a hello asks for, and a hello costs as much as half an
    hour's readings.
    """

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
        agent_clock: TaughtClock,
    ) -> None:
        self.due_s = 0.0
        """When the next hello is to be said, by `clock`."""
        self._buffer, self._uplink, self._delivery = buffer, uplink, delivery
        self._agent_version, self._boot_id = agent_version, boot_id
        self._every_s, self._retry_first_s = every_s, retry_first_s
        self._clock, self._agent_clock = clock, agent_clock
        self._nonce = 0
        self._asked_ms = 0
        """When the hello under way was said, in monotonic milliseconds."""
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

    def ask_anew(self) -> None:
        """Say hello at once; no batch is sent before it is answered, and no answer to an earlier one counts."""
        self._nonce, self._is_answered = 0, False
        self._manifest_rounds = 0
        self.ask_now()

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

    def took(self, ack: Ack) -> bool:
        """Take in an acknowledgement of the present incarnation; say whether it answers our last hello."""
        self._wanted.update(ack.wanted_manifests)
        if not self._nonce or ack.answers_hello != self._nonce:
            return False
        self._nonce, self._unanswered, self._is_answered = 0, 0, True
        self._names_everything = False
        self.due_s = self._clock() + self._every_s * (0.9 + 0.2 * _chance())
        if ack.now_ms:
            self._set_clock(ack.now_ms)
        return True

    def _set_clock(self, hub_ms: int) -> None:
        """Learn the time from the answer to a hello; ask again soon while it is not good enough."""
        clock = self._agent_clock
        clock.hear_hub(hub_ms, asked_ms=self._asked_ms, answered_ms=clock.monotonic_ms())
        if not clock.is_trusted:
            self.due_s = self._clock() + self._retry_first_s

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
        hello = encode_hello(await self._make_hello())
        self._asked_ms = self._agent_clock.monotonic_ms()
        await self._uplink.publish(Up.HELLO, hello)

    async def _make_hello(self) -> Hello:
        held = {stream.stream_id: stream for stream in await self._buffer.streams()}
        named = self._delivery.streams_to_name(everything=self._names_everything or self._delivery.is_in_doubt)
        streams = []
        for stream_id in named:
            belief = self._delivery.streams[stream_id]
            outstanding = belief.outstanding.ranges
            lowest = min(held[stream_id].lowest_held, belief.next, *(span.first for span in outstanding[:1]))
            self._delivery.named(stream_id, lowest)
            streams.append(HeldStream(stream_id, lowest, belief.next, belief.committed))
        return Hello(
            agent_version=self._agent_version,
            incarnation=self._delivery.incarnation,
            manifest_hash=self._buffer.manifest_hash,
            boot_id=self._boot_id,
            clock="trusted" if self._agent_clock.is_trusted else "untrusted",
            now_ms=self._agent_clock.now_ms(),
            nonce=self._nonce,
            complete=len(named) == len(self._delivery.streams),
            streams=tuple(streams),
        )

    async def _send_manifests(self) -> None:
        """Send what the hub asked for, and find out by a hello whether it knows it now."""
        wanted, self._wanted = self._wanted, set()
        # First of all: while the manifests are under way, nobody may take the hub for ready.
        self._manifest_rounds += 1
        if self._manifest_rounds <= _MANIFEST_ROUNDS_MAX:
            self._is_answered = False
            self.ask_now()
        for manifest_hash in sorted(wanted):
            body = await self._buffer.manifest_body(manifest_hash)
            if body is None:
                log.warning("manifest_unknown", manifest=manifest_hash.hex())
                continue
            try:
                await self._uplink.publish(Up.MANIFEST, encode_manifest(body))
            except LimitExceeded as error:
                log.warning("manifest_too_large", reason=str(error))

    def _retry_wait_s(self) -> float:
        return backoff_s(self._unanswered, _chance(), first_s=self._retry_first_s, cap_s=_RETRY_CAP_S)


def _chance() -> float:
    return random.random()  # noqa: S311 - spread, not secrecy
