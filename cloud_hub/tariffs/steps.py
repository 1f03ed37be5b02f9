"""Values that hold for spans of time, such as prices and emission factors, and intervals cut where values change. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from cloud_hub.calendar.clock import split_amounts

Int64s = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Steps:
    """Values by time: `values[i]` holds in `[from_ms[i], until_ms[i])`. Ascending and disjoint; there may be holes."""

    from_ms: Int64s
    until_ms: Int64s
    values: Sequence[Decimal]

    def places(self, at_ms: Int64s) -> Int64s:
        """Return the places of the values that hold at these instants; -1 where none does."""
        if not len(self.values):
            return np.full(len(at_ms), -1, dtype=np.int64)
        places = np.searchsorted(self.from_ms, at_ms, side="right") - 1
        return np.where((places >= 0) & (at_ms < self.until_ms[places]), places, -1)


def make_steps(spans: Iterable[tuple[int, int, Decimal]]) -> Steps:
    """Make steps of (from, until, value), in any order.

    Raises: ValueError when two overlap.
    """
    rows = sorted(spans, key=lambda row: row[0])
    from_ms = np.array([row[0] for row in rows], dtype=np.int64)
    until_ms = np.array([row[1] for row in rows], dtype=np.int64)
    if (until_ms <= from_ms).any() or (from_ms[1:] < until_ms[:-1]).any():
        raise ValueError("spans overlap, or end before they begin")
    return Steps(from_ms, until_ms, tuple(row[2] for row in rows))


@dataclass(frozen=True, slots=True)
class Pieces:
    """Intervals, cut where a value changes inside one. In order of time, without a hole."""

    from_ms: Int64s
    to_ms: Int64s
    intervals: Int64s
    """The place in the grid of the interval that each piece is of."""

    def __len__(self) -> int:
        return len(self.intervals)


def cut_pieces(bounds_ms: Int64s, edges_ms: Sequence[Int64s]) -> Pieces:
    """Cut the intervals between `bounds_ms` at every edge."""
    first, last = bounds_ms[0], bounds_ms[-1]
    inside = [edges[(edges > first) & (edges < last)] for edges in edges_ms]
    cuts = np.unique(np.concatenate([bounds_ms, *inside]))
    intervals = np.searchsorted(bounds_ms, cuts[:-1], side="right") - 1
    return Pieces(cuts[:-1], cuts[1:], intervals.astype(np.int64))


def amounts_of_pieces(pieces: Pieces, bounds_ms: Int64s, amounts: Int64s) -> Int64s:
    """Return what falls into each piece, spread evenly over its interval; the pieces add up to the interval.

    Raises: TypeError for amounts that are no integers: they would not be exact.
    """
    if amounts.dtype.kind != "i":
        raise TypeError(f"amounts are {amounts.dtype}, not whole millionths")
    whole_ms = np.diff(bounds_ms)[pieces.intervals]
    starts, totals = bounds_ms[:-1][pieces.intervals], amounts.astype(np.int64)[pieces.intervals]
    before = split_amounts(totals, pieces.from_ms - starts, whole_ms)
    return split_amounts(totals, pieces.to_ms - starts, whole_ms) - before
