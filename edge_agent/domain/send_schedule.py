"""When live scans are sent. Pure: both clocks are arguments.

`now_s` is monotonic; `now_ms` is UTC and may be set meanwhile, so a half hour is known by its number and
never by a monotonic instant computed in advance.
"""

import hashlib
import math
from dataclasses import dataclass

from protocol.site_config import SendSchedule

HALF_HOUR_S = 1_800
_HALF_HOUR_MS = HALF_HOUR_S * 1000
_SETTLE_MS = 10_000
"""Registers of a boundary are read from the boundary on; nothing is sent before they had time to arrive."""
_QUIET_S = 5.0
"""Scans that still keep coming belong to the boundary as well: they are waited for …"""
_QUIET_WITHIN_MS = 60_000
"""… up to this long."""


@dataclass(frozen=True, slots=True)
class SendPlan:
    """When to send, as settings and site configuration say together."""

    send: SendSchedule = SendSchedule.EVERY
    every_s: float = 60.0
    """Of `every` only."""
    spread_s: float = 300.0
    """Of `half_hour` only: controllers share out the boundary over this time."""

    @property
    def interval_s(self) -> float:
        """Return the usual seconds between two batches; 0 where scans go one by one."""
        if self.send is SendSchedule.HALF_HOUR:
            return HALF_HOUR_S
        return self.every_s if self.send is SendSchedule.EVERY else 0.0


class SendTimes:
    """Says when live scans are due, and how long that takes."""

    def __init__(self, plan: SendPlan, controller_id: str) -> None:
        """Begin with everything due; `controller_id` chooses the place in the spread."""
        self.plan = plan
        digest = hashlib.sha256(controller_id.encode()).digest()
        self._share = int.from_bytes(digest[:4], "big") / 2**32
        self._at_least_every_s = 0.0
        self._at_once_until_s = -math.inf
        self._hurried = True
        self._last_s = -math.inf
        self._last_slot: int | None = None

    def follow(self, plan: SendPlan) -> None:
        """Go by another plan from now on."""
        if plan != self.plan:
            self.plan, self._last_slot = plan, None

    def widen(self, at_least_every_s: float) -> None:
        """Send no more often than this, whatever the plan says; 0 ends it."""
        self._at_least_every_s = at_least_every_s

    def at_once(self, until_s: float) -> None:
        """Send each scan as soon as it is stored until then, whatever else is said."""
        self._at_once_until_s = until_s

    def hurry(self) -> None:
        """Have everything due until the next `done`."""
        self._hurried = True

    def is_due(self, now_s: float, now_ms: int, stored_s: float) -> bool:
        """Say whether what waits is to be sent now; `stored_s` is when something was last stored."""
        if self._hurried or now_s < self._at_once_until_s:
            return True
        if self.plan.send is not SendSchedule.HALF_HOUR:
            return now_s >= self._last_s + self._interval_s
        if self._slot(now_ms) == self._last_slot:
            return False
        return now_s - stored_s >= _QUIET_S or self._into_slot_ms(now_ms) >= _QUIET_WITHIN_MS

    def done(self, now_s: float, now_ms: int) -> None:
        """Note that all that was due has been sent, or that there was nothing."""
        self._hurried = False
        self._last_s, self._last_slot = now_s, self._slot(now_ms)

    def wait_s(self, now_s: float, now_ms: int) -> float:
        """Return how long nothing becomes due by itself; 0 when something is due or may be at any moment."""
        if self._hurried:
            return 0.0
        if self.plan.send is not SendSchedule.HALF_HOUR:
            return max(0.0, self._last_s + self._interval_s - now_s)
        if self._slot(now_ms) != self._last_slot:
            return _QUIET_S / 2
        return (_HALF_HOUR_MS - self._into_slot_ms(now_ms)) / 1000

    @property
    def _interval_s(self) -> float:
        return max(self.plan.interval_s, self._at_least_every_s)

    @property
    def _delay_ms(self) -> int:
        return _SETTLE_MS + round(self._share * self.plan.spread_s * 1000)

    def _slot(self, now_ms: int) -> int:
        return (now_ms - self._delay_ms) // _HALF_HOUR_MS

    def _into_slot_ms(self, now_ms: int) -> int:
        return (now_ms - self._delay_ms) % _HALF_HOUR_MS
