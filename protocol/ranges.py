"""Sets of sequence numbers as ranges: what is held, sent, committed, safe. Pure and small."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Range(NamedTuple):
    """Sequence numbers from `first` to `last`, both included."""

    first: int
    last: int

    @property
    def size(self) -> int:
        """How many numbers the range holds."""
        return self.last - self.first + 1


class RangeSet:
    """An immutable set of whole numbers, kept as sorted ranges that neither overlap nor touch."""

    __slots__ = ("ranges",)

    ranges: tuple[Range, ...]

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        """Unite `(first, last)` pairs, both ends included, in any order.

        Raises: ValueError for a pair whose first is above its last.
        """
        merged: list[Range] = []
        for first, last in sorted(ranges):
            if first > last:
                message = f"range {first}..{last} runs backwards"
                raise ValueError(message)
            if merged and first <= merged[-1].last + 1:
                merged[-1] = Range(merged[-1].first, max(merged[-1].last, last))
            else:
                merged.append(Range(first, last))
        self.ranges = tuple(merged)

    @property
    def size(self) -> int:
        """How many numbers the set holds."""
        return sum(r.size for r in self.ranges)

    def __or__(self, other: "RangeSet") -> "RangeSet":
        if not other.ranges:
            return self
        return RangeSet((*self.ranges, *other.ranges))

    def __and__(self, other: "RangeSet") -> "RangeSet":
        result: list[tuple[int, int]] = []
        mine, theirs = self.ranges, other.ranges
        i = j = 0
        while i < len(mine) and j < len(theirs):
            first, last = max(mine[i].first, theirs[j].first), min(mine[i].last, theirs[j].last)
            if first <= last:
                result.append((first, last))
            if mine[i].last < theirs[j].last:
                i += 1
            else:
                j += 1
        return RangeSet(result)

    def __sub__(self, other: "RangeSet") -> "RangeSet":
        result: list[tuple[int, int]] = []
        theirs = other.ranges
        j = 0
        for first, last in self.ranges:
            start = first
            while j < len(theirs) and theirs[j].last < start:
                j += 1
            k = j
            while k < len(theirs) and theirs[k].first <= last:
                if theirs[k].first > start:
                    result.append((start, theirs[k].first - 1))
                start = theirs[k].last + 1
                k += 1
            if start <= last:
                result.append((start, last))
        return RangeSet(result)

    def __contains__(self, number: int) -> bool:
        i = bisect_left(self.ranges, number, key=lambda r: r.last)
        return i < len(self.ranges) and self.ranges[i].first <= number

    def __iter__(self) -> Iterator[Range]:
        return iter(self.ranges)

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RangeSet) and self.ranges == other.ranges

    def __hash__(self) -> int:
        return hash(self.ranges)

    def __repr__(self) -> str:
        return f"RangeSet({[tuple(r) for r in self.ranges]})"

    def covers(self, other: "RangeSet") -> bool:
        """Say whether every number of `other` is in this set."""
        return not other - self
