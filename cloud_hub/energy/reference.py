"""Reference days: what like days looked like before, to shape an estimate after. Pure.

Only what the register itself says is ever a reference: intervals that are measured and that no check doubts.
An estimate is never the reference of another, so one look back of `REFERENCE_DAYS` is all that an estimate
can depend on, and the order in which readings arrived cannot be seen in it.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from cloud_hub.energy.model import Cause, Int16s, Int32s, Int64s, IntervalQuality

REFERENCE_DAYS = 60
"""Days before a gap in which its reference days are looked for (VEE practice: 30 to 60)."""

REFERENCES_MIN = 3
REFERENCES_MAX = 5
"""How many reference days make an estimate (VEE practice: 3 to 5)."""

NOT_TYPICAL = (
    Cause.STUCK
    | Cause.JUMP
    | Cause.RESET
    | Cause.CLOCK
    | Cause.CONFLICT
    | Cause.NEGATIVE
    | Cause.MAX_DEMAND
    | Cause.VALIDATION_SPIKE
    | Cause.SUSPECT
    | Cause.EDIT
)
"""A measured interval with one of these is no reference. High, low and zero use are not among them: they are
found by looking back themselves, and a look back must not lead to a further one."""


class DayType(IntEnum):
    """Days of one type are taken to look alike."""

    WEEKDAY = 0
    SATURDAY = 1
    SUNDAY = 2
    """Or a public holiday."""


@dataclass(frozen=True, slots=True)
class ReferenceDays:
    """Measured amounts by local day and wall clock. Both tables have a row per day and a column per slot."""

    interval_s: int
    days: Int32s
    """Days since 1970-01-01, ascending, each once."""
    amounts_micro: Int64s
    """Slot k begins k intervals after midnight by the wall clock."""
    usable: NDArray[np.bool_]
    """Measured, and doubted by no check."""

    def __len__(self) -> int:
        return len(self.days)


LookUp = Callable[[int, int], ReferenceDays]
"""Get the reference days from a first to a last day, both included, as days since 1970-01-01."""


def no_reference(interval_s: int) -> ReferenceDays:
    """Return no days at all."""
    slots = _slots_of(interval_s)
    return ReferenceDays(
        interval_s, np.empty(0, np.int32), np.empty((0, slots), np.int64), np.empty((0, slots), np.bool_)
    )


def make_reference(
    day: Int32s, slot: Int16s, amounts_micro: Int64s, qualities: Int16s, causes: Int32s, *, interval_s: int
) -> ReferenceDays:
    """Make reference days of intervals as they are in the ledger, given as equally long columns in order of time.

    `day` and `slot` are those of a `cloud_hub.calendar.days.Grid`; days need not follow each other. An hour that
    the clock jumps over is taken to be like the one before; of one that comes twice, the first is taken.
    """
    slots = _slots_of(interval_s)
    days, row = np.unique(day, return_inverse=True)
    column = slot.astype(np.int64) * 60 // interval_s
    place, first = np.unique(row * slots + column, return_index=True)
    amounts = np.zeros((len(days), slots), np.int64)
    usable, there = np.zeros((2, len(days), slots), np.bool_)
    amounts.flat[place], there.flat[place] = amounts_micro[first], True
    usable.flat[place] = is_typical(qualities, causes)[first]
    if not there.all():
        _fill_holes(amounts, usable, there)
    return ReferenceDays(interval_s, days.astype(np.int32), amounts, usable)


def _fill_holes(amounts: Int64s, usable: NDArray[np.bool_], there: NDArray[np.bool_]) -> None:
    """Give the slots that a day's clock jumped over what their neighbour has. A day that is not over stays so."""
    for row in np.flatnonzero(~there.all(axis=1)):
        present = np.flatnonzero(there[row])
        for column in np.flatnonzero(~there[row][: present[-1]]):
            before = present[present < column]
            neighbour = before[-1] if len(before) else present[0]
            amounts[row, column], usable[row, column] = amounts[row, neighbour], usable[row, neighbour]


