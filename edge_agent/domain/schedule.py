"""When a meter is due: instants of the wall-clock grid, computed from the grid and never from now.

All times are whole UTC milliseconds since 1970, so slot 0 of every grid begins there and hh:00 and
hh:30 are instants of every period that divides half an hour.
"""

from typing import NamedTuple


class Due(NamedTuple):
    """The slot to poll in next."""

    slot: int
    """Number of the slot since 1970."""
    at_ms: int
    """When the slot begins. In the past when the poll is late but still inside its slot."""
    missed: int
    """Slots that passed by unpolled. They are counted, never queued."""


def first_due(period_ms: int, now_ms: int) -> Due:
    """Return the first slot that begins at or after now."""
    slot = -(-now_ms // period_ms)
    return Due(slot, slot * period_ms, 0)


def next_due(period_ms: int, polled_slot: int, now_ms: int) -> Due:
    """Return the slot to poll after `polled_slot`.

    That is the one after it, or the one that now lies in when more have passed. When the clock was set
    back by more than a period, the grid is entered afresh.
    """
    current = now_ms // period_ms
    if current < polled_slot - 1:
        return first_due(period_ms, now_ms)
    slot = max(polled_slot + 1, current)
    return Due(slot, slot * period_ms, slot - polled_slot - 1)


def due_after(period_ms: int, polled_slot: int, now_ms: int, wait_ms: int) -> Due:
    """Return the first slot that begins at or after `wait_ms` from now, as a back-off asks."""
    soonest = next_due(period_ms, polled_slot, now_ms)
    slot = max(soonest.slot, first_due(period_ms, now_ms + wait_ms).slot)
    return Due(slot, slot * period_ms, soonest.missed + slot - soonest.slot)


def is_out_of_reach(due: Due, period_ms: int, now_ms: int, wait_ms: int = 0) -> bool:
    """Say whether a slot is so far ahead that only a clock set back can explain it."""
    return due.at_ms - now_ms > period_ms + wait_ms
