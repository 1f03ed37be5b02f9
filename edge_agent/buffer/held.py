"""Scans whose time is not known yet: numbered and on disk like the others, but kept apart until it is.

Rows have the key and the packing of `entries`, with monotonic time where those have UTC.
`edge_agent.buffer.stamping` gives them their time and moves them there.
"""

import sqlite3
import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from edge_agent.buffer.schema import position_of, sequence_of
from edge_agent.domain import scan_blob
from edge_agent.domain.scan_blob import Row, UnreadableRow
from protocol.ranges import Range, RangeSet
from protocol.scans import Entry, Gap, Scan

SELECT = "SELECT position, layout, monotonic_ms, body, wall_ms FROM held"
_INSERT = "INSERT INTO held (position, layout, monotonic_ms, body, wall_ms) VALUES (?, ?, ?, ?, ?)"


class HeldScan(NamedTuple):
    """A scan, or the record of some that are missing, that waits for its time."""

    content: Scan | Gap
    """Its times are monotonic."""
    wall_ms: int
    """What the wall clock showed, right or wrong."""


class HeldRow(NamedTuple):
    """One row of the table."""

    position: int
    layout: int | None
    monotonic_ms: int
    body: bytes
    wall_ms: int

    def entry(self) -> Entry:
        """Unpack what it holds; its times are monotonic.

        Raises: UnreadableRow.
        """
        try:
            return Entry(sequence_of(self.position), scan_blob.unpack(Row(self.layout, self.monotonic_ms, self.body)))
        except (TypeError, struct.error) as error:
            # Damaged cells may even have another type than their column.
            raise UnreadableRow(str(error)) from error


def stamped(content: Scan | Gap, offset_ms: int) -> Scan | Gap:
    """Turn monotonic times into UTC; `offset_ms` is the difference."""
    if isinstance(content, Scan):
        return replace(content, observed_at_ms=content.observed_at_ms + offset_ms)
    return replace(content, from_ms=content.from_ms + offset_ms, to_ms=content.to_ms + offset_ms)


def row_of(stream_number: int, sequence: int, held: HeldScan) -> HeldRow:
    """Make the row of a held scan."""
    layout, monotonic_ms, body = scan_blob.pack(held.content)
    return HeldRow(position_of(stream_number, sequence), layout, monotonic_ms, body, held.wall_ms)


def insert(connection: sqlite3.Connection, rows: Sequence[HeldRow]) -> None:
    """Put rows inside a transaction."""
    connection.executemany(_INSERT, rows)


def delete(connection: sqlite3.Connection, stream_number: int, numbers: Range) -> None:
    """Delete rows inside a transaction."""
    span = position_of(stream_number, numbers.first), position_of(stream_number, numbers.last)
    connection.execute("DELETE FROM held WHERE position BETWEEN ? AND ?", span)


def withheld_of(connection: sqlite3.Connection, stream_number: int) -> RangeSet:
    """Look up which numbers of a stream wait: from the lowest to the highest."""
    if not _exists(connection):
        return RangeSet()
    first = _row(connection, stream_number, "ORDER BY position")
    last = _row(connection, stream_number, "ORDER BY position DESC")
    return RangeSet([(sequence_of(first.position), _end_of(last))]) if first and last else RangeSet()


def first_rows(connection: sqlite3.Connection, stream_number: int, limit: int) -> list[HeldRow]:
    """Read the oldest rows of a stream."""
    rows = connection.execute(
        f"{SELECT} WHERE position BETWEEN ? AND ? ORDER BY position LIMIT ?", (*_bounds(stream_number), limit)
    )
    return [HeldRow(*row) for row in rows]


def timed_rows(connection: sqlite3.Connection, stream_number: int) -> list[HeldRow]:
    """Find the first and the last row of a stream."""
    ends = (_row(connection, stream_number, order) for order in ("ORDER BY position", "ORDER BY position DESC"))
    return [row for row in ends if row is not None]


def _row(connection: sqlite3.Connection, stream_number: int, order: str) -> HeldRow | None:
    found = connection.execute(
        f"{SELECT} WHERE position BETWEEN ? AND ? {order} LIMIT 1", _bounds(stream_number)
    ).fetchone()
    return None if found is None else HeldRow(*found)


def _end_of(row: HeldRow) -> int:
    try:
        return row.entry().last_sequence
    except UnreadableRow:
        return sequence_of(row.position)


def _bounds(stream_number: int) -> tuple[int, int]:
    return position_of(stream_number, 0), position_of(stream_number + 1, 0) - 1


def _exists(connection: sqlite3.Connection) -> bool:
    """Say whether the table is there: who only looks into a file of an older release does not migrate it."""
    found = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'held'")
    return bool(found.fetchone()[0])