def _slots_of(interval_s: int) -> int:
    return -(-86_400 // interval_s)


def merge(kept: ReferenceDays, added: ReferenceDays) -> ReferenceDays:
    """Return the days of both; a day that both have is taken from `kept`."""
    new = ~np.isin(added.days, kept.days)
    days = np.concatenate([kept.days, added.days[new]])
    order = np.argsort(days)
    return ReferenceDays(
        kept.interval_s,
        days[order],
        np.concatenate([kept.amounts_micro, added.amounts_micro[new]])[order],
        np.concatenate([kept.usable, added.usable[new]])[order],
    )


def is_typical(qualities: Int16s, causes: Int32s) -> NDArray[np.bool_]:
    """Say of each interval whether it may serve as a reference."""
    typical: NDArray[np.bool_] = (qualities == IntervalQuality.MEASURED) & ((causes & int(NOT_TYPICAL)) == 0)
    return typical


def looks_back(qualities: Int16s, causes: Int32s) -> NDArray[np.bool_]:
    """Say of each interval in the ledger whether its amount depends, or could depend, on reference days.

    Measured amounts that change make such intervals stale for `REFERENCE_DAYS` after. (Flags of high and low use
    look back at the same weekdays of `weeks` before, whatever the interval.)
    """
    open_ended = (qualities >= IntervalQuality.PARTIAL) & ((causes & int(Cause.NO_DATA)) != 0)
    stale: NDArray[np.bool_] = (qualities == IntervalQuality.ESTIMATED) | open_ended
    return stale


def day_types(days: Int32s, holidays: Collection[int]) -> NDArray[np.int8]:
    """Return the `DayType` of each day; `holidays` are days since 1970-01-01 too."""
    weekday = weekdays(days)
    types = np.where(weekday == 5, DayType.SATURDAY, np.where(weekday == 6, DayType.SUNDAY, DayType.WEEKDAY))
    if holidays:
        types[np.isin(days, list(holidays))] = DayType.SUNDAY
    return types.astype(np.int8)


def weekdays(days: Int32s) -> Int32s:
    """Return 0 for Monday to 6 for Sunday."""
    return (days + 3) % 7  # 1970-01-01 was a Thursday


@dataclass(frozen=True, slots=True)
class Choice:
    """How many reference days are wanted."""

    at_least: int
    at_most: int
    holidays: Collection[int] = frozenset()
    """Days since 1970-01-01."""


def typical_amounts(
    reference: ReferenceDays, *, before: int, day_type: DayType, choice: Choice
) -> tuple[Int64s, NDArray[np.bool_]]:
    """Return the mean amount of each slot in whole micro units, and for which slots there is one.

    Each slot is taken from the newest days of one type on which it is usable, of those within `REFERENCE_DAYS`
    before the day `before`. So what is typical of a slot does not depend on which others are asked for.
    """
    recent = (reference.days < before) & (reference.days >= before - REFERENCE_DAYS)
    rows = np.flatnonzero(recent & (day_types(reference.days, choice.holidays) == day_type))[::-1]
    usable = reference.usable[rows]
    chosen = usable & (np.cumsum(usable, axis=0) <= choice.at_most)
    counts = chosen.sum(axis=0)
    total = np.where(chosen, reference.amounts_micro[rows], 0).sum(axis=0)
    return total // np.maximum(counts, 1), counts >= choice.at_least


def same_weekday_totals(reference: ReferenceDays, *, day: int, weeks: int, holidays: Collection[int]) -> list[int]:
    """Return the totals of the same weekdays in the weeks before, of those that are wholly usable.

    Holidays are like no weekday. Every day counts as 24 hours by the wall clock.
    """
    wanted = [day - 7 * week for week in range(1, weeks + 1) if day - 7 * week not in holidays]
    rows = np.flatnonzero(np.isin(reference.days, wanted) & reference.usable.all(axis=1))
    totals: list[int] = reference.amounts_micro[rows].sum(axis=1).tolist()
    return totals
