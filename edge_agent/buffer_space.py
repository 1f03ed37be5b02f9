"""Room in the buffer: what goes first when it is full.

First what the hub's backup holds too, then what the hub has committed, oldest first; then
unacknowledged scans are thinned. Deleted pages are used again; the file never shrinks, and nothing is
ever vacuumed while meters are polled.
"""

from collections.abc import Callable, Sequence

from edge_agent.buffer_schema import PAGE_BYTES, position_of, sequence_of
from edge_agent.buffer_store import BufferStore, StoredStream
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

_RawRow = tuple[int, int | None, int, bytes]


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


class _Thinner:
    """Walks from the oldest entry to the newest, halving, and then again from the oldest.

    Where it stopped outlives the process, so that a buffer that is full for weeks is thinned evenly.
    """

    def __init__(self, store: BufferStore, target_bytes: int) -> None:
        self._store = store
        self._target_bytes = target_bytes
        wanted = store.used_bytes() // _ROW_BYTES // _SPANS_PER_BUFFER
        self._span_rows = min(_SPAN_ROWS_MAX, max(_SPAN_ROWS_MIN, wanted))

    def run(self) -> bool:
        """Thin until there is room; False when nothing is left to give up."""
        at = self._store.get_state("thinned_to")
        for keep_boundaries in (True, False):
            while True:
                began_at = at
                scans, at = self._pass(began_at, keep_boundaries=keep_boundaries)
                if self._has_room():
                    with self._store.transaction():
                        self._store.put_state("thinned_to", at)
                    return True
                if began_at == 0 and not scans:
                    break
        return False

    def _pass(self, at: int, *, keep_boundaries: bool) -> tuple[int, int]:
        """Thin from a position to the newest entries; return how many scans went and where to go on."""
        scans = 0
        while not self._has_room():
            rows = self._span_after(at)
            is_newest = len(rows) < self._span_rows
            if not is_newest or at == 0:
                scans += self._thin_span(rows, keep_boundaries=keep_boundaries)
            if is_newest:
                return scans, 0
            at = rows[-1][0]
        return scans, at

    def _has_room(self) -> bool:
        return self._store.used_bytes() <= self._target_bytes

    def _span_after(self, position: int) -> list[_RawRow]:
        return self._store.connection.execute(
            "SELECT position, layout, observed_at_ms, body FROM entries WHERE position > ? ORDER BY position LIMIT ?",
            (position, self._span_rows),
        ).fetchall()

    def _thin_span(self, rows: Sequence[_RawRow], *, keep_boundaries: bool) -> int:
        return sum(
            self._thin_rows(stream, rows, keep_boundaries=keep_boundaries) for stream in self._store.streams.values()
        )

    def _thin_rows(self, stream: StoredStream, rows: Sequence[_RawRow], *, keep_boundaries: bool) -> int:
        low, high = position_of(stream.number, 0), position_of(stream.number + 1, 0)
        own = [row for row in rows if low <= row[0] < high]
        thinned = thin([_held(row) for row in own], keep_boundaries=keep_boundaries)
        if not thinned.scans:
            return 0
        gone = set(thinned.removed)
        staying = [row for row in own if sequence_of(row[0]) not in gone]
        gaps = [(position_of(stream.number, gap.sequence), *scan_blob.pack(gap.content)) for gap in thinned.gaps]
        connection = self._store.connection
        with self._store.transaction():
            connection.execute("UPDATE streams SET next = ? WHERE number = ?", (stream.next, stream.number))
            # All rows of the span are written anew, because deleting every second row frees no page.
            connection.execute("DELETE FROM entries WHERE position BETWEEN ? AND ?", (own[0][0], own[-1][0]))
            connection.executemany(
                "INSERT INTO entries (position, layout, observed_at_ms, body) VALUES (?, ?, ?, ?)",
                sorted([*staying, *gaps]),
            )
        self._store.refresh(stream)
        return thinned.scans


def _held(row: _RawRow) -> Held:
    position, layout, observed_at_ms, body = row
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
