"""From the buffer to the hub: send, and believe only what the hub says its database has committed.

What to send next is decided by `edge_agent.domain.delivery`; here are the clock, the line and the disk.
"""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from edge_agent.buffer.buffer import Buffer
from edge_agent.clock.clock import SystemClock, TaughtClock
from edge_agent.domain.backoff import backoff_s
from edge_agent.domain.delivery import AckEffect, Belief, Delivery, Policy
from edge_agent.domain.send_schedule import SendPlan, SendTimes
from edge_agent.errors import BrokerUnreachable, StorageUnavailable
from edge_agent.uplink.greeter import Greeter
from edge_agent.uplink.packer import Packer
from edge_agent.uplink.uplink import FAILURE, NOBODY_LISTENED, Uplink
from protocol.errors import ProtocolError
from protocol.messages import Ack, decode_ack
from protocol.ranges import Range
from protocol.topics import Down, Up

_TIMEOUTS_BEFORE_HELLO = 3
_PAUSE_FIRST_S, _PAUSE_CAP_S = 2.0, 120.0
_BELIEF_EVERY_S = 300.0
"""Each record costs a transaction; what is not recorded is learnt again from the next hello."""
_BELIEF_RETRY_S = 10.0
_WAKE_AT_LEAST_EVERY_S = 60.0
"""The wall clock may be set meanwhile, and half hours go by it."""

