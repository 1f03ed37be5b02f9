"""CSV files of readings into a plan of what to store: a row per reading, or a column per point. Pure.

Nothing is guessed: a cell that cannot be taken is refused with its line, its column and what to do. What is not
refused becomes series by meter and point, ordered by time, no instant twice.
"""

import csv
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cloud_hub.energy.model import Finding
from cloud_hub.energy.restamping import Restamped, restamp
from cloud_hub.errors import Invalid
from cloud_hub.transfer.columns import Cell, Columns, read_columns
from cloud_hub.transfer.options import QUALITY, ImportOptions
from cloud_hub.transfer.plan import Plan, PlannedSeries, Rejections
from cloud_hub.transfer.stamps import NO_RECEIPT, BadStamp, Settled, Track, parse_stamp, settle
from cloud_hub.transfer.units import convert, stored_unit
from protocol.errors import InvalidIdentifier
from protocol.identifiers import parse_point_name
from protocol.quality import EXCEPTION_BASE, Quality, has_value, is_known_quality

READINGS_MAX = 20_000_000
"""One file is held in memory: about 40 bytes per reading."""

_INTERVAL_MS = 1_800_000
"""Of a series too short to show how often its meter reads."""

_QUALITIES = {code.name.lower(): code.value for code in Quality}


@dataclass(slots=True)
class _Found:
    """The readings of one point as they come, each with the place of its row in the track."""

    track: Track
    unit: str | None
    place: "array[int]" = field(default_factory=lambda: array("q"))
    value: "array[float]" = field(default_factory=lambda: array("d"))
    quality: "array[int]" = field(default_factory=lambda: array("h"))


