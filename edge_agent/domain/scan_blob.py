"""The bytes of one scan, or of one gap record, in a row of the buffer. Pure.

A value takes one varint: zigzag of its digits, shifted by a tag that says how many decimals they have;
a value that is no short decimal follows its tag as a raw float64. Every float64 comes back as it went
in. A checksum over the whole row finds bits that a worn card has turned.
"""

import struct
import zlib
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from protocol.quality import Quality, has_value
from protocol.scans import Gap, GapReason, Scan

_DECIMALS_MAX = 6
_RAW_TAG = 7
_TAG_BITS = 3
_EXACT_INTEGER_MAX = 2**53
_POWERS: tuple[int, ...] = tuple(10**decimals for decimals in range(_DECIMALS_MAX + 1))
_FLOAT64 = struct.Struct("<d")
_CHECKED_HEAD = struct.Struct("<iq")
_CHECKSUM_BYTES = 4
_NO_LAYOUT = -1
_NEGATIVE_ZERO = _FLOAT64.pack(-0.0)


class Row(NamedTuple):
    """One row of the buffer, but for its key."""

    layout: int | None
    """None for a gap record."""
    observed_at_ms: int
    """Of a gap record, the first instant that is missing."""
    body: bytes


class UnreadableRow(ValueError):
    """A row whose bytes are not what was written."""


def pack(content: Scan | Gap) -> Row:
    """Pack a scan or a gap record."""
    body = bytearray(_CHECKSUM_BYTES)
    if isinstance(content, Gap):
        for number in (content.count, content.reason, _zigzag(content.to_ms - content.from_ms)):
            _put_varint(body, number)
        return _sealed(None, content.from_ms, body)
    _put_quality(body, content.quality)
    for value in content.values:
        if value is not None:
            _put_value(body, value)
    return _sealed(content.layout, content.observed_at_ms, body)


def unpack(row: Row) -> Scan | Gap:
    """Unpack what `pack` made.

    Raises: UnreadableRow.
    """
    if not _is_sound(row):
        message = "the row's checksum does not fit its content"
        raise UnreadableRow(message)
    # The checksum held, so from here on the bytes are what `pack` wrote.
    reader = _Reader(row.body)
    if row.layout is None:
        count, reason, span_ms = reader.varint(), reader.varint(), _undo_zigzag(reader.varint())
        return Gap(count, GapReason(reason), row.observed_at_ms, row.observed_at_ms + span_ms)
    quality = tuple(reader.quality())
    if not quality:
        return Scan(row.layout, row.observed_at_ms, tuple(reader.values()))
    values = tuple(reader.value() if has_value(code) else None for code in quality)
    return Scan(row.layout, row.observed_at_ms, values, quality)


def _is_sound(row: Row) -> bool:
    try:
        return row.body[:_CHECKSUM_BYTES] == _checksum(row.layout, row.observed_at_ms, row.body[_CHECKSUM_BYTES:])
    except (TypeError, struct.error):
        # A damaged cell may have any length, and even another type than its column.
        return False


def _sealed(layout: int | None, observed_at_ms: int, body: bytearray) -> Row:
    body[:_CHECKSUM_BYTES] = _checksum(layout, observed_at_ms, bytes(body[_CHECKSUM_BYTES:]))
    return Row(layout, observed_at_ms, bytes(body))


def _checksum(layout: int | None, observed_at_ms: int, packed: bytes) -> bytes:
    head = _CHECKED_HEAD.pack(_NO_LAYOUT if layout is None else layout, observed_at_ms)
    return zlib.crc32(packed, zlib.crc32(head)).to_bytes(_CHECKSUM_BYTES, "little")


def _put_quality(body: bytearray, quality: tuple[int, ...] | None) -> None:
    """Put the number of runs, 0 when all is good, then (length, code) of each."""
    runs = [(len(list(run)), code) for code, run in groupby(quality or ())]
    if len(runs) == 1 and runs[0][1] == Quality.GOOD:
        runs = []
    _put_varint(body, len(runs))
    for length, code in runs:
        _put_varint(body, length)
        _put_varint(body, code)


def _put_value(body: bytearray, value: float) -> None:
    for decimals, power in enumerate(_POWERS):
        scaled = value * power
        if not -_EXACT_INTEGER_MAX < scaled < _EXACT_INTEGER_MAX:
            break
        digits = round(scaled)
        if digits / power == value:
            if not digits and _FLOAT64.pack(value) == _NEGATIVE_ZERO:
                break
            _put_varint(body, _zigzag(digits) << _TAG_BITS | decimals)
            return
    body.append(_RAW_TAG)
    body += _FLOAT64.pack(value)


def _put_varint(body: bytearray, number: int) -> None:
    while number > 0x7F:
        body.append(number & 0x7F | 0x80)
        number >>= 7
    body.append(number)


def _zigzag(number: int) -> int:
    return number << 1 if number >= 0 else ~(number << 1)


def _undo_zigzag(number: int) -> int:
    return ~(number >> 1) if number & 1 else number >> 1


class _Reader:
    """Walks through a packed body, behind its checksum."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = _CHECKSUM_BYTES

    def varint(self) -> int:
        number = shift = 0
        while True:
            byte = self._body[self._at]
            self._at += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7

    def quality(self) -> Iterator[int]:
        for _ in range(self.varint()):
            length, code = self.varint(), self.varint()
            yield from [code] * length

    def value(self) -> float:
        tagged = self.varint()
        tag = tagged & _RAW_TAG
        if tag != _RAW_TAG:
            return _undo_zigzag(tagged >> _TAG_BITS) / _POWERS[tag]
        value = _FLOAT64.unpack_from(self._body, self._at)[0]
        self._at += _FLOAT64.size
        return float(value)

    def values(self) -> Iterator[float]:
        while self._at < len(self._body):
            yield self.value()
