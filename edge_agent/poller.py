"""Poll the meters of a bus on the wall-clock grid, and keep a dead one from holding up the others."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import structlog

from edge_agent.domain.schedule import Due, due_after, first_due, is_out_of_reach, next_due
from edge_agent.errors import AgentError, BusUnreachable, MeterRefused
from edge_agent.meter_reader import MeterReader
from edge_agent.modbus import ModbusBus
from edge_agent.site import BusPlan, MeterPlan
from protocol.scans import Scan

log = structlog.get_logger()

_BACK_OFF_STEP_MS = 2_000
_BACK_OFF_CAP_MS = 300_000
_CLOCK_CHECK_S = 5.0
"""The longest sleep, so that a clock that was set is noticed soon."""


class ScanSink(Protocol):
    """Where scans go; `edge_agent.recorder` is the one in use. Every call returns at once."""

    def record(self, scan: Scan) -> None:
        """Take a scan."""

    def poll_begun(self) -> None:
        """Note that a poll cycle has begun: more scans follow at once."""

    def poll_ended(self) -> None:
        """Note that a poll cycle has ended."""


class MeterState(StrEnum):
    """How a meter does."""

    NEVER_ASKED = "never_asked"
    GOOD = "good"
    REFUSING = "refusing"
    """It answers, but some request with an exception."""
    UNREACHABLE = "unreachable"
    """It does not answer; it is asked again at growing intervals."""


@dataclass(slots=True)
class MeterStatus:
    """How one meter does, and its polls since the agent's start."""

    state: MeterState = MeterState.NEVER_ASKED
    since_ms: int = 0
    """UTC ms of the last change of state."""
    last_error: str | None = None
    failures: int = 0
    """Polls without an answer in a row."""
    polls_ok: int = 0
    polls_failed: int = 0
    polls_skipped: int = 0
    """Slots in which the meter was not asked: it backed off, or its bus was late."""


@dataclass(slots=True)
class _Meter:
    plan: MeterPlan
    reader: MeterReader
    due: Due
    polled_slot: int = 0
    status: MeterStatus = field(default_factory=MeterStatus)
    wait_ms: int = 0
    bus_was_gone: bool = False


class BusPoller:
    """Polls one bus: one task, one request at a time, meters in the order of the configuration."""

    def __init__(
        self,
        *,
        plan: BusPlan,
        bus: ModbusBus,
        recorder: ScanSink,
        now_ms: Callable[[], int],
        on_change: Callable[[], None],
    ) -> None:
        """Begin on the grid from now. `on_change` is called when a meter's state changes."""
        self._bus, self._recorder, self._now_ms, self._on_change = bus, recorder, now_ms, on_change
        self._log = log.bind(bus=plan.config.id)
        self._meters = [
            _Meter(meter, MeterReader(plan=meter, bus=bus, now_ms=now_ms), first_due(meter.period_ms, now_ms()))
            for meter in plan.meters
        ]

    @property
    def statuses(self) -> dict[str, MeterStatus]:
        """Return the status of each meter by its id."""
        return {meter.plan.config.id: meter.status for meter in self._meters}

    async def run(self, stopping: asyncio.Event) -> None:
        """Poll until `stopping` is set; the scan in hand is finished."""
        try:
            while not stopping.is_set():
                await self._wait_until_due(stopping)
                await self._poll_all_due(stopping)
        finally:
            self._bus.close()

    async def _wait_until_due(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            now_ms = self._now_ms()
            self._follow_clock(now_ms)
            wait_ms = min(meter.due.at_ms for meter in self._meters) - now_ms
            if wait_ms <= 0:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(min(wait_ms / 1000, _CLOCK_CHECK_S)):
                    await stopping.wait()

    def _follow_clock(self, now_ms: int) -> None:
        """Enter the grid afresh when the clock was set back, rather than fall silent until it catches up."""
        for meter in self._meters:
            if is_out_of_reach(meter.due, meter.plan.period_ms, now_ms, meter.wait_ms):
                meter.due = first_due(meter.plan.period_ms, now_ms)

    async def _poll_all_due(self, stopping: asyncio.Event) -> None:
        self._recorder.poll_begun()
        try:
            while not stopping.is_set():
                # The longest overdue first: a fast meter cannot starve a slow one of the same bus.
                meter = min(self._meters, key=lambda meter: meter.due.at_ms)
                if meter.due.at_ms > self._now_ms():
                    return
                await self._poll(meter)
        finally:
            self._recorder.poll_ended()

    async def _poll(self, meter: _Meter) -> None:
        meter.polled_slot = meter.due.slot
        meter.status.polls_skipped += meter.due.missed
        visit = await meter.reader.visit()
        self._recorder.record(visit.scan)
        if visit.silence is None:
            self._answered(meter, visit.refusal)
        else:
            self._stayed_silent(meter, visit.silence)

    def _answered(self, meter: _Meter, refusal: MeterRefused | None) -> None:
        status = meter.status
        status.polls_ok += 1
        status.failures = 0
        status.last_error = None if refusal is None else str(refusal)
        self._enter(meter, MeterState.GOOD if refusal is None else MeterState.REFUSING)
        self._end_back_off(meter)
        for neighbour in self._meters:
            if neighbour.bus_was_gone:
                self._end_back_off(neighbour)

    def _stayed_silent(self, meter: _Meter, error: AgentError) -> None:
        status = meter.status
        status.polls_failed += 1
        status.failures += 1
        status.last_error = str(error)
        self._enter(meter, MeterState.UNREACHABLE)
        meter.bus_was_gone = isinstance(error, BusUnreachable)
        meter.wait_ms = min(_BACK_OFF_STEP_MS * status.failures, _BACK_OFF_CAP_MS)
        meter.due = due_after(meter.plan.period_ms, meter.polled_slot, self._now_ms(), meter.wait_ms)

    def _end_back_off(self, meter: _Meter) -> None:
        """Poll the meter in its next slot, whether it answered or its bus is back."""
        meter.bus_was_gone = False
        meter.wait_ms = 0
        meter.due = next_due(meter.plan.period_ms, meter.polled_slot, self._now_ms())

    def _enter(self, meter: _Meter, state: MeterState) -> None:
        """Note a state; when it is a new one, say so once."""
        status = meter.status
        before, status.state = status.state, state
        if before is state:
            return
        status.since_ms = self._now_ms()
        fields = {"meter_id": meter.plan.config.id, "error": status.last_error}
        if state is MeterState.UNREACHABLE:
            self._log.warning("meter_unreachable", **fields)
        elif state is MeterState.REFUSING:
            self._log.warning("meter_refuses", **fields)
        elif before is not MeterState.NEVER_ASKED:
            self._log.info("meter_recovered", meter_id=meter.plan.config.id)
        self._on_change()
