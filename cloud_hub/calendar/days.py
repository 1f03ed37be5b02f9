"""Local days and their intervals. Pure.

Everything begins at a local midnight, looked up as a UTC instant, and goes on from there in steps of UTC
time: never in steps of the wall clock. So a day of a half-hourly ledger has 46, 48 or 50 intervals, and one of
Lord Howe, whose clock moves by 30 minutes, 47, 48 or 49.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

_EPOCH = date(1970, 1, 1)
_MS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Grid:
    """Successive intervals of whole local days. Interval i is `[bounds_ms[i], bounds_ms[i + 1])`."""

    bounds_ms: NDArray[np.int64]
    """UTC milliseconds since 1970; one more than there are intervals."""
    day: NDArray[np.int32]
    """Of each interval: the local date, as days since 1970-01-01."""
    slot: NDArray[np.int16]
    """Of each interval: the wall clock at its start, in minutes since midnight."""

    def __len__(self) -> int:
        return len(self.day)


def start_of_day(day: date, zone: tzinfo) -> datetime:
    """Return the first instant of a local day, in UTC.

    Where the clock jumps over midnight, the day begins with the jump; where it passes midnight twice, with
    the first time.
    """
    instant = datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)
    if instant.astimezone(zone).date() < day:  # no such midnight: fold=0 reads it by the clock before the jump
        return _first_instant(day, zone, instant)
    return instant


def end_of_day(day: date, zone: tzinfo) -> datetime:
    """Return the first instant after a local day, in UTC."""
    return start_of_day(day + timedelta(days=1), zone)


def _first_instant(day: date, zone: tzinfo, before: datetime) -> datetime:
    """Find the jump over midnight to the second, between `before` and a few hours later."""
    low, high = 0, 24 * 3600
    while high - low > 1:
        middle = (low + high) // 2
        if (before + timedelta(seconds=middle)).astimezone(zone).date() < day:
            low = middle
        else:
            high = middle
    return before + timedelta(seconds=high)


def local_date(instant: datetime, zone: tzinfo) -> date:
    """Return the local day that an instant lies in."""
    return instant.astimezone(zone).date()


def local_date_of_ms(at_ms: int, zone: tzinfo) -> date:
    """Return the local day that an instant in UTC milliseconds lies in."""
    return local_date(instant_of_ms(at_ms), zone)


def instant_of_ms(at_ms: int) -> datetime:
    """Return the instant of UTC milliseconds since 1970."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)


def ms_of_instant(instant: datetime) -> int:
    """Return an instant as UTC milliseconds since 1970."""
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // _MS


def day_number(day: date) -> int:
    """Return a date as days since 1970-01-01."""
    return (day - _EPOCH).days


def date_of_number(number: int) -> date:
    """Return the date that is so many days after 1970-01-01."""
    return _EPOCH + timedelta(days=number)


@lru_cache(maxsize=4096)
def day_bounds_ms(day: date, zone: ZoneInfo, interval_s: int) -> NDArray[np.int64]:
    """Return the borders of a local day's intervals in UTC milliseconds: one more than there are intervals.

    The last interval is shorter where the day's length is no multiple of `interval_s`. Read-only: it is shared.
    """
    start, end = ms_of_instant(start_of_day(day, zone)), ms_of_instant(start_of_day(day + timedelta(days=1), zone))
    bounds = np.append(np.arange(start, end, interval_s * 1000, dtype=np.int64), np.int64(end))
    bounds.setflags(write=False)
    return bounds


def make_grid(first: date, last: date, zone: ZoneInfo, interval_s: int) -> Grid:
    """Make the grid of the local days from `first` to `last`, both included."""
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    parts = [day_bounds_ms(day, zone, interval_s) for day in days]
    sizes = [len(part) - 1 for part in parts]
    bounds = np.concatenate([part[:-1] for part in parts] + [parts[-1][-1:]])
    slots = [_slots(day, zone, interval_s) for day in days]
    return Grid(bounds, np.repeat([day_number(day) for day in days], sizes).astype(np.int32), np.concatenate(slots))


@lru_cache(maxsize=4096)
def _slots(day: date, zone: ZoneInfo, interval_s: int) -> NDArray[np.int16]:
    starts = day_bounds_ms(day, zone, interval_s)[:-1].tolist()
    clocks = [instant_of_ms(start).astimezone(zone) for start in starts]
    return np.array([clock.hour * 60 + clock.minute for clock in clocks], dtype=np.int16)
