"""A point's readings over time as columns: where nothing was read, and how to draw many with few. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocol.quality import Quality

NO_READING = -1
"""In a quality column: nobody has a reading for this stretch of time."""

HOLE_PERIODS = 2.5
"""Two readings further apart than this many periods have a hole between them."""

_KEPT_PER_BUCKET = 3


@dataclass(frozen=True, slots=True)
class Series:
    """Equally long columns, ordered by time."""

    observed_at_ms: NDArray[np.int64]
    """UTC milliseconds since 1970."""
    value: NDArray[np.float64]
    """NaN where the quality carries no value."""
    quality: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.observed_at_ms)

    def take(self, indices: NDArray[np.int64]) -> "Series":
        """Return the rows at `indices`."""
        return Series(self.observed_at_ms[indices], self.value[indices], self.quality[indices])


def mark_holes(series: Series, period_s: float) -> Series:
    """Put a row without value into every stretch where a meter read each `period_s` has no reading."""
    period_ms = max(1, round(period_s * 1000))
    before = np.flatnonzero(np.diff(series.observed_at_ms) > HOLE_PERIODS * period_ms)
    if not len(before):
        return series
    at = before + 1
    return Series(
        np.insert(series.observed_at_ms, at, series.observed_at_ms[before] + period_ms),
        np.insert(series.value, at, np.nan),
        np.insert(series.quality, at, NO_READING),
    )


def reduce(series: Series, points_max: int) -> Series:
    """Keep at most `points_max` rows that draw the same picture.

    Of each equal stretch of time stay the lowest value, the highest, and the first row that is missing
    or (when none is) doubted, so that neither a peak nor a gap is smoothed away.
    """
    if len(series) <= points_max:
        return series
    buckets = max(1, points_max // _KEPT_PER_BUCKET)
    times = series.observed_at_ms
    bucket = (times - times[0]) * buckets // (times[-1] - times[0] + 1)
    starts = np.flatnonzero(np.diff(bucket, prepend=-1))
    members = np.diff(starts, append=len(series))
    lowest = np.repeat(np.fmin.reduceat(series.value, starts), members)
    highest = np.repeat(np.fmax.reduceat(series.value, starts), members)
    missing, doubted = np.isnan(series.value), series.quality != Quality.GOOD
    flagged = np.where(np.repeat(np.logical_or.reduceat(missing, starts), members), missing, doubted)
    kept = (_first_of_each(bucket, mask) for mask in (series.value == lowest, series.value == highest, flagged))
    return series.take(np.unique(np.concatenate([*kept])))


def _first_of_each(bucket: NDArray[np.int64], mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    rows = np.flatnonzero(mask)
    _, first = np.unique(bucket[rows], return_index=True)
    return rows[first]
