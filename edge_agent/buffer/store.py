"""The buffer's content, by plain calls: streams, entries, beliefs. One thread owns it.

`edge_agent.buffer.buffer` is its asyncio face, `edge_agent.buffer.space` makes room in it.
"""

import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from edge_agent.buffer import schema as buffer_schema
from edge_agent.buffer.schema import position_of, sequence_of
from edge_agent.buffer.streams import StoredStream, bounds, load_streams, lowest_of, ranges_text, unknown_gap, unpack
from edge_agent.domain import scan_blob
from edge_agent.domain.scan_blob import Row, UnreadableRow
from edge_agent.errors import BufferFull, StorageUnavailable
from protocol.identifiers import STREAM_ID_BYTES
from protocol.manifest import Manifest
from protocol.ranges import Range, RangeSet
from protocol.scans import Entry, Gap, GapReason, Scan

STREAMS_KEPT = 1000
"""Accounted-for runs whose names are kept, for the day on which the hub's database goes back in time."""

_INSERT = "INSERT INTO entries (position, layout, observed_at_ms, body) VALUES (?, ?, ?, ?)"
_PAGES_MAX = 2**30 - 1
"""Pages of a terabyte: more than any card has."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Consecutive entries of one stream, every number of the range accounted for."""

    manifest_hash: bytes
    entries: tuple[Entry, ...]


