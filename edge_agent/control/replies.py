"""Answers on their way to the hub: each is kept until the broker took it and somebody listened."""

import asyncio
import random
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

import structlog

from edge_agent.control.journal import Journal
from edge_agent.domain.backoff import backoff_s
from edge_agent.errors import BrokerUnreachable, StorageUnavailable
from edge_agent.uplink.uplink import FAILURE, NOBODY_LISTENED, Uplink
from protocol.control import Reply, encode_reply
from protocol.topics import Down, Up

PASSING_MAX = 32
_RETRY_CAP_S = 600.0

log = structlog.get_logger()


@dataclass(slots=True)
class ReplyStats:
    """Counters since the start, for health."""

    sent: int = 0
    dropped: int = 0
    """Answers to orders that were not followed anyway, given up because too many waited."""


class ReplySender:
    """Sends what the journal says is due, and answers that need not outlive the agent."""

    def __init__(self, *, journal: Journal, uplink: Uplink, retry_first_s: float = 5.0) -> None:
        self.stats = ReplyStats()
        self._journal, self._uplink, self._retry_first_s = journal, uplink, retry_first_s
        self._passing: deque[bytes] = deque()
        self._changed = asyncio.Event()
        self._failures = 0
        self._retry_at_s = 0.0
        uplink.listen(self)

    def send_passing(self, reply: Reply) -> None:
        """Send an answer that may be lost with the agent: the order would be answered alike again."""
        payload = encode_reply(reply)
        if len(self._passing) >= PASSING_MAX:
            self._passing.popleft()
            self.stats.dropped += 1
        self._passing.append(payload)
        self._changed.set()

    def journal_changed(self) -> None:
        """Look into the journal: something is due."""
        self._changed.set()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            self._changed.clear()
            if self._uplink.is_connected and time.monotonic() >= self._retry_at_s:
                await self._send_all()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._wait_s()):
                    await self._changed.wait()

    # Told by the uplink

    def on_connected(self) -> None:
        """Try again at once."""
        self._failures, self._retry_at_s = 0, 0.0
        self._changed.set()

    def on_disconnected(self) -> None:
        """Wait for the next connection."""

    def on_message(self, kind: Down, payload: bytes) -> None:
        """Leave orders to others."""

    async def _send_all(self) -> None:
        try:
            while due := await asyncio.to_thread(self._journal.due_replies):
                for number, payload in due:
                    if not await self._is_taken(payload):
                        return
                    await asyncio.to_thread(self._journal.reply_sent, number)
            while self._passing and await self._is_taken(self._passing[0]):
                self._passing.popleft()
        except BrokerUnreachable:
            # The uplink says so, and tells when it is connected again.
            return
        except StorageUnavailable as error:
            self._put_off("orders_unavailable", str(error))

    async def _is_taken(self, payload: bytes) -> bool:
        reason_code = await self._uplink.publish(Up.REPLY, payload)
        if reason_code >= FAILURE or reason_code == NOBODY_LISTENED:
            self._put_off("reply_refused", f"the broker answered with reason code {reason_code:#04x}")
            return False
        self._failures = 0
        self.stats.sent += 1
        return True

    def _put_off(self, event: str, reason: str) -> None:
        """Try again later; say so the first time in a row."""
        self._failures += 1
        if self._failures == 1:
            log.warning(event, reason=reason)
        chance = random.random()  # noqa: S311 - spread, not secrecy
        self._retry_at_s = time.monotonic() + backoff_s(
            self._failures, chance, first_s=self._retry_first_s, cap_s=_RETRY_CAP_S
        )

    def _wait_s(self) -> float | None:
        """Return how long to wait unless something changes; None when nothing is to be tried again."""
        left_s = self._retry_at_s - time.monotonic()
        return max(left_s, 0.0) if self._failures and self._uplink.is_connected else None
