"""When a meter is due: instants of the wall-clock grid, computed from the grid and never from now.

All times are whole UTC milliseconds since 1970, so slot 0 of every grid begins there; without an offset,
hh:00 and hh:30 are instants of every period that divides half an hour.
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


class Grid(NamedTuple):
    """The instants at which something is due: each `period_ms`, `offset_ms` after the slot begins."""

    period_ms: int
    offset_ms: int = 0
    """0 <= offset < period."""

    def slot_at(self, now_ms: int) -> int:
        """Return the slot whose instant was last."""
        return (now_ms - self.offset_ms) // self.period_ms

    def due_in(self, slot: int, missed: int = 0) -> Due:
        """Return when a slot is due."""
        return Due(slot, slot * self.period_ms + self.offset_ms, missed)

    def first_due(self, now_ms: int) -> Due:
        """Return the first slot that is due at or after now."""
        return self.due_in(-((self.offset_ms - now_ms) // self.period_ms))

    def next_due(self, polled_slot: int, now_ms: int) -> Due:
        """Return the slot to poll after `polled_slot`.

        That is the one after it, or the one that now lies in when more have passed. When the clock was set
        back by more than a period, the grid is entered afresh.
        """
        current = self.slot_at(now_ms)
        if current < polled_slot - 1:
            return self.first_due(now_ms)
        slot = max(polled_slot + 1, current)
        return self.due_in(slot, slot - polled_slot - 1)

    def due_after(self, polled_slot: int, now_ms: int, wait_ms: int) -> Due:
        """Return the first slot that is due at or after `wait_ms` from now, as a back-off asks."""
        soonest = self.next_due(polled_slot, now_ms)
        slot = max(soonest.slot, self.first_due(now_ms + wait_ms).slot)
        return self.due_in(slot, soonest.missed + slot - soonest.slot)
