"""The clock that the agent goes by: UTC as well as it is known, and time that only ever runs on.

UTC is monotonic time plus an offset. Linux slews both of its clocks alike, so the difference between them
changes by steps only; whoever sets the wall clock therefore never moves what the agent has measured.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

import structlog

from edge_agent.clock import kernel
from protocol import limits

EARLIEST_MS = 1_577_836_800_000
"""2020-01-01: a clock that shows less was never set."""
LATEST_MS = limits.OBSERVED_AT_MS_MAX

_STEP_MS = 500
"""A change of the wall clock against monotonic time that is worth a line."""
_JITTER_MS = 20
"""Two clocks that are read one after the other differ by so much, and nothing has changed."""
_FAULT_MS = 300_000
"""A synchronised kernel and the hub never differ by so much unless one of them is wrong."""
_ROUND_TRIP_MAX_MS, _ROUND_TRIP_CAP_MS = 10_000, 160_000
_DRIFT_PER_MS = 1e-4
"""How fast a free quartz may run away: 100 ppm, 9 s a day."""
_READING_MAX_MS = 100
"""Both clocks have to be read within this; else the process was interrupted, and they are read again."""

log = structlog.get_logger()


class Clock(Protocol):
    """What polling needs of a clock."""

    def now_ms(self) -> int:
        """Return UTC milliseconds since 1970, as well as they are known."""

    def monotonic_ms(self) -> int:
        """Return milliseconds since boot, sleep included; they never jump."""


class TaughtClock(Clock, Protocol):
    """A clock that the hub may put right."""

    @property
    def is_trusted(self) -> bool:
        """Say whether UTC is known."""

    def hear_hub(self, hub_ms: int, *, asked_ms: int, answered_ms: int) -> bool:
        """Take in the hub's clock from its answer to a hello; say whether it could be used."""


class SystemClock:
    """The controller's clock, believed as it is: for commands that ask a meter once."""

    is_trusted = True

    def now_ms(self) -> int:
        """Return UTC milliseconds since 1970."""
        return kernel.wall_ms()

    def monotonic_ms(self) -> int:
        """Return milliseconds since boot."""
        return kernel.boottime_ms()

    def hear_hub(self, hub_ms: int, *, asked_ms: int, answered_ms: int) -> bool:  # noqa: ARG002 - it believes itself
        """Change nothing."""
        return True


class Source(StrEnum):
    """Who vouches for the time."""

    NONE = "none"
    ANCHOR = "anchor"
    """An earlier run of the agent, in the same boot."""
    HUB = "hub"
    KERNEL = "kernel"


@dataclass(frozen=True, slots=True)
class Anchor:
    """What was known of UTC at one instant; it holds until the controller boots again."""

    offset_ms: int
    """UTC minus monotonic time."""
    at_monotonic_ms: int


@dataclass(frozen=True, slots=True)
class _Sample:
    """An offset, and by how much it may be wrong."""

    offset_ms: int
    error_ms: int
    at_monotonic_ms: int

    def uncertainty_ms(self, monotonic_ms: int) -> float:
        """Return by how much it may be wrong by now."""
        return self.error_ms + abs(monotonic_ms - self.at_monotonic_ms) * _DRIFT_PER_MS


