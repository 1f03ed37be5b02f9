"""The buffer's content, by plain calls: streams, entries, beliefs. One thread owns it.

`edge_agent.buffer` is its asyncio face, `edge_agent.buffer_space` makes room in it.
"""

import json
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent import buffer_schema
from edge_agent.buffer_schema import position_of, sequence_of
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

    @property
    def outstanding(self) -> RangeSet:
        """What the hub had not confirmed when belief was last recorded."""
        return RangeSet([(1, self.next - 1)] if self.next > 1 else []) - self.committed


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
        self.streams: dict[bytes, StoredStream] = {s.stream_id: s for s in _load_streams(connection)}
        """Oldest first."""
        self.incarnation = self.get_state("incarnation")
        self.live: StoredStream | None = None

    def begin_stream(self, manifest: Manifest, boot_id: bytes, started_at_ms: int) -> bytes:
        """Begin the stream of this run and return its random id; drop the names of runs that left nothing."""
        last_number = max((stream.number for stream in self.streams.values()), default=0)
        stream_id = secrets.token_bytes(STREAM_ID_BYTES)
        stream = StoredStream(last_number + 1, stream_id, manifest.hash, boot_id, started_at_ms)
        with self.transaction():
            self.put_manifest(manifest.hash, manifest.body)
            for old in self._spent_streams():
                self.drop_stream(old)
            self.put_stream(stream)
        self.live = stream
        return stream_id

    def append(self, groups: Sequence[Sequence[Scan | Gap]]) -> list[Range]:
        """Store groups of contents in one transaction; on disk when it returns."""
        live = self._live()
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
        for entry in self._entries(stream, wanted.first, last):
            if entry.sequence > expected:
                _add(entries, Entry(expected, _unknown_gap(entry.sequence - expected, GapReason.FORGOTTEN)))
            _add(entries, entry)
            expected = entry.last_sequence + 1
        if expected <= last:
            _add(entries, Entry(expected, _unknown_gap(last - expected + 1, GapReason.FORGOTTEN)))
        return Slice(stream.manifest_hash, tuple(entries))

    def record_belief(self, incarnation: int, beliefs: Mapping[bytes, tuple[RangeSet, RangeSet]]) -> None:
        """Keep what the hub has, committed and safe; streams that are not named keep theirs.

        Raises: KeyError for a stream that is not here.
        """
        with self.transaction():
            for stream_id, (committed, safe) in beliefs.items():
                stream = self.streams[stream_id]
                self.connection.execute(
                    "UPDATE streams SET next = ?, committed = ?, safe = ? WHERE number = ?",
                    (stream.next, _to_json(committed), _to_json(safe), stream.number),
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
            "SELECT min(position) FROM entries WHERE position BETWEEN ? AND ?", _bounds(stream)
        ).fetchone()
        stream.lowest_held = stream.next if row[0] is None else sequence_of(row[0])

    def observed_at_ms(self, stream: StoredStream, sequence: int) -> int | None:
        """Return when the entry at or above a sequence number was observed."""
        row = self.connection.execute(
            "SELECT observed_at_ms FROM entries WHERE position BETWEEN ? AND ? ORDER BY position LIMIT 1",
            (position_of(stream.number, sequence), _bounds(stream)[1]),
        ).fetchone()
        return None if row is None else int(row[0])

    def used_bytes(self) -> int:
        """Return the size of all pages that are in use."""
        pages = self.connection.execute("PRAGMA page_count").fetchone()[0]
        free = self.connection.execute("PRAGMA freelist_count").fetchone()[0]
        return int(pages - free) * buffer_schema.PAGE_BYTES

    def put_manifest(self, manifest_hash: bytes, body: bytes) -> None:
        """Keep a manifest inside a transaction."""
        self.connection.execute("INSERT OR IGNORE INTO manifests (hash, body) VALUES (?, ?)", (manifest_hash, body))

    def put_stream(self, stream: StoredStream) -> None:
        """Keep a stream and the copy of its name inside a transaction."""
        run = (stream.number, stream.stream_id, stream.manifest_hash, stream.boot_id, stream.started_at_ms)
        self.connection.execute(
            "INSERT INTO streams (number, stream_id, manifest_hash, boot_id, started_at_ms, next, committed, safe)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*run, stream.next, _to_json(stream.committed), _to_json(stream.safe)),
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

    def _live(self) -> StoredStream:
        if self.live is None:
            message = "begin_stream() comes before append()"
            raise RuntimeError(message)
        return self.live

    def _spent_streams(self) -> list[StoredStream]:
        empty = [s for s in self.streams.values() if s.lowest_held == s.next and not s.outstanding]
        used = [s for s in empty if s.next > 1]
        return [s for s in empty if s.next == 1] + used[: max(0, len(used) - STREAMS_KEPT)]

    def _entries(self, stream: StoredStream, first: int, last: int) -> Iterator[Entry]:
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
            content = _unpack(Row(*row))
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
            (_bounds(stream)[0], position_of(stream.number, sequence)),
        ).fetchone()
        return row


def translated(error: sqlite3.Error, path: Path) -> StorageUnavailable:
    """Say for people why the disk did not take or give something."""
    if buffer_schema.is_full(error):
        return BufferFull(f"no room left for the buffer {path}: free space on its disk")
    return StorageUnavailable(f"the buffer {path} cannot be used now ({error}): check its disk, which may be read-only")


def _load_streams(connection: sqlite3.Connection) -> list[StoredStream]:
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
            dict(zip(("first", "last"), _bounds(stream), strict=True)),
        ).fetchone()
        if highest is not None:
            stream.next = max(stream.next, _end_of_row(connection, highest) + 1)
        stream.lowest_held = stream.next if lowest is None else sequence_of(lowest)
        streams.append(stream)
    return streams


def _end_of_row(connection: sqlite3.Connection, position: int) -> int:
    row = connection.execute(
        "SELECT layout, observed_at_ms, body FROM entries WHERE position = ?", (position,)
    ).fetchone()
    content = _unpack(Row(*row))
    return sequence_of(position) + (content.count - 1 if isinstance(content, Gap) else 0)


def _bounds(stream: StoredStream) -> tuple[int, int]:
    return position_of(stream.number, 0), position_of(stream.number + 1, 0) - 1


def _unpack(row: Row) -> Scan | Gap:
    try:
        return scan_blob.unpack(row)
    except UnreadableRow:
        # The time is part of what the checksum refused, so it is not repeated.
        return _unknown_gap(1, GapReason.UNREADABLE)


def _unknown_gap(count: int, reason: GapReason) -> Gap:
    return Gap(count, reason, 0, 0)


def _add(entries: list[Entry], entry: Entry) -> None:
    """Add an entry, or lengthen the gap record before it that says the same."""
    last, new = entries[-1].content if entries else None, entry.content
    mergeable = (GapReason.UNREADABLE, GapReason.FORGOTTEN)
    if isinstance(last, Gap) and isinstance(new, Gap) and last.reason is new.reason and last.reason in mergeable:
        merged = Gap(last.count + new.count, last.reason, 0, 0)
        entries[-1] = Entry(entries[-1].sequence, merged)
    else:
        entries.append(entry)


def _to_json(ranges: RangeSet) -> str:
    return json.dumps([list(span) for span in ranges], separators=(",", ":"))


def parse_ranges(text: str) -> RangeSet:
    """Parse ranges as the file keeps them."""
    return RangeSet((first, last) for first, last in json.loads(text))
