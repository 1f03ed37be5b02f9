"""From the buffer to the hub: send, and believe only what the hub says its database has committed.

What to send next is decided by `edge_agent.domain.delivery`; here are the clock, the line and the disk.
"""

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import dataclass

import structlog

from edge_agent.buffer import Buffer, Slice
from edge_agent.domain.backoff import backoff_s
from edge_agent.domain.delivery import AckEffect, Belief, Delivery, Policy
from edge_agent.errors import BrokerUnreachable, StorageUnavailable
from edge_agent.greeter import Greeter
from edge_agent.uplink import FAILURE, NOBODY_LISTENED, Uplink
from protocol.codec import encode_batch
from protocol.errors import LimitExceeded, ProtocolError
from protocol.messages import Ack, decode_ack
from protocol.ranges import Range
from protocol.topics import Down, Up

_TIMEOUTS_BEFORE_HELLO = 3
_PAUSE_FIRST_S, _PAUSE_CAP_S = 2.0, 120.0
_BELIEF_EVERY_S = 300.0
"""Each record costs a transaction; what is not recorded is learnt again from the next hello."""
_BELIEF_RETRY_S = 10.0
_LARGE_BATCH_ENTRIES = 60
"""Encoding this many scans holds a small processor for so long that polling would notice."""
_WAKE_AT_LEAST_EVERY_S = 60.0

log = structlog.get_logger()


@dataclass(slots=True)
class ForwarderStats:
    """Counters since the start, for health."""

    batches: int = 0
    """Batches sent, repetitions included."""
    batch_bytes: int = 0
    refused_batches: int = 0
    timeouts: int = 0
    """Batches that the hub did not acknowledge in time."""
    malformed_messages: int = 0
    """What came down and did not decode."""
    rewinds: int = 0
    """Times that the hub's database went back in time."""


