"""What follows from the clock: held scans get their time as soon as it is known, and later runs are told."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog

from edge_agent.buffer.buffer import Buffer
from edge_agent.clock.clock import AgentClock, Anchor
from edge_agent.errors import StorageUnavailable
from protocol.ranges import Range

_CHECK_EVERY_S = 2.0
_ANCHOR_EVERY_MS = 3_600_000
"""So that a later boot knows roughly when this one was still at work."""
_ANCHOR_MOVED_MS = 100

log = structlog.get_logger()


class Timekeeper:
    """Watches the clock for as long as `run` runs."""

    def __init__(
        self,
        *,
        clock: AgentClock,
        buffer: Buffer,
        on_stamped: Callable[[bytes, Range], None],
        on_change: Callable[[], None],
        check_every_s: float = _CHECK_EVERY_S,
    ) -> None:
        """Take up what an earlier run of this boot knew.

        `on_stamped` is told which numbers of which stream held scans got; `on_change` is called when what
        `report` says of trust has changed.
        """
        self._clock, self._buffer = clock, buffer
        self._on_stamped, self._on_change = on_stamped, on_change
        self._check_every_s = check_every_s
        self._changed = asyncio.Event()
        self._kept: Anchor | None = None
        clock.recall(buffer.anchor)
        clock.on_change = self._clock_changed

    def scans_held(self) -> None:
        """Note that scans were stored without a time."""
        self._changed.set()

    def report(self) -> dict[str, Any]:
        """Report for health."""
        return {**self._clock.report(), "held": self._buffer.held_for_clock}

    async def run(self) -> None:
        """Check the clock, and do what follows, until cancelled.

        Raises: BufferCorrupt.
        """
        while True:
            self._changed.clear()
            self._clock.check()
            # While the disk refuses, which is said elsewhere, they wait a little longer.
            with suppress(StorageUnavailable):
                await self._keep_up()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._check_every_s):
                    await self._changed.wait()

    async def _keep_up(self) -> None:
        anchor = self._clock.anchor
        if anchor is None:
            return
        await self._stamp_held()
        if self._is_news(anchor):
            await self._buffer.keep_anchor(anchor)
            self._kept = anchor

    async def _stamp_held(self) -> None:
        scans = 0
        while self._buffer.held_for_clock:
            numbered = await self._buffer.stamp_next(self._clock.offset_ms)
            if numbered is None:
                break
            self._on_stamped(*numbered)
            scans += numbered[1].size
        if scans:
            log.info("held_scans_stamped", scans=scans)

    def _is_news(self, anchor: Anchor) -> bool:
        kept = self._kept
        return (
            kept is None
            or abs(anchor.offset_ms - kept.offset_ms) > _ANCHOR_MOVED_MS
            or anchor.at_monotonic_ms - kept.at_monotonic_ms > _ANCHOR_EVERY_MS
        )

    def _clock_changed(self) -> None:
        self._changed.set()
        self._on_change()
