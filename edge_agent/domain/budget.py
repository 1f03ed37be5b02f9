"""A month's bytes on the line: how many they will be, and what to do when that is too many. Pure.

Months are UTC's. First batches are widened, step by step up to half-hourly ones; then gauges are reported
less often, where that is allowed. Counters' values at half-hour boundaries are always reported.
"""

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from edge_agent.domain.send_schedule import HALF_HOUR_S

_HOUR_S = 3600.0
_HOURS_KEPT = 24
_HOURS_TO_JUDGE = 6
"""Hours at one level before the next is judged: each shows at least a dozen half-hourly batches."""
_BURST = 3.0
"""An hour counts for no more than this many usual ones: an outage's backlog is no habit."""
_EASE_BELOW = 0.9
_THINNING = (2, 4, 8)
_FIRST_STEP_S = 60.0


class Stage(StrEnum):
    """What is done to stay within the budget."""

    NORMAL = "normal"
    WIDE = "wide"
    THIN = "thin"


@dataclass(frozen=True, slots=True)
class Level:
    """One step of saving."""

    stage: Stage = Stage.NORMAL
    send_at_least_every_s: float = 0.0
    """0 = as the plan says."""
    keep_every: int = 1
    """Of a gauge's reports, one in so many is kept."""


def list_levels(send_interval_s: float, *, thin_gauges: bool) -> tuple[Level, ...]:
    """List the levels from the plan's own to the most saving one."""
    levels = [Level()]
    step_s = max(send_interval_s, _FIRST_STEP_S if send_interval_s < _FIRST_STEP_S else 2 * send_interval_s)
    while send_interval_s < HALF_HOUR_S and levels[-1].send_at_least_every_s < HALF_HOUR_S:
        levels.append(Level(Stage.WIDE, min(step_s, HALF_HOUR_S)))
        step_s *= 2
    if thin_gauges:
        widest_s = levels[-1].send_at_least_every_s
        levels += [Level(Stage.THIN, widest_s, keep_every) for keep_every in _THINNING]
    return tuple(levels)


class MonthTraffic:
    """The bytes of the present month."""

    def __init__(self) -> None:
        self.month = 0
        """Months since the year 0; 0 = none has begun."""
        self.used_bytes = 0

    def add(self, line_bytes: int, now_ms: int, *, is_clock_trusted: bool) -> bool:
        """Count bytes; True when a new month began with them.

        A clock that is not trusted begins no month: its bytes belong to the last one known.
        """
        month = month_of(now_ms)
        turned = is_clock_trusted and month != self.month
        if turned:
            is_first, self.month = not self.month, month
            # What was counted before the clock was known belongs to the month that it then says.
            self.used_bytes = self.used_bytes if is_first else 0
        self.used_bytes += line_bytes
        return turned


class Budget:
    """Watches the bytes of each hour, and chooses the level."""

    def __init__(self) -> None:
        self.limit_bytes: int | None = None
        self.index = 0
        """Which of the levels is in use; to be kept across restarts."""
        self._levels: tuple[Level, ...] = (Level(),)
        self._hours: deque[int] = deque(maxlen=_HOURS_KEPT)
        self._hour_began: tuple[float, int] | None = None

    @property
    def level(self) -> Level:
        """Return the level in use."""
        return self._levels[min(self.index, len(self._levels) - 1)]

    def follow(self, *, limit_bytes: int | None, send_interval_s: float, thin_gauges: bool) -> None:
        """Go by another budget from now on; None = there is none."""
        self.limit_bytes = limit_bytes
        self._levels = (Level(),) if limit_bytes is None else list_levels(send_interval_s, thin_gauges=thin_gauges)
        self.index = min(self.index, len(self._levels) - 1)

    def month_turned(self) -> None:
        """Begin the month as the plan says."""
        self._enter(0)
        self._hour_began = None

    def observe(self, used_bytes: int, now_ms: int, now_s: float) -> bool:
        """Look at the month's bytes so far; True when another level is in use from now on."""
        if self._hour_began is None:
            self._hour_began = now_s, used_bytes
        began_s, began_bytes = self._hour_began
        if now_s - began_s < _HOUR_S:
            return False
        hours = (now_s - began_s) / _HOUR_S
        self._hours.append(round((used_bytes - began_bytes) / hours))
        self._hour_began = now_s, used_bytes
        return self._judge(used_bytes, now_ms)

    def forecast_bytes(self, used_bytes: int, now_ms: int) -> int | None:
        """Return what the month will come to if the last hours are a guide; None while they are too few."""
        return self._forecast(used_bytes, now_ms, times=1) if self._hours else None

    def _forecast(self, used_bytes: int, now_ms: int, *, times: float) -> int:
        # The library's median would bring a megabyte of other things into memory.
        usual = sorted(self._hours)[len(self._hours) // 2]
        hourly = sum(min(hour, _BURST * max(1, usual)) for hour in self._hours) / len(self._hours)
        return round(used_bytes + times * hourly * seconds_left(now_ms) / _HOUR_S)

    def _judge(self, used_bytes: int, now_ms: int) -> bool:
        if self.limit_bytes is None or len(self._hours) < _HOURS_TO_JUDGE:
            return False
        if self._forecast(used_bytes, now_ms, times=1) > self.limit_bytes:
            return self._enter(min(self.index + 1, len(self._levels) - 1))
        # One step back at most doubles what is sent.
        has_room = self._forecast(used_bytes, now_ms, times=2) < _EASE_BELOW * self.limit_bytes
        if has_room and len(self._hours) == _HOURS_KEPT:
            return self._enter(max(self.index - 1, 0))
        return False

    def _enter(self, index: int) -> bool:
        is_news = index != self.index
        if is_news:
            self.index = index
            self._hours.clear()
        return is_news


def month_of(now_ms: int) -> int:
    """Return the UTC month of an instant, as months since the year 0."""
    at = datetime.fromtimestamp(now_ms / 1000, UTC)
    return at.year * 12 + at.month - 1


def seconds_left(now_ms: int) -> float:
    """Return the seconds from an instant to the end of its UTC month."""
    year, month = divmod(month_of(now_ms) + 1, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC).timestamp() - now_ms / 1000
