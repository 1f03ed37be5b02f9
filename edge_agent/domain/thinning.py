"""Which unacknowledged scans to give up when the buffer is full. Pure.

Scans are thinned, never cut off: every second sample goes, and the first of each meter in a half-hour
stays to the end, because it carries the counters' boundary values. A gap record takes the place of
what goes, so that every sequence number stays accounted for.
"""

from collections.abc import Sequence
from typing import NamedTuple

from protocol.scans import Entry, Gap, GapReason

_HALF_HOUR_MS = 30 * 60 * 1000


class Held(NamedTuple):
    """What thinning needs to know of one entry."""

    sequence: int
    layout: int | None
    """None for a gap record."""
    observed_at_ms: int
    gap: Gap | None = None

    @property
    def last_sequence(self) -> int:
        """The last sequence number that the entry covers."""
        return self.sequence + (self.gap.count - 1 if self.gap else 0)


class Thinned(NamedTuple):
    """The outcome: entries to delete, and the gap records to put in their place."""

    removed: tuple[int, ...]
    """Sequence numbers of scans that go, and of gap records that are merged into new ones."""
    gaps: tuple[Entry, ...]
    scans: int
    """How many of `removed` are scans; 0 means that nothing is left to thin."""


def thin(span: Sequence[Held], *, keep_boundaries: bool = True) -> Thinned:
    """Give up every second scan per layout of a span of one stream, in order of sequence.

    Without `keep_boundaries` the first scans of the half-hours are thinned as well: the last resort.
    """
    going = _every_second(span, keep_boundaries=keep_boundaries)
    removed: list[int] = []
    gaps: list[Entry] = []
    run: list[Held] = []
    for held in (*span, None):
        if held is not None and (held.sequence in going or _is_thinned(held)) and _follows(run, held):
            run.append(held)
            continue
        if any(member.sequence in going for member in run):
            removed.extend(member.sequence for member in run)
            gaps.append(_merged(run))
        run = [held] if held is not None and (held.sequence in going or _is_thinned(held)) else []
    return Thinned(tuple(removed), tuple(gaps), len(going))


def _every_second(span: Sequence[Held], *, keep_boundaries: bool) -> set[int]:
    going: set[int] = set()
    half_hour: dict[int, int] = {}
    goes_next: dict[int, bool] = {}
    for held in span:
        layout = held.layout
        if layout is None:
            continue
        current = held.observed_at_ms // _HALF_HOUR_MS if keep_boundaries else 0
        if half_hour.get(layout) != current:
            half_hour[layout] = current
            goes_next[layout] = True
            continue
        if goes_next[layout]:
            going.add(held.sequence)
        goes_next[layout] = not goes_next[layout]
    return going


def _is_thinned(held: Held) -> bool:
    return held.gap is not None and held.gap.reason is GapReason.THINNED


def _follows(run: Sequence[Held], held: Held) -> bool:
    return not run or run[-1].last_sequence + 1 == held.sequence


def _merged(run: Sequence[Held]) -> Entry:
    starts = [held.gap.from_ms if held.gap else held.observed_at_ms for held in run]
    ends = [held.gap.to_ms if held.gap else held.observed_at_ms for held in run]
    first = run[0].sequence
    return Entry(first, Gap(run[-1].last_sequence - first + 1, GapReason.THINNED, min(starts), max(ends)))