_EVERY_MINUTE = SendPlan()

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
        controller_id: str = "",
        send_plan: SendPlan = _EVERY_MINUTE,
        clock: TaughtClock | None = None,
        hello_every_s: float = 21_600.0,
        hello_retry_s: float = 5.0,
    ) -> None:
        self.stats = ForwarderStats()
        self.on_hello_answered: Callable[[], None] = lambda: None
        """Called when the hub has answered the last hello."""
        self._buffer, self._uplink = buffer, uplink
        self._delivery = Delivery(policy)
        self._clock: TaughtClock = clock or SystemClock()
        self._greeter = Greeter(
            buffer=buffer,
            uplink=uplink,
            delivery=self._delivery,
            agent_version=agent_version,
            boot_id=boot_id,
            every_s=hello_every_s,
            retry_first_s=hello_retry_s,
            clock=time.monotonic,
            agent_clock=self._clock,
        )
        self._times = SendTimes(send_plan, controller_id)
        self._own_pace = self._hub_pace = 0
        self._packer = Packer(buffer, scans_per_batch=policy.scans_per_batch)
        self._is_loaded = self._is_stopping = False
        self._stored_last: dict[bytes, int] = {}
        self._stored_s = 0.0
        self._backlog_due_s = self._pause_until_s = self._belief_due_s = 0.0
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
        self._times.hurry()
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
        self._stored_s = time.monotonic()
        self._note_stored(self._buffer.stream_id, stored.last)

    def stamped(self, stream_id: bytes, numbers: Range) -> None:
        """Note that scans which had waited for the clock, of any stream, can be sent now."""
        self._note_stored(stream_id, numbers.last)
        if self._is_loaded:
            self._delivery.caught_up()

    def stream_begun(self) -> None:
        """Note that the buffer has begun another stream: it is the live one now, and the hub shall hear of it."""
        if self._is_loaded:
            self._take_up_live_stream()
        self.greet_anew()

    def greet_anew(self) -> None:
        """Say hello at once; only its answer counts, and none to an earlier one."""
        self._greeter.ask_anew()
        self._changed.set()

    def _note_stored(self, stream_id: bytes, last: int) -> None:
        self._stored_last[stream_id] = last
        if self._is_loaded:
            self._delivery.stored(stream_id, last)
            self._changed.set()

    def follow(self, plan: SendPlan, *, backlog_bytes_per_s: int) -> None:
        """Send by another plan from now on; a pace of 0 sets no limit of our own to the backlog."""
        self._times.follow(plan)
        self._own_pace = backlog_bytes_per_s
        self._changed.set()

    def widen(self, at_least_every_s: float) -> None:
        """Send live scans no more often than this; 0 ends it."""
        self._times.widen(at_least_every_s)
        self._changed.set()

    def send_at_once(self, until_monotonic_ms: int) -> None:
        """Send each scan as soon as it is stored until then, in milliseconds since boot, while somebody watches."""
        left_s = (until_monotonic_ms - self._clock.monotonic_ms()) / 1000
        self._times.at_once(time.monotonic() + left_s)
        self._changed.set()

    def resend(self, stream_id: bytes, numbers: Range) -> None:
        """Send these numbers again, unless the hub says meanwhile that its database has them.

        Raises: KeyError for a stream that is not held here.
        """
        self._delivery.doubt(stream_id, numbers)
        self._note_belief(at_once=False)
        self._changed.set()

    # Told by the uplink

    def on_connected(self) -> None:
        """Greet the hub."""
        self._delivery.connected()
        self._greeter.connected()
        self._times.hurry()
        self._backlog_due_s = self._pause_until_s = 0.0
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
        if self._greeter.took(ack):
            self.on_hello_answered()
        self._hub_pace = ack.pace_bytes_per_s
        self._note_belief(at_once=self._delivery.incarnation != incarnation_before)
        if effect is AckEffect.REWOUND:
            self._greeter.ask_now()
            if incarnation_before:
                self.stats.rewinds += 1
                log.warning("hub_went_back_in_time", incarnation=ack.incarnation)
        elif effect is AckEffect.DOUBTFUL:
            self._greeter.suspect()
        self._changed.set()
        self._acknowledged.set()

    # The loop

    async def _load(self) -> None:
        self._delivery.incarnation = await self._buffer.incarnation()
        for stream in await self._buffer.streams():
            belief = Belief(stream.next, stream.committed, stream.safe)
            self._delivery.add_stream(stream.stream_id, belief, live=stream.stream_id == self._buffer.stream_id)
        self._take_up_live_stream()
        for stream_id, last in self._stored_last.items():
            self._delivery.stored(stream_id, last)
        self._is_loaded = True
        if self._uplink.is_connected:
            self.on_connected()

    def _take_up_live_stream(self) -> None:
        """Deliver the buffer's newest stream, unless it is delivered already."""
        stream_id = self._buffer.stream_id
        if stream_id not in self._delivery.streams:
            self._delivery.add_stream(stream_id, Belief(1), live=True)

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
        self._delivery.withheld = self._buffer.withheld
        waiting = self._delivery.live_waiting()
        is_due = self._times.is_due(now_s, self._clock.now_ms(), self._stored_s)
        if waiting and (is_due or waiting >= self._packer.fits):
            chosen = self._delivery.next_live()
            if chosen:
                return chosen
        if is_due and not waiting and not self._is_stopping:
            self._times.done(now_s, self._clock.now_ms())
        return self._delivery.next_backlog() if now_s >= self._backlog_due_s else None

    async def _send(self, sending: asyncio.TaskGroup, stream_id: bytes, wanted: Range) -> None:
        payload, sent = await self._packer.pack(stream_id, wanted)
        now_s = time.monotonic()
        self._delivery.sent(stream_id, sent, now_s, _chance())
        self.stats.batches += 1
        self.stats.batch_bytes += len(payload)
        pace = min((pace for pace in (self._own_pace, self._hub_pace) if pace), default=0)
        if pace:
            self._backlog_due_s = max(now_s, self._backlog_due_s) + len(payload) / pace
        sending.create_task(self._publish(stream_id, sent, payload), name="forwarder publish")

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
        due += [self._backlog_due_s, self._pause_until_s]
        if self.hub_is_there:
            due.append(now_s + self._times.wait_s(now_s, self._clock.now_ms()))
        if self._uplink.is_connected:
            due.append(self._greeter.due_s)
        if self._belief_changed:
            due.append(self._belief_due_s)
        return min((_WAKE_AT_LEAST_EVERY_S, *(at_s - now_s for at_s in due if at_s > now_s)))


def _chance() -> float:
    return random.random()  # noqa: S311 - spread, not secrecy
