"""What the buffer holds as CSV, a row per reading. Beside a running agent as well; memory does not grow with it."""

import csv
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TextIO

from edge_agent.buffer.inspect import reading
from edge_agent.buffer.schema import SEQUENCE_BITS
from edge_agent.buffer.store import BufferStore
from edge_agent.commissioning.tables import iso
from edge_agent.domain import scan_blob
from edge_agent.domain.scan_blob import Row, UnreadableRow
from edge_agent.errors import AgentError
from protocol.errors import MalformedMessage
from protocol.limits import OBSERVED_AT_MS_MAX
from protocol.manifest import Layout, parse_manifest
from protocol.quality import quality_name
from protocol.scans import Gap, Scan
from protocol.wording import did_you_mean

HEADER = ("observed_at", "meter", "point", "value", "unit", "quality")
_ROWS_AT_ONCE = 500
"""Read in one transaction; between two of them the agent may reuse its write-ahead log."""
_SELECT = (
    "SELECT position, layout, observed_at_ms, body FROM entries"
    " WHERE position > ? AND (layout IS NULL OR observed_at_ms BETWEEN ? AND ?) ORDER BY position LIMIT ?"
)


_Entry = tuple[int, int | None, int, bytes]


class Writer(Protocol):
    """What `csv.writer` returns."""

    def writerow(self, row: Iterable[str], /) -> object:
        """Write one row."""

    def writerows(self, rows: Iterable[Iterable[str]], /) -> object:
        """Write several rows."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to export; None = all."""

    from_ms: int | None = None
    """The first instant, UTC ms."""
    to_ms: int | None = None
    """The instant behind the last, UTC ms."""
    meter: str | None = None
    point: str | None = None


@dataclass
class Exported:
    """What was written, and what could not be."""

    readings: int = 0
    missing: Counter[str] = field(default_factory=Counter)
    """Scans, by the reason for which they are not there."""
    held_for_clock: int = 0
    """Scans whose time is not known yet: they come later."""

    def remarks(self) -> Iterator[str]:
        """Say what is not in the file."""
        for reason, scans in sorted(self.missing.items()):
            yield f"{scans:,} scans are missing: {reason.replace('_', ' ')}"
        if self.held_for_clock:
            yield f"{self.held_for_clock:,} scans are left out: they wait for the clock to be set"


def export(path: Path, wanted: Wanted, out: TextIO) -> Exported:
    """Write what the buffer at `path` holds as CSV, oldest run first.

    Raises: AgentError when there is no buffer, or no such meter or point in it; BufferCorrupt.
    """
    _refuse_unknown(path, wanted)
    exported = Exported()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADER)
    position = -1
    while True:
        with reading(path) as connection:
            manifests = _Manifests(connection)
            rows = connection.execute(_SELECT, (position, *_bounds(wanted), _ROWS_AT_ONCE)).fetchall()
            for row in rows:
                _write(row, manifests, wanted, writer, exported)
            if len(rows) < _ROWS_AT_ONCE:
                exported.held_for_clock = sum(s.withheld.size for s in BufferStore(connection, path).streams.values())
                return exported
        position = rows[-1][0]


class _Manifests:
    """The layouts of each run, looked up as they are needed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._layouts: dict[int, tuple[Layout, ...]] = {}

    def layout(self, stream: int, index: int) -> Layout | None:
        """Return a layout of the run with that number; None when it is not known any more."""
        if stream not in self._layouts:
            self._layouts[stream] = self._load(stream)
        layouts = self._layouts[stream]
        return layouts[index] if 0 <= index < len(layouts) else None

    def _load(self, stream: int) -> tuple[Layout, ...]:
        found = self._connection.execute(
            "SELECT body FROM manifests WHERE hash = (SELECT manifest_hash FROM streams WHERE number = ?)", (stream,)
        ).fetchone()
        try:
            return parse_manifest(bytes(found[0])).layouts if found else ()
        except MalformedMessage:
            return ()


def _write(row: _Entry, manifests: _Manifests, wanted: Wanted, writer: Writer, exported: Exported) -> None:
    position = row[0]
    try:
        content = scan_blob.unpack(Row(*row[1:]))
    except UnreadableRow:
        exported.missing["unreadable"] += 1
        return
    if isinstance(content, Gap):
        if _overlaps(content, wanted):
            exported.missing[content.reason.name.lower()] += content.count
        return
    layout = manifests.layout(position >> SEQUENCE_BITS, content.layout)
    if layout is None:
        exported.missing["of_unknown_layout"] += 1
        return
    if wanted.meter in (None, layout.meter):
        exported.readings += _write_scan(content, layout, wanted, writer)


def _write_scan(scan: Scan, layout: Layout, wanted: Wanted, writer: Writer) -> int:
    at = iso(scan.observed_at_ms)
    rows = [
        (
            at,
            layout.meter,
            point.name,
            "" if value is None else f"{value:.15g}",
            point.unit,
            quality_name(scan.quality_at(slot)),
        )
        for slot, (point, value) in enumerate(zip(layout.points, scan.values, strict=False))
        if wanted.point in (None, point.name)
    ]
    writer.writerows(rows)
    return len(rows)


def _refuse_unknown(path: Path, wanted: Wanted) -> None:
    """Say at once that a meter or a point was never stored: an empty file would say it too late."""
    if wanted.meter is None and wanted.point is None:
        return
    with reading(path) as connection:
        bodies = connection.execute("SELECT body FROM manifests").fetchall()
    layouts = [layout for (body,) in bodies for layout in parse_manifest(bytes(body)).layouts]
    meters = {layout.meter for layout in layouts}
    if wanted.meter is not None and wanted.meter not in meters:
        raise AgentError(f"the buffer holds nothing of a meter {wanted.meter!r}{did_you_mean(wanted.meter, meters)}")
    points = {point.name for layout in layouts if wanted.meter in (None, layout.meter) for point in layout.points}
    if wanted.point is not None and wanted.point not in points:
        raise AgentError(f"the buffer holds no point {wanted.point!r}{did_you_mean(wanted.point, points)}")


def _bounds(wanted: Wanted) -> tuple[int, int]:
    first = 0 if wanted.from_ms is None else wanted.from_ms
    return first, OBSERVED_AT_MS_MAX if wanted.to_ms is None else wanted.to_ms - 1


def _overlaps(gap: Gap, wanted: Wanted) -> bool:
    first, last = _bounds(wanted)
    return not gap.to_ms or (gap.from_ms <= last and gap.to_ms >= first)


def parse_instant(text: str, option: str) -> int:
    """Parse an instant as people write it: `2026-03-01` or `2026-03-01T06:30:00Z`; UTC unless it says otherwise.

    Raises: AgentError.
    """
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise AgentError(f"{option} {text!r} is no date; write 2026-03-01 or 2026-03-01T06:30:00Z") from None
    aware = instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000)
