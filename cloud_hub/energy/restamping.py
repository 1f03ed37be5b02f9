"""Setting right the instants of readings that tell both when they were made and when they were received. Pure.

A reading cannot be received before it was made: where it seems so, the meter's clock was fast. That a reading is
received late proves nothing by itself, for a line may have been down; a clock that was slow shows otherwise: readings kept
coming at their usual pace while their instants fell back or jumped.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cloud_hub.energy.model import Finding, FindingKind, Int64s

_BLOCK_MIN = 3
"""Fewer late readings in a row are a matter of the line."""
_NEXT_BUT_ONE = 2
"""In order of time, a reading that was received twice stands beside its twin."""
_QUARTER_MS = 900_000
"""A clock that is wrong by about quarters of an hour is set to another zone: it is right to the second within that."""


@dataclass(frozen=True, slots=True)
class Restamped:
    """Readings in the order in which they were given."""

    observed_ms: Int64s
    """When they were made, as far as can be told."""
    shifted: NDArray[np.bool_]
    """Where that is not what they said."""
    repeated: NDArray[np.bool_]
    """Where the same instant and value was received before."""
    findings: tuple[Finding, ...]
    """`clock_shift` per block, `duplicate` and `out_of_order` per run; by instant."""


def restamp(
    observed_ms: Int64s, received_ms: Int64s, values: NDArray[np.float64], *, interval_ms: int, tolerance_ms: int
) -> Restamped:
    """Shift blocks of readings whose clock was off by a constant, and name what was received twice or out of order.

    The columns are equally long, in UTC milliseconds, in any order; of those received at once the given order counts.
    `interval_ms`: how far apart the meter usually reads. `tolerance_ms`: how much instants may be off by, and how much
    longer than usual a reading may travel, before it matters.
    """
    arrival = np.argsort(received_ms, kind="stable")
    shifts = _shifts(observed_ms[arrival], received_ms[arrival], interval_ms, tolerance_ms)
    observed = observed_ms[arrival] + shifts
    repeated = _repeated(observed, values[arrival])
    findings = [
        *_clock_shifts(observed, shifts),
        *_runs(FindingKind.DUPLICATE, observed, repeated),
        *_runs(FindingKind.OUT_OF_ORDER, observed, _overtaken(observed) & ~repeated),
    ]
    back = np.argsort(arrival)
    ordered = tuple(sorted(findings, key=lambda finding: (finding.from_ms, finding.kind)))
    return Restamped(observed[back], (shifts != 0)[back], repeated[back], ordered)


def _shifts(observed: Int64s, received: Int64s, interval_ms: int, tolerance_ms: int) -> Int64s:
    """Return what to add to each instant, in order of arrival."""
    lag = received - observed
    blocks = _blocks(lag, tolerance_ms)
    wrong = [_is_wrong(observed, received, block, interval_ms, tolerance_ms) for block in blocks]
    right = [lag[block] for block, is_wrong in zip(blocks, wrong, strict=True) if not is_wrong]
    usual = int(np.median(np.concatenate(right))) if right else 0
    shifts = np.zeros(len(observed), dtype=np.int64)
    for block, is_wrong in zip(blocks, wrong, strict=True):
        if is_wrong:
            shifts[block] = _rounded(int(np.median(lag[block])) - usual, tolerance_ms)
    return shifts


def _blocks(lag: Int64s, tolerance_ms: int) -> list[slice]:
    """Cut where the time that readings travelled leaves what it was at the beginning of the block."""
    borders: list[int] = []
    for index, travelled in enumerate(lag.tolist()):
        if not borders or abs(travelled - int(lag[borders[-1]])) > tolerance_ms:
            borders.append(index)
    return [slice(start, end) for start, end in pairwise([*borders, len(lag)])]


def _is_wrong(observed: Int64s, received: Int64s, block: slice, interval_ms: int, tolerance_ms: int) -> bool:
    """Say whether the clock was off: received before it was made, or late at the usual pace."""
    lag = received[block] - observed[block]
    if np.median(lag) < -tolerance_ms:
        return True
    if len(lag) < _BLOCK_MIN or np.median(lag) <= tolerance_ms:
        return False
    borders = [border for border in (block.start, block.stop) if 0 < border < len(observed)]
    return any(
        abs(received[border] - received[border - 1] - interval_ms) <= tolerance_ms
        and abs(observed[border] - observed[border - 1] - interval_ms) > tolerance_ms
        for border in borders
    )


def _rounded(shift_ms: int, tolerance_ms: int) -> int:
    quarters = round(shift_ms / _QUARTER_MS) * _QUARTER_MS
    return quarters if quarters and abs(shift_ms - quarters) <= tolerance_ms else shift_ms


def _repeated(observed: Int64s, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    order = np.lexsort((np.arange(len(observed)), values, observed))
    alike = (np.diff(observed[order]) == 0) & (np.diff(values[order]) == 0)
    repeated = np.zeros(len(observed), dtype=np.bool_)
    repeated[order[1:][alike]] = True
    return repeated


def _overtaken(observed: Int64s) -> NDArray[np.bool_]:
    """Say which readings were received after one that was made later."""
    return np.asarray(observed < np.maximum.accumulate(observed)) if len(observed) else np.zeros(0, dtype=np.bool_)


def _clock_shifts(observed: Int64s, shifts: Int64s) -> list[Finding]:
    borders = np.flatnonzero(np.diff(shifts, prepend=0, append=0)).tolist()
    return [
        Finding(
            FindingKind.CLOCK_SHIFT,
            int(observed[start:end].min()),
            int(observed[start:end].max()),
            {"shift_ms": int(shifts[start]), "readings": end - start},
        )
        for start, end in pairwise(borders)
        if shifts[start]
    ]


def _runs(kind: FindingKind, observed: Int64s, marked: NDArray[np.bool_]) -> list[Finding]:
    """Make one finding of what was marked one after the other in order of arrival or of time."""
    order = np.argsort(observed, kind="stable")
    by_time = np.flatnonzero(marked[order])
    groups = np.split(order[by_time], np.flatnonzero(np.diff(by_time) > _NEXT_BUT_ONE) + 1) if len(by_time) else []
    return [
        Finding(kind, int(observed[group[0]]), int(observed[group[-1]]), {"readings": len(group)}) for group in groups
    ]
