"""Scans are held while the clock is not trusted, and get their time once it is.

They have their numbers from the beginning: an older copy of the file that is put back gives the same ones,
so that the hub stores nothing twice. Those of this boot get their true time, from monotonic time. Those of
an earlier boot can have none any more: they are delivered as "clock uncertain", at the best guess between
what is known from before and from after.
"""

from collections.abc import Sequence
from dataclasses import replace

from edge_agent.buffer import held
from edge_agent.buffer.held import HeldRow, HeldScan
from edge_agent.buffer.schema import sequence_of
from edge_agent.buffer.store import BufferStore
from edge_agent.buffer.streams import StoredStream
from edge_agent.clock.clock import EARLIEST_MS
from edge_agent.domain.scan_blob import UnreadableRow
from protocol.quality import Quality
from protocol.ranges import Range, RangeSet
from protocol.scans import Entry, Gap, GapReason, Scan

ROWS_AT_A_TIME = 256
"""One transaction's worth: some tens of kilobytes, and no poll cycle waits long behind it."""


def hold(store: BufferStore, scans: Sequence[HeldScan]) -> Range:
    """Store scans that wait for their time under the next numbers, in one transaction; on disk when it returns."""
    live = store.live_stream
    first = following = live.next
    rows = []
    for scan in scans:
        rows.append(held.row_of(live.number, following, scan))
        following += scan.content.count if isinstance(scan.content, Gap) else 1
    with store.transaction():
        held.insert(store.connection, rows)
    live.next = following
    live.withheld = _from_to([*live.withheld, Range(first, following - 1)])
    return Range(first, following - 1)


def stamp_next(store: BufferStore, offset_ms: int) -> tuple[bytes, Range] | None:
    """Give the oldest held scans their time, in one transaction.

    `offset_ms` is UTC minus monotonic time in this boot. Returns which numbers of which stream are done; None
    when no scans wait.
    """
    stream = next((stream for stream in store.streams.values() if stream.withheld), None)
    if stream is None:
        return None
    is_certain = stream.boot_id == store.live_stream.boot_id
    if not is_certain:
        offset_ms = _guessed_offset(store, stream.boot_id, offset_ms)
    [(first, last)] = stream.withheld
    rows = held.first_rows(store.connection, stream.number, ROWS_AT_A_TIME + 1)
    end = sequence_of(rows.pop().position) if len(rows) > ROWS_AT_A_TIME else last + 1
    numbers = Range(first, end - 1)
    entries = [_stamped(entry, offset_ms, is_certain=is_certain) for entry in _readable(rows)]
    with store.transaction():
        _move(store, stream, numbers, entries)
    stream.withheld = RangeSet([(end, last)] if end <= last else [])
    return stream.stream_id, numbers


def _move(store: BufferStore, stream: StoredStream, numbers: Range, entries: Sequence[Entry]) -> None:
    """Put entries in the place of held rows inside a transaction; rows that were not readable become gap records."""
    there = RangeSet((entry.sequence, entry.last_sequence) for entry in store.entries(stream, *numbers))
    for entry in entries:
        if not there & RangeSet([(entry.sequence, entry.last_sequence)]):
            store.insert(stream, entry)
    moved = RangeSet((entry.sequence, entry.last_sequence) for entry in entries)
    for hole in RangeSet([numbers]) - moved - there:
        store.insert(stream, Entry(hole.first, Gap(hole.size, GapReason.UNREADABLE, 0, 0)))
    held.delete(store.connection, stream.number, numbers)


def _from_to(spans: Sequence[Range]) -> RangeSet:
    return RangeSet([(spans[0].first, spans[-1].last)])


def _readable(rows: Sequence[HeldRow]) -> list[Entry]:
    entries = []
    for row in rows:
        try:
            entries.append(row.entry())
        except UnreadableRow:
            continue
    return entries


def _stamped(entry: Entry, offset_ms: int, *, is_certain: bool) -> Entry:
    content = held.stamped(entry.content, offset_ms)
    return Entry(entry.sequence, content if is_certain else _doubted(content))


def _doubted(content: Scan | Gap) -> Scan | Gap:
    """Mark the values of a scan whose time is a guess; what else is wrong with a value stays said."""
    if isinstance(content, Gap):
        return content
    codes = (content.quality_at(index) for index in range(len(content.values)))
    doubted = (Quality.CLOCK_UNCERTAIN if code == Quality.GOOD else code for code in codes)
    return replace(content, quality=tuple(doubted))


def _guessed_offset(store: BufferStore, boot_id: bytes, present_offset_ms: int) -> int:
    """Return the guess for UTC minus monotonic time of a boot that is over; the same one for all its scans."""
    if boot_id not in store.guessed_offsets:
        store.guessed_offsets.update(_guess_offsets(store, present_offset_ms))
    return store.guessed_offsets[boot_id]


def _guess_offsets(store: BufferStore, present_offset_ms: int) -> dict[bytes, int]:
    """Guess the offsets of all earlier boots that held scans come from.

    A boot began after all that was stamped before, and ended before the next one began. Between the two its
    own wall clock is the best witness; a clock that shows something else was never set, and then the time
    right before the next boot is likelier than any other: controllers are restarted, rarely stored.
    """
    rows_of: dict[bytes, list[HeldRow]] = {}
    for stream in store.streams.values():
        if stream.withheld and stream.boot_id != store.live_stream.boot_id:
            rows_of.setdefault(stream.boot_id, []).extend(held.timed_rows(store.connection, stream.number))
    # A stamp from after this boot began was given by a clock that was wrong.
    known_to_ms = store.newest_stamp_ms if store.newest_stamp_ms <= present_offset_ms else 0
    guesses: dict[bytes, int] = {}
    next_boot_ms = present_offset_ms
    for boot_id, rows in reversed(rows_of.items()):
        guesses[boot_id] = next_boot_ms = _guess(rows, known_to_ms, next_boot_ms)
    return guesses


def _guess(rows: Sequence[HeldRow], known_to_ms: int, next_boot_ms: int) -> int:
    if not rows:
        return next_boot_ms
    first, last = rows[0], rows[-1]
    earliest = max(known_to_ms + 1, EARLIEST_MS) - first.monotonic_ms
    latest = next_boot_ms - last.monotonic_ms
    by_wall_clock = last.wall_ms - last.monotonic_ms
    return by_wall_clock if earliest <= by_wall_clock <= latest else max(earliest, latest)