class AgentClock:
    """Decides whose time to go by. Trust that was given once lasts until the controller boots again."""

    def __init__(
        self,
        *,
        wall_ms: Callable[[], int] = kernel.wall_ms,
        boottime_ms: Callable[[], int] = kernel.boottime_ms,
        is_kernel_synchronised: Callable[[], bool] = kernel.is_kernel_synchronised,
    ) -> None:
        self.source = Source.NONE
        self.steps = 0
        """How often the wall clock was set since the start."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when trust begins, and when the offset or a fault changes."""
        self._wall_ms, self._boottime_ms = wall_ms, boottime_ms
        self._is_kernel_synchronised = is_kernel_synchronised
        self._taken = _Sample(0, 0, 0)
        self._hub: _Sample | None = None
        self._kernel_vouches = False
        self._is_fault = False
        """The kernel claims to be synchronised, and the hub contradicts it."""
        self._refused = 0
        self._system_offset_ms = self._read_system_offset()
        self.check()

    @property
    def is_trusted(self) -> bool:
        """Say whether UTC is known."""
        return self.source is not Source.NONE

    @property
    def offset_ms(self) -> int:
        """UTC minus monotonic time; by the wall clock as long as UTC is not known."""
        return self._taken.offset_ms if self.is_trusted else self._system_offset_ms

    @property
    def anchor(self) -> Anchor | None:
        """What another run of this boot may go by; None while UTC is not known."""
        return Anchor(self._taken.offset_ms, self.monotonic_ms()) if self.is_trusted else None

    def now_ms(self) -> int:
        """Return UTC milliseconds since 1970; what the wall clock shows as long as UTC is not known."""
        return self.monotonic_ms() + self._taken.offset_ms if self.is_trusted else self._wall_ms()

    def monotonic_ms(self) -> int:
        """Return milliseconds since boot, sleep included."""
        return self._boottime_ms()

    def wall_ms(self, monotonic_ms: int) -> int:
        """Return what the wall clock showed, as it is set now, at an instant of this boot."""
        return monotonic_ms + self._system_offset_ms

    def check(self) -> None:
        """Look at the kernel: was its clock set, does somebody vouch for it. Call it every few seconds."""
        self._note_steps()
        wall_is_plausible = EARLIEST_MS <= self.monotonic_ms() + self._system_offset_ms <= LATEST_MS
        self._kernel_vouches = wall_is_plausible and self._is_kernel_synchronised()
        self._judge_kernel()
        if self._is_fault and self._hub is not None:
            self._take(self._hub, Source.HUB)
        elif self._kernel_vouches:
            self._take(_Sample(self._system_offset_ms, 0, self.monotonic_ms()), Source.KERNEL)

    def recall(self, anchor: Anchor | None) -> None:
        """Go by what an earlier run of this boot knew, unless the kernel knows better: monotonic time ran on."""
        if self.is_trusted or anchor is None or anchor.at_monotonic_ms > self.monotonic_ms():
            return
        self._take(_Sample(anchor.offset_ms, _STEP_MS, anchor.at_monotonic_ms), Source.ANCHOR)

    def hear_hub(self, hub_ms: int, *, asked_ms: int, answered_ms: int) -> bool:
        """Take in the hub's clock from its answer to a hello; say whether it could be used.

        `asked_ms` and `answered_ms` are monotonic. Somewhere between them the hub looked at its clock, so
        half of the round trip bounds the error. A slow line gets more time with each answer in vain.
        """
        round_trip_ms = answered_ms - asked_ms
        allowed_ms = min(_ROUND_TRIP_MAX_MS << self._refused, _ROUND_TRIP_CAP_MS)
        if not (EARLIEST_MS <= hub_ms <= LATEST_MS and 0 <= round_trip_ms <= allowed_ms):
            self._refused = 0 if self.is_trusted else min(self._refused + 1, 4)
            return False
        self._refused = 0
        self._hub = _Sample(hub_ms + round_trip_ms // 2 - answered_ms, round_trip_ms // 2 + 1, answered_ms)
        self.check()
        if not self._kernel_vouches:
            self._prefer(self._hub)
        return True

    def report(self) -> dict[str, Any]:
        """Report for health."""
        state = "fault" if self._is_fault else "trusted" if self.is_trusted else "untrusted"
        return {
            "state": state,
            "source": self.source.value,
            "offset_of_system_ms": self._system_offset_ms - self._taken.offset_ms if self.is_trusted else None,
            "steps": self.steps,
        }

    def _prefer(self, sample: _Sample) -> None:
        """Go by a sample of the hub when it is surer than what we have, or contradicts it."""
        doubt_ms = self._taken.uncertainty_ms(sample.at_monotonic_ms)
        differs_ms = abs(sample.offset_ms - self._taken.offset_ms)
        if not self.is_trusted or sample.error_ms < doubt_ms or differs_ms > sample.error_ms + doubt_ms:
            self._take(sample, Source.HUB)

    def _take(self, sample: _Sample, source: Source) -> None:
        was_trusted, before_ms = self.is_trusted, self.offset_ms
        if source is self.source and abs(sample.offset_ms - before_ms) <= _JITTER_MS:
            sample = replace(sample, offset_ms=before_ms)
        news = source is not self.source or sample.offset_ms != before_ms
        self.source, self._taken = source, sample
        if not was_trusted:
            log.info("clock_trusted", source=source.value, offset_of_system_ms=self._system_offset_ms - self.offset_ms)
        elif abs(self.offset_ms - before_ms) > _STEP_MS:
            log.warning("clock_corrected", source=source.value, by_ms=self.offset_ms - before_ms)
        if news:
            self.on_change()

    def _note_steps(self) -> None:
        before_ms, self._system_offset_ms = self._system_offset_ms, self._read_system_offset()
        by_ms = self._system_offset_ms - before_ms
        if abs(by_ms) > _STEP_MS:
            self.steps += 1
            log.warning("system_clock_stepped", by_ms=by_ms)

    def _judge_kernel(self) -> None:
        """Compare a kernel that claims to be synchronised with the hub's last word, and say once when they differ."""
        hub, was_fault = self._hub, self._is_fault
        differs_ms = 0 if hub is None else self._system_offset_ms - hub.offset_ms
        allowed_ms = _FAULT_MS if hub is None else _FAULT_MS + hub.uncertainty_ms(self.monotonic_ms())
        self._is_fault = self._kernel_vouches and abs(differs_ms) > allowed_ms
        if self._is_fault == was_fault:
            return
        if self._is_fault:
            log.error("clock_fault", system_differs_from_hub_ms=differs_ms)
        else:
            log.info("clock_fault_ended")
        self.on_change()

    def _read_system_offset(self) -> int:
        """Return the wall clock minus monotonic time, read together."""
        while True:
            before_ms, wall_ms, after_ms = self._boottime_ms(), self._wall_ms(), self._boottime_ms()
            if after_ms - before_ms <= _READING_MAX_MS:
                return wall_ms - (before_ms + after_ms) // 2
