"""A controller's SD card: what survives a power cut, what can be copied, put back and damaged."""

from dataclasses import dataclass, field

from contract_model.messages import Content, is_gap

from protocol.ranges import Range, RangeSet
from protocol.scans import GapReason


class Unreadable(Exception):
    """A number cannot be read back and nothing says why."""


@dataclass(slots=True)
class StoredStream:
    """One stream on the card."""

    manifest: bytes
    rows: dict[int, Content] = field(default_factory=dict)
    damaged: set[int] = field(default_factory=set)
    next: int = 1
    committed: RangeSet = field(default_factory=RangeSet)
    safe: RangeSet = field(default_factory=RangeSet)
    waiting: set[int] = field(default_factory=set)
    """Numbers of scans that wait for a trusted clock."""

    def copy(self) -> "StoredStream":
        """Copy it as a card is copied."""
        twin = StoredStream(self.manifest, dict(self.rows), set(self.damaged), self.next, self.committed, self.safe)
        twin.waiting = set(self.waiting)
        return twin

    @property
    def scan_numbers(self) -> list[int]:
        """Number the scans that are here, lowest first."""
        return [number for number, content in self.rows.items() if not is_gap(content) and number not in self.damaged]

    @property
    def lowest_held(self) -> int:
        """Return the lowest number that has a row, `next` when there is none."""
        return min(self.rows, default=self.next)


@dataclass(slots=True)
class Disk:
    """Streams, oldest first, and what the agent last wrote down of the hub."""

    streams: dict[bytes, StoredStream] = field(default_factory=dict)
    incarnation: int = 0
    full: bool = False
    """It takes nothing: full, or gone read-only."""
    unsynced: list[tuple[bytes, int]] = field(default_factory=list)
    unnumbered: list[Content] = field(default_factory=list)
    """Scans that wait for a trusted clock, with a rule taken away."""

    def copy(self) -> "Disk":
        """Copy the card; what was not yet synced is not on the copy."""
        twin = Disk({name: stream.copy() for name, stream in self.streams.items()}, self.incarnation)
        twin.unsynced = list(self.unsynced)
        twin.unnumbered = list(self.unnumbered)
        twin.cut_power()
        return twin

    def append(self, stream_id: bytes, contents: list[Content]) -> Range:
        """Number contents and write them, in one transaction that `sync` makes durable."""
        stream = self.streams[stream_id]
        first = stream.next
        for content in contents:
            stream.rows[stream.next] = content
            self.unsynced.append((stream_id, stream.next))
            stream.next += 1
        return Range(first, stream.next - 1)

    def sync(self) -> None:
        """Make everything durable."""
        self.unsynced.clear()

    def cut_power(self) -> None:
        """Lose what was not synced."""
        for stream_id, number in reversed(self.unsynced):
            stream = self.streams[stream_id]
            stream.rows.pop(number, None)
            stream.next = min(stream.next, number)
        self.unsynced.clear()

    def read(
        self, stream_id: bytes, numbers: Range, *, damage_is_gap: bool = True, absence_is_gap: bool = True
    ) -> tuple[Content, ...]:
        """Read consecutive numbers; what cannot be read back comes as the reason for it.

        Raises: Unreadable, with a rule taken away.
        """
        stream = self.streams[stream_id]
        contents: list[Content] = []
        for number in range(numbers.first, numbers.last + 1):
            damaged = number in stream.damaged
            absent = number not in stream.rows or number in stream.waiting
            if (damaged and not damage_is_gap) or (absent and not absence_is_gap):
                raise Unreadable
            if damaged:
                contents.append(GapReason.UNREADABLE)
            else:
                contents.append(GapReason.FORGOTTEN if absent else stream.rows[number])
        return tuple(contents)

    def forget(self, stream_id: bytes, number: int) -> None:
        """Delete a row; its number stays below `next`."""
        stream = self.streams[stream_id]
        stream.rows.pop(number, None)
        stream.damaged.discard(number)

    def scan_count(self) -> int:
        """Count the scans that take room."""
        return sum(len(stream.scan_numbers) for stream in self.streams.values())
