"""The wall clock of a local day, turned into UTC: what a schedule by the clock means on every day. Pure.

A time of the clock that a day leaves out is no time at all; one that it passes twice is both times.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, tzinfo
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cloud_hub.calendar.days import day_number, end_of_day, instant_of_ms, ms_of_instant, start_of_day

DAY_MIN = 24 * 60
_DAY_MS = 86_400_000
_MINUTE_MS = 60_000

Range = tuple[int, int]
"""`[from, to)` in UTC milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a local day on which the clock runs evenly."""

    from_ms: int
    to_ms: int
    midnight_ms: int
    """The instant at which that clock would have shown 00:00 of this day."""


@lru_cache(maxsize=8192)
def clock_segments(day: date, zone: tzinfo) -> tuple[Segment, ...]:
    """Cut a local day where its clock is changed: one segment, or two on the day of a change.

    A day that was left out of the calendar has none.
    """
    start, end = ms_of_instant(start_of_day(day, zone)), ms_of_instant(end_of_day(day, zone))
    if start == end:
        return ()
    cuts = [start, *_changes(start, end, zone), end]
    midnight = day_number(day) * _DAY_MS
    return tuple(Segment(low, high, midnight - _offset_ms(low, zone)) for low, high in pairwise(cuts))


def utc_ranges(day: date, zone: tzinfo, from_min: int, to_min: int) -> list[Range]:
    """Return when a day's clock stands in `[from_min, to_min)`, minutes since midnight, 0 to 1440.

    Ascending and disjoint. Empty when the clock jumps over all of it; two ranges when it passes it twice.
    """
    ranges = []
    for segment in clock_segments(day, zone):
        low = max(segment.from_ms, segment.midnight_ms + from_min * _MINUTE_MS)
        high = min(segment.to_ms, segment.midnight_ms + to_min * _MINUTE_MS)
        if low < high:
            ranges.append((low, high))
    return ranges


def unite(ranges: Iterable[Range]) -> list[Range]:
    """Sort ranges and join those that overlap or touch."""
    united: list[Range] = []
    for low, high in sorted(ranges):
        if united and low <= united[-1][1]:
            united[-1] = (united[-1][0], max(high, united[-1][1]))
        else:
            united.append((low, high))
    return united


def covered_ms(ranges: Sequence[Range], bounds_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many milliseconds of each interval between ascending `bounds_ms` lie in disjoint, ascending ranges."""
    if not ranges:
        return np.zeros(len(bounds_ms) - 1, dtype=np.int64)
    starts, ends = np.array(ranges, dtype=np.int64).T
    whole = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(ends - starts)])
    passed = np.searchsorted(ends, bounds_ms, side="right")
    begun = np.append(starts, np.iinfo(np.int64).max)[passed]
    before: NDArray[np.int64] = whole[passed] + np.where(bounds_ms > begun, bounds_ms - begun, 0)
    return np.diff(before)


def split_amounts(
    amounts: NDArray[np.int64], part_ms: NDArray[np.int64], whole_ms: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return what falls into the first `part_ms` of `whole_ms` of each amount, spread evenly, in whole units.

    Rounded down, so that parts cut one after the other, and the rest, always add up to the whole.
    """
    # Split before multiplying: amount times milliseconds may not fit in 64 bits.
    quotient, rest = np.divmod(amounts, whole_ms)
    parts: NDArray[np.int64] = quotient * part_ms + rest * part_ms // whole_ms
    return parts


def _offset_ms(at_ms: int, zone: tzinfo) -> int:
    local = instant_of_ms(at_ms).astimezone(zone)
    return ms_of_instant(local.replace(tzinfo=instant_of_ms(0).tzinfo)) - at_ms


def _changes(start: int, end: int, zone: tzinfo) -> list[int]:
    """Find the one instant at which the clock's offset changes inside `(start, end)`, to the second."""
    before, low, high = _offset_ms(start, zone), start, end - 1
    if _offset_ms(high, zone) == before:
        return []
    while high - low > 1:
        middle = (low + high) // 2
        if _offset_ms(middle, zone) == before:
            low = middle
        else:
            high = middle
    return [high]
