"""The streams of a buffer as its file describes them."""

import json
import sqlite3
from dataclasses import dataclass, field

from edge_agent.buffer import held
from edge_agent.buffer import schema as buffer_schema
from edge_agent.buffer.schema import position_of, sequence_of
from edge_agent.domain import scan_blob
from edge_agent.domain.scan_blob import Row, UnreadableRow
from protocol.ranges import RangeSet
from protocol.scans import Gap, GapReason, Scan

_NO_NUMBERS = RangeSet()


@dataclass(slots=True)
class StoredStream:
    """One run of the agent as the buffer holds it."""

    number: int
    """The stream's small number in the file, growing with each run."""
    stream_id: bytes
    manifest_hash: bytes
    boot_id: bytes
    started_at_ms: int
    next: int = 1
    """The sequence number that the next scan gets, or would have got."""
    committed: RangeSet = field(default=_NO_NUMBERS)
    safe: RangeSet = field(default=_NO_NUMBERS)
    lowest_held: int = 1
    """The lowest sequence number that is in the file; `next` when none is."""
    withheld: RangeSet = field(default=_NO_NUMBERS)
    """Numbers that cannot be sent yet, because their scans wait for a trusted clock: one range, or none."""

    @property
    def outstanding(self) -> RangeSet:
        """What the hub had not confirmed when belief was last recorded."""
        return RangeSet([(1, self.next - 1)] if self.next > 1 else []) - self.committed


def load_streams(connection: sqlite3.Connection) -> list[StoredStream]:
    """Read the streams of a file, oldest first.

    Raises: sqlite3.Error, FileDamaged; TypeError or ValueError for what was never written.
    """
    rows = connection.execute(
        "SELECT number, stream_id, manifest_hash, boot_id, started_at_ms, next, committed, safe"
        " FROM streams ORDER BY number"
    ).fetchall()
    streams = []
    for number, stream_id, manifest_hash, boot_id, started_at_ms, following, committed, safe in rows:
        stream = StoredStream(number, stream_id, manifest_hash, boot_id, started_at_ms, following)
        stream.committed, stream.safe = parse_ranges(committed), parse_ranges(safe)
        lowest, highest = connection.execute(
            "SELECT (SELECT min(position) FROM entries WHERE position BETWEEN :first AND :last),"
            " (SELECT max(position) FROM entries WHERE position BETWEEN :first AND :last)",
            dict(zip(("first", "last"), bounds(stream), strict=True)),
        ).fetchone()
        if highest is not None:
            stream.next = max(stream.next, _end_of_row(connection, highest) + 1)
        stream.withheld = held.withheld_of(connection, stream.number)
        if highest is not None:
            _check_top(connection, stream, following, highest)
        stream.next = max([stream.next, *(span.last + 1 for span in stream.withheld)])
        stream.lowest_held = lowest_of(stream, lowest)
        streams.append(stream)
    return streams


def _check_top(connection: sqlite3.Connection, stream: StoredStream, following: int, highest: int) -> None:
    """Refuse a highest row that follows on nothing: damage can turn its number into any other.

    Rows below `following`, the next number as the file says, may have been deleted.
    """
    before = sequence_of(highest) - 1
    if before < following or before in stream.withheld:
        return
    row = connection.execute(
        "SELECT max(position) FROM entries WHERE position BETWEEN ? AND ?", (bounds(stream)[0], highest - 1)
    ).fetchone()
    if row[0] is None or _end_of_row(connection, row[0]) != before:
        raise buffer_schema.FileDamaged(f"its row {before + 1} follows on nothing")


def lowest_of(stream: StoredStream, lowest_position: int | None) -> int:
    """Return a stream's lowest number in the file, of entries and of what waits for the clock."""
    lowest = stream.next if lowest_position is None else sequence_of(lowest_position)
    return min([lowest, *(span.first for span in stream.withheld)])


def _end_of_row(connection: sqlite3.Connection, position: int) -> int:
    row = connection.execute(
        "SELECT layout, observed_at_ms, body FROM entries WHERE position = ?", (position,)
    ).fetchone()
    content = unpack(Row(*row))
    return sequence_of(position) + (content.count - 1 if isinstance(content, Gap) else 0)


def bounds(stream: StoredStream) -> tuple[int, int]:
    """Return the first and the last key of a stream."""
    return position_of(stream.number, 0), position_of(stream.number + 1, 0) - 1


def unpack(row: Row) -> Scan | Gap:
    """Unpack a row; one that is not readable is a gap record."""
    try:
        return scan_blob.unpack(row)
    except UnreadableRow:
        # The time is part of what the checksum refused, so it is not repeated.
        return unknown_gap(1, GapReason.UNREADABLE)


def unknown_gap(count: int, reason: GapReason) -> Gap:
    """Make a gap record of unknown time."""
    return Gap(count, reason, 0, 0)


def ranges_text(ranges: RangeSet) -> str:
    """Write ranges as the file keeps them."""
    return json.dumps([list(span) for span in ranges], separators=(",", ":"))


def parse_ranges(text: str) -> RangeSet:
    """Parse ranges as the file keeps them."""
    return RangeSet((first, last) for first, last in json.loads(text))
