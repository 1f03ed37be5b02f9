"""Room in the buffer: what goes first when it is full.

First what the hub's backup holds too, then what the hub has committed, oldest first; then
unacknowledged scans are thinned. Deleted pages are used again; the file never shrinks, and nothing is
ever vacuumed while meters are polled.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edge_agent.buffer.schema import PAGE_BYTES, position_of, sequence_of
from edge_agent.buffer.store import BufferStore
from edge_agent.buffer.streams import StoredStream
from edge_agent.domain import scan_blob
from edge_agent.domain.scan_blob import Row, UnreadableRow
from edge_agent.domain.thinning import Held, thin
from protocol.ranges import Range, RangeSet
from protocol.scans import Gap

_ROWS_PER_STEP = 512
"""Rows that one transaction deletes: some tens of kilobytes, so that it fits the write-ahead log."""
_ROW_BYTES = 100
"""A scan of 20 readings, roughly: it sizes the spans that are thinned at a time."""
_SPAN_ROWS_MIN, _SPAN_ROWS_MAX = 64, 2048
_SPANS_PER_BUFFER = 8

_RawRow = tuple[Any, ...]
"""Position, layout, time, body, and what else its table carries along."""


def make_room(store: BufferStore, target_bytes: int, *, may_thin: bool = True) -> bool:
    """Delete, then thin, until no more than `target_bytes` are in use; say whether that was reached."""
    if _delete_oldest(store, target_bytes, lambda stream: stream.safe & stream.committed):
        return True
    if _delete_oldest(store, target_bytes, lambda stream: stream.committed):
        return True
    return may_thin and _Thinner(store, target_bytes).run()


def _delete_oldest(store: BufferStore, target_bytes: int, chosen: Callable[[StoredStream], RangeSet]) -> bool:
    for stream in list(store.streams.values()):
        held = RangeSet([(stream.lowest_held, stream.next - 1)] if stream.lowest_held < stream.next else [])
        for span in chosen(stream) & held:
            rest: Range | None = span
            while rest is not None:
                if store.used_bytes() <= target_bytes:
                    return True
                rest = _delete_step(store, stream, rest)
    return store.used_bytes() <= target_bytes


def _delete_step(store: BufferStore, stream: StoredStream, span: Range) -> Range | None:
    """Delete the first rows of a span; return what is left of it."""
    row = store.connection.execute(
        "SELECT max(position) FROM (SELECT position FROM entries WHERE position BETWEEN ? AND ?"
        " ORDER BY position LIMIT ?)",
        (position_of(stream.number, span.first), position_of(stream.number, span.last), _ROWS_PER_STEP),
    ).fetchone()
    if row[0] is None:
        return None
    last = sequence_of(row[0])
    store.forget(stream.stream_id, RangeSet([(span.first, last)]))
    return Range(last + 1, span.last) if last < span.last else None


@dataclass(frozen=True, slots=True)
class _Shelf:
    """A table of scans that can be thinned."""

    columns: str
    """Position, layout, time, body, and what else a row carries along."""
    table: str
    state: str
    """The name under which is kept how far it has been thinned."""


_SHELVES = (
    _Shelf("position, layout, observed_at_ms, body", "entries", "thinned_to"),
    _Shelf("position, layout, monotonic_ms, body, wall_ms", "held", "held_thinned_to"),
)
"""Oldest first: what waits for the clock is newer than most of what has its time."""


class _Thinner:
    """Walks from the oldest scan to the newest, halving, and then again from the oldest.

    Where it stopped outlives the process, so that a buffer that is full for weeks is thinned evenly.
    """

    def __init__(self, store: BufferStore, target_bytes: int) -> None:
        self._store = store
        self._target_bytes = target_bytes
        wanted = store.used_bytes() // _ROW_BYTES // _SPANS_PER_BUFFER
        self._span_rows = min(_SPAN_ROWS_MAX, max(_SPAN_ROWS_MIN, wanted))
        self._at = {shelf: store.get_state(shelf.state) for shelf in _SHELVES}

    def run(self) -> bool:
        """Thin until there is room; False when nothing is left to give up."""
        for keep_boundaries in (True, False):
            while True:
                began_anew = not any(self._at.values())
                scans = sum(self._pass(shelf, keep_boundaries=keep_boundaries) for shelf in _SHELVES)
                if self._has_room():
                    with self._store.transaction():
                        for shelf in _SHELVES:
                            self._store.put_state(shelf.state, self._at[shelf])
                    return True
                if began_anew and not scans:
                    break
        return False

    def _pass(self, shelf: _Shelf, *, keep_boundaries: bool) -> int:
        """Thin from where the last pass ended to the newest scans; return how many scans went."""
        scans = 0
        while not self._has_room():
            at = self._at[shelf]
            rows = self._span_after(shelf, at)
            is_newest = len(rows) < self._span_rows
            if not is_newest or at == 0:
                scans += self._thin_span(shelf, rows, keep_boundaries=keep_boundaries)
            self._at[shelf] = 0 if is_newest else rows[-1][0]
            if is_newest:
                break
        return scans

    def _has_room(self) -> bool:
        return self._store.used_bytes() <= self._target_bytes

    def _span_after(self, shelf: _Shelf, position: int) -> list[_RawRow]:
        return self._store.connection.execute(
            f"SELECT {shelf.columns} FROM {shelf.table} WHERE position > ? ORDER BY position LIMIT ?",  # noqa: S608 - names of our own
            (position, self._span_rows),
        ).fetchall()

    def _thin_span(self, shelf: _Shelf, rows: Sequence[_RawRow], *, keep_boundaries: bool) -> int:
        return sum(
            self._thin_rows(shelf, stream, rows, keep_boundaries=keep_boundaries)
            for stream in self._store.streams.values()
        )

    def _thin_rows(self, shelf: _Shelf, stream: StoredStream, rows: Sequence[_RawRow], *, keep_boundaries: bool) -> int:
        low, high = position_of(stream.number, 0), position_of(stream.number + 1, 0)
        own = [row for row in rows if low <= row[0] < high]
        thinned = thin([_held(row) for row in own], keep_boundaries=keep_boundaries)
        if not thinned.scans:
            return 0
        gone = set(thinned.removed)
        staying = [row for row in own if sequence_of(row[0]) not in gone]
        carried = {sequence_of(row[0]): row[4:] for row in own}
        gaps = [
            (position_of(stream.number, gap.sequence), *scan_blob.pack(gap.content), *carried[gap.sequence])
            for gap in thinned.gaps
        ]
        places = ", ".join("?" * len(own[0]))
        connection = self._store.connection
        with self._store.transaction():
            connection.execute("UPDATE streams SET next = ? WHERE number = ?", (stream.next, stream.number))
            # All rows of the span are written anew, because deleting every second row frees no page.
            connection.execute(
                f"DELETE FROM {shelf.table} WHERE position BETWEEN ? AND ?",  # noqa: S608 - likewise
                (own[0][0], own[-1][0]),
            )
            connection.executemany(
                f"INSERT INTO {shelf.table} ({shelf.columns}) VALUES ({places})",  # noqa: S608 - likewise
                sorted([*staying, *gaps]),
            )
        self._store.refresh(stream)
        return thinned.scans


def _held(row: _RawRow) -> Held:
    position, layout, observed_at_ms, body = row[:4]
    if layout is not None:
        return Held(sequence_of(position), layout, observed_at_ms)
    try:
        content = scan_blob.unpack(Row(layout, observed_at_ms, body))
    except UnreadableRow:
        content = None
    return Held(sequence_of(position), None, observed_at_ms, content if isinstance(content, Gap) else None)


def room_for(max_bytes: int, wal_bytes: int) -> int:
    """Return how much the pages in use may take when the file and its write-ahead log share `max_bytes`."""
    return max(max_bytes - wal_bytes, 64 * PAGE_BYTES)
