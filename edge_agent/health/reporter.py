"""What the agent says of itself: buffer, meters, line. Sent when a meter's state changes, and now and then."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import structlog

from edge_agent.buffer.stats import BufferStats
from edge_agent.errors import AgentError
from edge_agent.health.brief import in_brief
from edge_agent.polling.status import MeterStatus
from protocol.messages import Health

log = structlog.get_logger()

CHANGE_PAUSE_S = 300.0
"""At least so long between two reports, so that a meter that comes and goes costs little."""
_GATHER_S = 5.0
"""What happens together is told together."""
_RETRY_S = 30.0


class HealthReporter:
    """Collects counters and hands them to `send`."""

    def __init__(
        self,
        *,
        statuses: Callable[[], Mapping[str, MeterStatus]],
        buffer_stats: Callable[[], Awaitable[BufferStats]],
        recorder_counters: Callable[[], Mapping[str, Any]],
        uplink_counters: Callable[[], Mapping[str, Any]],
        send: Callable[[Health], Awaitable[None]],
        now_ms: Callable[[], int],
        agent_version: str,
        every_s: float,
        change_pause_s: float = CHANGE_PAUSE_S,
        more: Mapping[str, Callable[[], Mapping[str, Any]]] | None = None,
    ) -> None:
        """Report what is given; `more` has further parts by the name of their field in `Health`."""
        self._statuses, self._buffer_stats = statuses, buffer_stats
        self._recorder_counters, self._uplink_counters = recorder_counters, uplink_counters
        self._send, self._now_ms, self._agent_version = send, now_ms, agent_version
        self._every_s, self._change_pause_s = every_s, min(change_pause_s, every_s)
        self._more = dict(more or {})
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Note that something is worth telling soon."""
        self._changed.set()

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            await self._wait()
            await asyncio.sleep(min(_GATHER_S, self._change_pause_s))
            was_sent = await self._report()
            await asyncio.sleep(self._change_pause_s if was_sent else min(_RETRY_S, self._change_pause_s))

    async def collect(self) -> Health:
        """Put the counters together.

        Raises: StorageUnavailable, BufferCorrupt.
        """
        stats = await self._buffer_stats()
        return Health(
            at_ms=self._now_ms(),
            agent_version=self._agent_version,
            buffer=asdict(stats) | dict(self._recorder_counters()),
            meters={meter_id: status.report() for meter_id, status in self._statuses().items()},
            uplink=dict(self._uplink_counters()),
            **{name: dict(report()) for name, report in self._more.items()},
        )

    async def _wait(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._every_s - self._change_pause_s):
                await self._changed.wait()

    async def _report(self) -> bool:
        self._changed.clear()
        try:
            await self._send(in_brief(await self.collect()))
        except AgentError as error:
            # The line or the disk is down: both are logged where they fail, and the next report tells more.
            log.debug("health_not_sent", reason=str(error))
            self._changed.set()
            return False
        return True