class Forwarder:
    """Delivers everything that the buffer holds, for as long as `run` runs."""

    def __init__(
        self,
        *,
        buffer: Buffer,
        uplink: Uplink,
        policy: Policy,
        agent_version: str,
        boot_id: bytes,
        send_every_s: float = 60.0,
        hello_every_s: float = 300.0,
        hello_retry_s: float = 5.0,
        backlog_bytes_per_s: int = 0,
    ) -> None:
        self.stats = ForwarderStats()
        self._buffer, self._uplink = buffer, uplink
        self._delivery = Delivery(policy)
        self._greeter = Greeter(
            buffer=buffer,
            uplink=uplink,
            delivery=self._delivery,
            agent_version=agent_version,
            boot_id=boot_id,
            every_s=hello_every_s,
            retry_first_s=hello_retry_s,
            clock=time.monotonic,
        )
        self._send_every_s = send_every_s
        self._own_pace = self._pace = backlog_bytes_per_s
        self._fits = policy.scans_per_batch
        """Scans that fit one batch, as far as we know."""
        self._is_loaded = self._is_stopping = False
        self._stored_last = 0
        self._live_due_s = self._backlog_due_s = self._pause_until_s = self._belief_due_s = 0.0
        self._failures = 0
        self._belief_changed = False
        self._changed, self._acknowledged = asyncio.Event(), asyncio.Event()
        uplink.listen(self)

    @property
    def outstanding(self) -> int:
        """How many sequence numbers the hub has not confirmed."""
        return self._delivery.outstanding()

    @property
    def hub_is_there(self) -> bool:
        """Say whether the hub has answered and takes batches."""
        return self._uplink.is_connected and self._greeter.is_awake

    async def run(self) -> None:
        """Deliver until cancelled.

        Raises: BufferCorrupt.
        """
        await self._load()
        async with asyncio.TaskGroup() as sending:
            while True:
                self._changed.clear()
                await self._work(sending)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._idle_s()):
                        await self._changed.wait()

    async def stop(self, *, timeout_s: float = 5.0) -> None:
        """Deliver what can be delivered at once, and write down what the hub has; `run` may then be cancelled."""
        self._is_stopping = True
        self._live_due_s = 0.0
        self._changed.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.hub_is_there and self._delivery.outstanding():
                    self._acknowledged.clear()
                    await self._acknowledged.wait()
        if self._is_loaded:
            with suppress(StorageUnavailable):
                await self._record_belief()

    def stored(self, stored: Range) -> None:
        """Note that the buffer has these numbers of the live stream on disk."""
        self._stored_last = stored.last
        if self._is_loaded:
            self._delivery.stored(self._buffer.stream_id, stored.last)
            self._changed.set()

    # Told by the uplink

    def on_connected(self) -> None:
        """Greet the hub."""
        self._delivery.connected()
        self._greeter.connected()
        self._live_due_s = self._backlog_due_s = self._pause_until_s = 0.0
        self._changed.set()

    def on_disconnected(self) -> None:
        """Wait for the next connection."""
        self._changed.set()
        self._acknowledged.set()

    def on_message(self, kind: Down, payload: bytes) -> None:
        """Take in an acknowledgement; one that does not decode is counted."""
        if kind is not Down.ACK or not self._is_loaded:
            return
        try:
            ack = decode_ack(payload)
        except ProtocolError as error:
            self.stats.malformed_messages += 1
            if self.stats.malformed_messages == 1:
                log.warning("message_malformed", kind=kind, reason=str(error))
            return
        self._take(ack)

    def _take(self, ack: Ack) -> None:
        incarnation_before = self._delivery.incarnation
        effect = self._delivery.on_ack(ack, time.monotonic())
        if effect is AckEffect.IGNORED:
            return
        self._failures = 0
        self._greeter.took(ack)
        self._pace = min((pace for pace in (self._own_pace, ack.pace_bytes_per_s) if pace), default=0)
        self._note_belief(at_once=self._delivery.incarnation != incarnation_before)
        if effect is AckEffect.REWOUND:
            self._greeter.ask_now()
            if incarnation_before:
                self.stats.rewinds += 1
                log.warning("hub_went_back_in_time", incarnation=ack.incarnation)
        self._changed.set()
        self._acknowledged.set()

    # The loop

    async def _load(self) -> None:
        self._delivery.incarnation = await self._buffer.incarnation()
        for stream in await self._buffer.streams():
            belief = Belief(stream.next, stream.committed, stream.safe)
            self._delivery.add_stream(stream.stream_id, belief, live=stream.stream_id == self._buffer.stream_id)
        self._delivery.stored(self._buffer.stream_id, self._stored_last)
        self._is_loaded = True
        if self._uplink.is_connected:
            self.on_connected()

    async def _work(self, sending: asyncio.TaskGroup) -> None:
        """Do everything that is due."""
        now_s = time.monotonic()
        self.stats.timeouts += len(self._delivery.expire(now_s))
        if self._delivery.timeouts >= _TIMEOUTS_BEFORE_HELLO:
            self._greeter.suspect()
        try:
            if self._belief_changed and now_s >= self._belief_due_s:
                await self._record_belief()
            if self._uplink.is_connected:
                await self._greeter.say_due()
            while self.hub_is_there and (chosen := self._choose(time.monotonic())):
                await self._send(sending, *chosen)
        except BrokerUnreachable:
            # The uplink says so, and tells when it is connected again.
            return
        except StorageUnavailable as error:
            self._pause("buffer_unavailable", str(error))

    def _choose(self, now_s: float) -> tuple[bytes, Range] | None:
        """Choose what to send now, live before backlog."""
        if now_s < self._pause_until_s:
            return None
        waiting = self._delivery.live_waiting()
        if waiting and (now_s >= self._live_due_s or waiting >= self._fits):
            chosen = self._delivery.next_live()
            if chosen:
                return chosen
        if not waiting and now_s >= self._live_due_s and not self._is_stopping:
            self._live_due_s = now_s + self._send_every_s
        return self._delivery.next_backlog() if now_s >= self._backlog_due_s else None

    async def _send(self, sending: asyncio.TaskGroup, stream_id: bytes, wanted: Range) -> None:
        payload, sent = await self._encode(stream_id, wanted)
        now_s = time.monotonic()
        self._delivery.sent(stream_id, sent, now_s, _chance())
        self.stats.batches += 1
        self.stats.batch_bytes += len(payload)
        if self._pace:
            self._backlog_due_s = max(now_s, self._backlog_due_s) + len(payload) / self._pace
        sending.create_task(self._publish(stream_id, sent, payload), name="forwarder publish")

    async def _encode(self, stream_id: bytes, wanted: Range) -> tuple[bytes, Range]:
        """Encode as much of a range, from its beginning, as fits one batch."""
        wanted = Range(wanted.first, min(wanted.last, wanted.first + self._fits - 1))
        while True:
            piece = await self._buffer.read(stream_id, wanted)
            try:
                if len(piece.entries) < _LARGE_BATCH_ENTRIES:
                    return _encode(stream_id, piece), wanted
                return await asyncio.to_thread(_encode, stream_id, piece), wanted
            except LimitExceeded:
                if wanted.size == 1:
                    raise
                self._fits = wanted.size // 2
                wanted = Range(wanted.first, wanted.first + self._fits - 1)

    async def _publish(self, stream_id: bytes, sent: Range, payload: bytes) -> None:
        try:
            reason_code = await self._uplink.publish(Up.BATCH, payload)
        except BrokerUnreachable:
            return
        if reason_code >= FAILURE:
            self.stats.refused_batches += 1
            self._delivery.failed(stream_id, sent)
            self._pause("batch_refused", f"the broker refused a batch with reason code {reason_code:#04x}")
        elif reason_code == NOBODY_LISTENED:
            self._delivery.failed(stream_id, sent)
            self._greeter.hub_is_gone()
        self._changed.set()

    def _pause(self, event: str, reason: str) -> None:
        """Send nothing for a while; say so the first time in a row."""
        self._failures += 1
        if self._failures == 1:
            log.warning(event, reason=reason)
        wait_s = backoff_s(self._failures, _chance(), first_s=_PAUSE_FIRST_S, cap_s=_PAUSE_CAP_S)
        self._pause_until_s = time.monotonic() + wait_s

    def _note_belief(self, *, at_once: bool) -> None:
        """Have belief recorded in a while, or at once: a buffer that is full deletes by what is recorded."""
        now_s = time.monotonic()
        if at_once:
            self._belief_due_s = now_s
        elif not self._belief_changed:
            self._belief_due_s = now_s + _BELIEF_EVERY_S
        self._belief_changed = True

    async def _record_belief(self) -> None:
        self._belief_changed = False
        beliefs = {stream_id: (belief.committed, belief.safe) for stream_id, belief in self._delivery.streams.items()}
        try:
            await self._buffer.record_belief(self._delivery.incarnation, beliefs)
        except StorageUnavailable:
            # Soon, not in a while: after a rewind, what is on disk would let a full buffer delete too much.
            self._belief_changed = True
            self._belief_due_s = time.monotonic() + _BELIEF_RETRY_S
            raise

    def _idle_s(self) -> float:
        """Return how long nothing becomes due by itself."""
        now_s = time.monotonic()
        due = [flight.deadline_s for flight in self._delivery.in_flight]
        due += [self._live_due_s, self._backlog_due_s, self._pause_until_s]
        if self._uplink.is_connected:
            due.append(self._greeter.due_s)
        if self._belief_changed:
            due.append(self._belief_due_s)
        return min((at_s - now_s for at_s in due if at_s > now_s), default=_WAKE_AT_LEAST_EVERY_S)


def _encode(stream_id: bytes, piece: Slice) -> bytes:
    return encode_batch(stream_id=stream_id, manifest_hash=piece.manifest_hash, entries=piece.entries)


def _chance() -> float:
    return random.random()  # noqa: S311 - spread, not secrecy