class BufferStore:
    """The streams and entries in one file. Errors of SQLite pass through; `translated` names them for others."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.connection = connection
        self.path = path
        self.streams: dict[bytes, StoredStream] = {s.stream_id: s for s in load_streams(connection)}
        """Oldest first."""
        self.incarnation = self.get_state("incarnation")
        self.live: StoredStream | None = None
        self._is_checked = False
        """Whether SQLite has looked at each page of this file, in this run."""
        self.newest_stamp_ms = max(self.get_state("anchor_ms"), self._newest_entry_ms())
        """The newest time that was known before this run, UTC ms; 0 for none."""
        self.guessed_offsets: dict[bytes, int] = {}
        """UTC minus monotonic time of boots that ended without a trusted clock, by boot id."""

    @property
    def live_stream(self) -> StoredStream:
        """The stream of this run, once it has begun."""
        if self.live is None:
            message = "begin_stream() comes before append()"
            raise RuntimeError(message)
        return self.live

    def begin_stream(self, manifest: Manifest, boot_id: bytes, started_at_ms: int) -> bytes:
        """Begin the stream of this run and return its random id; drop the names of runs that left nothing."""
        spent = self._spent_streams()
        with self.transaction():
            self.put_manifest(manifest.hash, manifest.body)
            stream = self.put_new_stream(manifest.hash, boot_id, started_at_ms)
            for old in spent:
                self.drop_stream(old)
        self.live = stream
        return stream.stream_id

    def begin_next_stream(self, manifest: Manifest, started_at_ms: int) -> StoredStream:
        """Begin another stream of this run and return it; the streams before it stay, names and all."""
        before = dict(self.streams)
        try:
            with self.transaction():
                self.put_manifest(manifest.hash, manifest.body)
                stream = self.put_new_stream(manifest.hash, self.live_stream.boot_id, started_at_ms)
        except BaseException:
            self.streams = before
            raise
        self.live = stream
        return stream

    def put_new_stream(self, manifest_hash: bytes, boot_id: bytes, started_at_ms: int) -> StoredStream:
        """Draw a stream and keep it inside a transaction; its manifest is kept already."""
        number = max((stream.number for stream in self.streams.values()), default=0) + 1
        stream = StoredStream(number, secrets.token_bytes(STREAM_ID_BYTES), manifest_hash, boot_id, started_at_ms)
        self.put_stream(stream)
        return stream

    def append(self, groups: Sequence[Sequence[Scan | Gap]]) -> list[Range]:
        """Store groups of contents in one transaction; on disk when it returns."""
        live = self.live_stream
        following = live.next
        ranges: list[Range] = []
        rows: list[tuple[int, int | None, int, bytes]] = []
        for group in groups:
            start = following
            for content in group:
                rows.append((position_of(live.number, following), *scan_blob.pack(content)))
                following += content.count if isinstance(content, Gap) else 1
            ranges.append(Range(start, following - 1))
        with self.transaction():
            self.connection.executemany(_INSERT, rows)
        live.next = following
        return ranges

    def read(self, stream_id: bytes, wanted: Range) -> Slice:
        """Read consecutive entries from `wanted.first`; what is not there is a gap record.

        The last entry ends at `wanted.last`, or at the stream's end when that comes first.
        """
        stream = self.streams[stream_id]
        last = min(wanted.last, stream.next - 1)
        entries: list[Entry] = []
        expected = wanted.first
        for entry in self.entries(stream, wanted.first, last):
            if entry.sequence < expected:
                raise buffer_schema.FileDamaged(f"its row {entry.sequence} stands where row {expected} should")
            if entry.sequence > expected:
                _add(entries, self._forgotten(stream, Range(expected, entry.sequence - 1)))
            _add(entries, entry)
            expected = entry.last_sequence + 1
        if expected <= last:
            _add(entries, self._forgotten(stream, Range(expected, last)))
        return Slice(stream.manifest_hash, tuple(entries))

    def _forgotten(self, stream: StoredStream, hole: Range) -> Entry:
        """Make the gap record of rows that are not there, unless a damaged page only hides them."""
        if not self._is_checked and not stream.committed.covers(RangeSet([hole])):
            # Rows go when the hub has them, so this is damage, or the hub's database went back in time.
            said = self.connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if said not in (b"ok", "ok"):
                raise buffer_schema.FileDamaged(f"its pages are in disorder ({said!r})")
            self._is_checked = True
        return Entry(hole.first, unknown_gap(hole.size, GapReason.FORGOTTEN))

    def record_belief(self, incarnation: int, beliefs: Mapping[bytes, tuple[RangeSet, RangeSet]]) -> None:
        """Keep what the hub has, committed and safe; streams that are not named keep theirs.

        Raises: KeyError for a stream that is not here.
        """
        with self.transaction():
            for stream_id, (committed, safe) in beliefs.items():
                stream = self.streams[stream_id]
                self.connection.execute(
                    "UPDATE streams SET next = ?, committed = ?, safe = ? WHERE number = ?",
                    (stream.next, ranges_text(committed), ranges_text(safe), stream.number),
                )
            self.put_state("incarnation", incarnation)
        self.incarnation = incarnation
        for stream_id, (committed, safe) in beliefs.items():
            self.streams[stream_id].committed = committed
            self.streams[stream_id].safe = safe

    def manifest_body(self, manifest_hash: bytes) -> bytes | None:
        """Return a manifest's canonical bytes, or None when it is not known here."""
        found = self.connection.execute("SELECT body FROM manifests WHERE hash = ?", (manifest_hash,)).fetchone()
        return None if found is None else bytes(found[0])

    def forget(self, stream_id: bytes, numbers: RangeSet) -> None:
        """Delete entries; their numbers stay used."""
        stream = self.streams[stream_id]
        with self.transaction():
            for span in numbers:
                self.delete(stream, span)
        self.refresh(stream)

    def delete(self, stream: StoredStream, span: Range) -> None:
        """Delete the entries of a span inside a transaction; a gap record that reaches beyond keeps its rest."""
        first, last = position_of(stream.number, span.first), position_of(stream.number, span.last)
        final = self._row_at_or_below(stream, span.last)
        self.connection.execute("UPDATE streams SET next = ? WHERE number = ?", (stream.next, stream.number))
        self.connection.execute("DELETE FROM entries WHERE position BETWEEN ? AND ?", (first, last))
        if final is None or final[1] is not None or sequence_of(final[0]) < span.first:
            return
        with suppress(UnreadableRow):
            gap = scan_blob.unpack(Row(*final[1:]))
            rest = sequence_of(final[0]) + gap.count - 1 - span.last if isinstance(gap, Gap) else 0
            if isinstance(gap, Gap) and rest > 0:
                self.insert(stream, Entry(span.last + 1, Gap(rest, gap.reason, gap.from_ms, gap.to_ms)))

    def insert(self, stream: StoredStream, entry: Entry) -> None:
        """Put one entry at its number inside a transaction."""
        self.connection.execute(_INSERT, (position_of(stream.number, entry.sequence), *scan_blob.pack(entry.content)))

    def refresh(self, stream: StoredStream) -> None:
        """Look up the stream's lowest entry again."""
        row = self.connection.execute(
            "SELECT min(position) FROM entries WHERE position BETWEEN ? AND ?", bounds(stream)
        ).fetchone()
        stream.lowest_held = lowest_of(stream, row[0])

    def observed_at_ms(self, stream: StoredStream, sequence: int) -> int | None:
        """Return when the entry at or above a sequence number was observed."""
        row = self.connection.execute(
            "SELECT observed_at_ms FROM entries WHERE position BETWEEN ? AND ? ORDER BY position LIMIT 1",
            (position_of(stream.number, sequence), bounds(stream)[1]),
        ).fetchone()
        return None if row is None else int(row[0])

    def _newest_entry_ms(self) -> int:
        """Return the newest time among the last entries of all streams; 0 when there are none."""
        newest = (
            self.connection.execute(
                "SELECT observed_at_ms FROM entries WHERE position BETWEEN ? AND ? ORDER BY position DESC LIMIT 1",
                bounds(stream),
            ).fetchone()
            for stream in self.streams.values()
        )
        return max((int(row[0]) for row in newest if row), default=0)

    def used_bytes(self) -> int:
        """Return the size of all pages that are in use."""
        pages = self.connection.execute("PRAGMA page_count").fetchone()[0]
        free = self.connection.execute("PRAGMA freelist_count").fetchone()[0]
        return int(pages - free) * buffer_schema.PAGE_BYTES

    def limit_growth(self, pages: int | None) -> None:
        """Let the file grow by so many pages at most; None for no limit."""
        most = _PAGES_MAX if pages is None else self.connection.execute("PRAGMA page_count").fetchone()[0] + pages
        self.connection.execute(f"PRAGMA max_page_count = {most}")

    def put_manifest(self, manifest_hash: bytes, body: bytes) -> None:
        """Keep a manifest inside a transaction."""
        self.connection.execute("INSERT OR IGNORE INTO manifests (hash, body) VALUES (?, ?)", (manifest_hash, body))

    def put_stream(self, stream: StoredStream) -> None:
        """Keep a stream and the copy of its name inside a transaction."""
        run = (stream.number, stream.stream_id, stream.manifest_hash, stream.boot_id, stream.started_at_ms)
        self.connection.execute(
            "INSERT INTO streams (number, stream_id, manifest_hash, boot_id, started_at_ms, next, committed, safe)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*run, stream.next, ranges_text(stream.committed), ranges_text(stream.safe)),
        )
        self.connection.execute("INSERT INTO stream_copies VALUES (?, ?, ?, ?, ?)", run)
        self.streams[stream.stream_id] = stream

    def drop_stream(self, stream: StoredStream) -> None:
        """Drop the name of a stream that holds nothing, inside a transaction, and its manifest when unused."""
        self.connection.execute("DELETE FROM streams WHERE number = ?", (stream.number,))
        self.connection.execute("DELETE FROM stream_copies WHERE number = ?", (stream.number,))
        self.connection.execute(
            "DELETE FROM manifests WHERE hash = ? AND hash NOT IN (SELECT manifest_hash FROM streams)",
            (stream.manifest_hash,),
        )
        self.streams.pop(stream.stream_id, None)

    def get_state(self, name: str) -> int:
        """Return a number that outlives the process; 0 when it was never put."""
        found = self.connection.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
        return 0 if found is None else int(found[0])

    def put_state(self, name: str, value: int) -> None:
        """Keep a number inside a transaction."""
        self.connection.execute("INSERT OR REPLACE INTO state (name, value) VALUES (?, ?)", (name, value))

    def put_states(self, states: Mapping[str, int]) -> None:
        """Keep numbers in one transaction."""
        with self.transaction():
            for name, value in states.items():
                self.put_state(name, value)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run a block in one transaction: all of it is on disk afterwards, or nothing."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            # A full disk may have rolled it back by itself.
            if self.connection.in_transaction:
                with suppress(sqlite3.Error):
                    self.connection.execute("ROLLBACK")
            raise

    def _spent_streams(self) -> list[StoredStream]:
        empty = [s for s in self.streams.values() if s.lowest_held == s.next and not s.outstanding]
        used = [s for s in empty if s.next > 1]
        return [s for s in empty if s.next == 1] + used[: max(0, len(used) - STREAMS_KEPT)]

    def entries(self, stream: StoredStream, first: int, last: int) -> Iterator[Entry]:
        """Yield what rows hold of a span; a row that cannot be read back as a gap record."""
        before = self._row_at_or_below(stream, first)
        start = before[0] if before is not None else position_of(stream.number, first)
        rows = self.connection.execute(
            "SELECT position, layout, observed_at_ms, body FROM entries WHERE position BETWEEN ? AND ?"
            " ORDER BY position",
            (start, position_of(stream.number, last)),
        )
        for position, *row in rows:
            sequence = sequence_of(position)
            content = unpack(Row(*row))
            end = sequence + (content.count - 1 if isinstance(content, Gap) else 0)
            if end < first:
                continue
            if isinstance(content, Gap):
                sequence, end = max(sequence, first), min(end, last)
                content = Gap(end - sequence + 1, content.reason, content.from_ms, content.to_ms)
            yield Entry(sequence, content)

    def _row_at_or_below(self, stream: StoredStream, sequence: int) -> tuple[int, int | None, int, bytes] | None:
        row: tuple[int, int | None, int, bytes] | None = self.connection.execute(
            "SELECT position, layout, observed_at_ms, body FROM entries WHERE position BETWEEN ? AND ?"
            " ORDER BY position DESC LIMIT 1",
            (bounds(stream)[0], position_of(stream.number, sequence)),
        ).fetchone()
        return row


def translated(error: sqlite3.Error | OSError, path: Path) -> StorageUnavailable:
    """Say for people why the disk did not take or give something."""
    if buffer_schema.is_full(error):
        return BufferFull(f"no room left for the buffer {path}: free space on its disk")
    return StorageUnavailable(f"the buffer {path} cannot be used now ({error}): check its disk, which may be read-only")


def _add(entries: list[Entry], entry: Entry) -> None:
    """Add an entry, or lengthen the gap record before it that says the same."""
    last, new = entries[-1].content if entries else None, entry.content
    mergeable = (GapReason.UNREADABLE, GapReason.FORGOTTEN)
    if isinstance(last, Gap) and isinstance(new, Gap) and last.reason is new.reason and last.reason in mergeable:
        merged = Gap(last.count + new.count, last.reason, 0, 0)
        entries[-1] = Entry(entries[-1].sequence, merged)
    else:
        entries.append(entry)
