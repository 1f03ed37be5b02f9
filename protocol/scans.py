"""The unit of storage and of delivery: one visit to one meter, or the record of why it is missing."""

from dataclasses import dataclass
from enum import IntEnum

from protocol.quality import Quality


@dataclass(frozen=True, slots=True)
class Scan:
    """One visit to one meter at one instant."""

    layout: int
    """Index into the manifest's layouts: which meter, and which points in which order."""
    observed_at_ms: int
    """UTC milliseconds since 1970, by the controller's clock, when the answer arrived."""
    values: tuple[float | None, ...]
    """In the layout's order; None exactly where the quality code carries no value. Never NaN or infinite."""
    quality: tuple[int, ...] | None = None
    """Codes of `protocol.quality` in the layout's order; None when every value is good."""

    def quality_at(self, index: int) -> int:
        """Return the quality code of the point at `index`."""
        return Quality.GOOD if self.quality is None else self.quality[index]


class GapReason(IntEnum):
    """Why a sequence number carries no scan."""

    THINNED = 1
    """The buffer was full and this scan was given up for older or rarer ones."""
    UNREADABLE = 2
    """The buffer held it, but the row could not be read back."""
    NEVER_ARRIVED = 3
    """Announced by an agent that no longer has it. Written by the hub, never sent."""
    FORGOTTEN = 4
    """Committed once and then forgotten by the agent, before the hub's database went back in time."""
    NOT_STORED = 5
    """The disk refused to take it for longer than memory could bridge."""


@dataclass(frozen=True, slots=True)
class Gap:
    """The record that stands in the place of scans that no longer exist."""

    count: int
    """Consecutive sequence numbers that it covers, at least 1."""
    reason: GapReason
    from_ms: int
    """UTC milliseconds of the first scan that is missing; 0 when unknown."""
    to_ms: int
    """UTC milliseconds of the last scan that is missing; 0 when unknown."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a stream holds at `sequence`: a scan, or a gap that begins there."""

    sequence: int
    content: Scan | Gap

    @property
    def last_sequence(self) -> int:
        """The last sequence number that the entry covers."""
        return self.sequence + (self.content.count - 1 if isinstance(self.content, Gap) else 0)