class _Refused(Exception):
    """A cell, or the whole row when there is no column."""

    def __init__(self, column: str, given: str, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.column, self.given, self.reason, self.remedy = column, given, reason, remedy


class _Reader:
    """Takes rows in, one after another."""

    def __init__(self, columns: Columns, options: ImportOptions, rejections: Rejections) -> None:
        self._columns, self._options, self._rejections = columns, options, rejections
        self._tracks: dict[tuple[str, str], Track] = {}
        self.found: dict[tuple[str, str], _Found] = {}
        self.empty = self.readings = 0

    def take(self, row: Sequence[str], line: int) -> None:
        """Take one row; what cannot be taken is noted and left out."""
        try:
            self._take(row, line)
        except _Refused as refused:
            self._rejections.add(line, refused.column, refused.given, refused.reason, refused.remedy)

    def _take(self, row: Sequence[str], line: int) -> None:
        columns = self._columns
        if len(row) != columns.width:
            raise _Refused("", "", f"has {len(row)} cells where the first line has {columns.width}", "correct it")
        meter = self._options.meter if columns.meter < 0 else row[columns.meter].strip()
        if not meter:
            raise _Refused(columns.titles[columns.meter], "", "names no meter", "write the meter's id")
        stamp = self._stamp(row, columns.observed_at)
        if stamp is None:
            raise _Refused(columns.titles[columns.observed_at], "", "is empty", "write when the meter was read")
        received = self._stamp(row, columns.received_at) if columns.received_at >= 0 else None
        quality = self._quality(row)
        place: int | None = None
        for cell in columns.cells:
            try:
                one = self._named(row, cell) if columns.is_long else cell
                value = self._value(row, one, quality)
                if value is None:
                    self.empty += 1
                    continue
                found = self._series(meter, one)
                if place is None:
                    place = found.track.add(stamp, received, line)
                found.place.append(place)
                found.value.append(value)
                found.quality.append(quality)
                self.readings += 1
            except _Refused as refused:
                self._rejections.add(line, refused.column, refused.given, refused.reason, refused.remedy)
        if self.readings > READINGS_MAX:
            raise Invalid(
                f"the file holds more than {READINGS_MAX:,} readings: cut it into several, by time or by meter"
            )

    def _stamp(self, row: Sequence[str], index: int) -> datetime | None:
        text = row[index].strip()
        if not text:
            return None
        title = self._columns.titles[index]
        try:
            stamp = parse_stamp(text, self._options.time_format)
        except BadStamp as bad:
            raise _Refused(title, text, bad.reason, bad.remedy) from bad
        if stamp.tzinfo is None and self._options.time_zone is None:
            raise _Refused(title, text, "has no offset from UTC", "write it as …Z or …+01:00, or say --time-zone")
        if stamp.tzinfo is None and index == self._columns.received_at:
            raise _Refused(title, text, "has no offset from UTC", "write the time of receipt as …Z or …+01:00")
        return stamp

    def _quality(self, row: Sequence[str]) -> int:
        index = self._columns.quality
        text = "" if index < 0 else row[index].strip()
        code = _quality_code(text) if text else 0
        if code is None:
            raise _Refused(
                self._columns.titles[index], text, f"is no {QUALITY}", "write a word such as good or timeout"
            )
        return code

    def _named(self, row: Sequence[str], cell: Cell) -> Cell:
        columns = self._columns
        point = row[columns.point].strip()
        if not _is_point_name(point):
            raise _Refused(
                columns.titles[columns.point], point, "is no point's name", "write one such as active_power_total"
            )
        unit = row[columns.unit].strip() if columns.unit >= 0 else ""
        if not unit:
            return Cell(cell.index, cell.title, point, cell.unit, cell.factor)
        stored, factor = stored_unit(unit)
        return Cell(cell.index, cell.title, point, stored, factor)

    def _value(self, row: Sequence[str], cell: Cell, quality: int) -> float | None:
        text = row[cell.index].strip()
        if not has_value(quality):
            if text:
                raise _Refused(
                    cell.title, text, "stands beside a quality that carries no value", "delete one of the two"
                )
            return float("nan")
        if not text:
            return None
        try:
            return self._number(text, cell.factor)
        except ValueError:
            remedy = "write it as 1234.5, or leave the cell empty where nothing was read"
            if "," in text and not self._options.decimal_comma:
                remedy = "write it as 1234.5, or say --decimal-comma"
            raise _Refused(cell.title, text, "is no number", remedy) from None

    def _number(self, text: str, factor: Fraction) -> float:
        if self._options.decimal_comma:
            if "." in text:
                raise ValueError(text)
            text = text.replace(",", ".")
        return convert(text, factor)

    def _series(self, meter: str, cell: Cell) -> _Found:
        found = self.found.get((meter, cell.point))
        if found is None:
            # In the wide form the rows of a meter, in the long form those of a point, tell the order of its stamps.
            track = self._tracks.setdefault((meter, cell.point if self._columns.is_long else ""), Track())
            found = self.found[meter, cell.point] = _Found(track, cell.unit)
        elif found.unit != cell.unit:
            raise _Refused(cell.title, "", f"is in {cell.unit!r} where the point was in {found.unit!r}", "use one unit")
        return found


def parse_readings(lines: Iterable[str], options: ImportOptions) -> Plan:
    """Read a CSV file whose first line names its columns.

    Raises: Invalid when the file as a whole cannot be understood; single lines are refused in the plan.
    """
    rows = csv.reader(lines, delimiter=options.delimiter, strict=True)
    rejections = Rejections()
    counted = 0
    try:
        columns = read_columns(next(rows, []), options)
        reader = _Reader(columns, options, rejections)
        for row in rows:
            if row:
                counted += 1
                reader.take(row, rows.line_num)
    except csv.Error as error:
        raise Invalid(f"line {rows.line_num} is not CSV: {error}") from error
    settled = _settle_all(reader, options, columns, rejections)
    ordering = _Ordering(columns, rejections, round(options.clock_tolerance_s * 1000))
    ordered = [ordering.order(*names, found, settled[id(found.track)]) for names, found in reader.found.items()]
    return Plan(
        tuple(series for series in ordered if len(series)), rejections, counted, reader.empty, ordering.repeated
    )


def _settle_all(
    reader: _Reader, options: ImportOptions, columns: Columns, rejections: Rejections
) -> dict[int, Settled]:
    """Turn the stamps of every track into instants."""
    title = columns.titles[columns.observed_at]

    def refuse(line: int, given: str, reason: str, remedy: str) -> None:
        rejections.add(line, title, given, reason, remedy)

    settled: dict[int, Settled] = {}
    for found in reader.found.values():
        if id(found.track) not in settled:
            settled[id(found.track)] = settle(found.track, options.time_zone, refuse)
    return settled


class _Ordering:
    """Makes series of what was found, and counts what the file has twice."""

    def __init__(self, columns: Columns, rejections: Rejections, tolerance_ms: int) -> None:
        self._columns, self._rejections, self._tolerance_ms = columns, rejections, tolerance_ms
        self.repeated = 0

    def order(self, meter: str, point: str, found: _Found, settled: Settled) -> PlannedSeries:
        """Set a wrong clock right and sort by time; what the file says twice is taken once, and refused when it differs."""
        place = np.array(found.place, dtype=np.int64)
        known = settled.is_known[place]
        place = place[known]
        at, line = settled.at_ms[place], settled.line[place]
        value = np.array(found.value, dtype=np.float64)[known]
        quality = np.array(found.quality, dtype=np.int16)[known]
        findings: tuple[Finding, ...] = ()
        checked = np.flatnonzero(settled.received_ms[place] != NO_RECEIPT)
        if len(checked):
            set_right = self._restamp(at[checked], settled.received_ms[place][checked], value[checked])
            at[checked], findings = set_right.observed_ms, set_right.findings
            # What a clock said that was wrong is not to be trusted to the second.
            shifted = checked[set_right.shifted & (quality[checked] == Quality.GOOD)]
            quality[shifted] = Quality.CLOCK_UNCERTAIN
        order = np.lexsort((line, at))
        at, line, value, quality = at[order], line[order], value[order], quality[order]
        title = next((cell.title for cell in self._columns.cells if cell.point in {"", point}), "")
        kept = self._once(at, line, value, title)
        return PlannedSeries(
            meter, point, found.unit, at[kept], value[kept], quality[kept], line[kept], title, findings
        )

    def _restamp(self, at: NDArray[np.int64], received: NDArray[np.int64], value: NDArray[np.float64]) -> Restamped:
        steps = np.diff(np.unique(at))
        interval_ms = int(np.median(steps)) if len(steps) else _INTERVAL_MS
        return restamp(at, received, value, interval_ms=interval_ms, tolerance_ms=self._tolerance_ms)

    def _once(
        self, at: NDArray[np.int64], line: NDArray[np.int64], value: NDArray[np.float64], title: str
    ) -> NDArray[np.bool_]:
        """Say which readings stay when no instant may come twice: the first of each, by line."""
        is_first = np.diff(at, prepend=-1) > 0
        first = np.flatnonzero(is_first)[np.cumsum(is_first) - 1]
        is_same = (value == value[first]) | (np.isnan(value) & np.isnan(value[first]))
        for again in np.flatnonzero(~is_same).tolist():
            said, before = float(value[again]), float(value[first[again]])
            reason = f"contradicts line {int(line[first[again]])}: {before!r} at the same instant"
            self._rejections.add(int(line[again]), title, repr(said), reason, "delete the wrong one of the two lines")
        self.repeated += int((is_same & ~is_first).sum())
        return is_first


@lru_cache(maxsize=4096)
def _is_point_name(text: str) -> bool:
    try:
        parse_point_name(text)
    except InvalidIdentifier:
        return False
    return True


@lru_cache(maxsize=1024)
def _quality_code(text: str) -> int | None:
    if text.startswith("exception(") and text.endswith(")") and text[10:-1].isdecimal():
        code = EXCEPTION_BASE + int(text[10:-1])
    else:
        code = _QUALITIES.get(text.lower(), int(text) if text.isdecimal() and len(text) < 6 else -1)
    return code if code >= 0 and is_known_quality(code) else None


def iterate_lines(chunks: Iterable[str]) -> Iterator[str]:
    """Give the lines of a text file, without the mark that some programs put before the first."""
    for number, line in enumerate(chunks):
        yield line.removeprefix("\ufeff") if number == 0 else line
