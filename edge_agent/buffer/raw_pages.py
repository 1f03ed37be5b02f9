"""Rows of a damaged SQLite file read from its pages as they lie there, without the trees that lead to them.

A lost page of the schema or of a tree's upper levels hides every page below it from SQLite. The rows
themselves are still there: each table leaf page says where its cells are. What pages that were given
back hold is found as well, so rows may be older than they should be.
Source: the SQLite database file format, sections 1.6 (b-tree pages) and 2.1 (record format).
"""

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from edge_agent.buffer.schema import PAGE_BYTES

Value = int | float | bytes | None
"""Text comes as its bytes."""

_FILE_HEADER_BYTES = 100
_TABLE_LEAF = 0x0D
_LEAF_HEADER_BYTES = 8
_LOCAL_MAX = PAGE_BYTES - 35
_LOCAL_MIN = (PAGE_BYTES - 12) * 32 // 255 - 23
_OVERFLOW_BYTES = PAGE_BYTES - 4
_PAYLOAD_MAX = 2**20
"""Longer than any row of ours: a larger number is damage."""
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_FLOAT64, _ZERO, _ONE, _BLOB = 7, 8, 9, 12
_UNREADABLE = (ValueError, IndexError, struct.error)


class RawRow(NamedTuple):
    """A row of some table."""

    rowid: int
    columns: tuple[Value, ...]
    """A column that is the rowid's other name is None here."""


def raw_rows(path: Path) -> Iterator[RawRow]:
    """Yield what looks like a row, page after page. Only a checksum tells whether it is one.

    Raises: OSError.
    """
    with path.open("rb") as file:
        number = 0
        while page := _read_page(file.fileno(), number):
            yield from _rows_of_page(file.fileno(), page, _FILE_HEADER_BYTES if number == 0 else 0)
            number += 1


def _read_page(descriptor: int, number: int) -> bytes:
    """Read a page, the first being 0; empty behind the last. One that a worn card refuses is noise."""
    try:
        return os.pread(descriptor, PAGE_BYTES, number * PAGE_BYTES)
    except OSError:
        return bytes(PAGE_BYTES)


def _rows_of_page(descriptor: int, page: bytes, header: int) -> Iterator[RawRow]:
    if len(page) < PAGE_BYTES or page[header] != _TABLE_LEAF:
        return
    cells = int.from_bytes(page[header + 3 : header + 5])
    pointers = page[header + _LEAF_HEADER_BYTES :][: 2 * cells]
    for at in range(0, len(pointers) - 1, 2):
        with suppress(*_UNREADABLE):
            yield _row(descriptor, page, int.from_bytes(pointers[at : at + 2]))


def _row(descriptor: int, page: bytes, at: int) -> RawRow:
    size, at = _varint(page, at)
    rowid, at = _varint(page, at)
    if size > _PAYLOAD_MAX:
        message = "no row of ours is so long"
        raise ValueError(message)
    local = size if size <= _LOCAL_MAX else _LOCAL_MIN + (size - _LOCAL_MIN) % _OVERFLOW_BYTES
    if local > _LOCAL_MAX:
        local = _LOCAL_MIN
    payload = page[at : at + local]
    if local < size:
        payload += _overflow(descriptor, int.from_bytes(page[at + local : at + local + 4]), size - local)
    return RawRow(rowid, tuple(_columns(payload)))


def _overflow(descriptor: int, number: int, size: int) -> bytes:
    """Read the rest of a long row from the chain of pages that begins with `number`, the first being 1."""
    content = b""
    while len(content) < size:
        page = _read_page(descriptor, number - 1) if number else b""
        if not page:
            message = "the chain of pages ends too soon"
            raise ValueError(message)
        number = int.from_bytes(page[:4])
        content += page[4:]
    return content[:size]


def _columns(payload: bytes) -> Iterator[Value]:
    header_bytes, at = _varint(payload, 0)
    kinds = []
    while at < header_bytes:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    for kind in kinds:
        size = _size_of(kind)
        content = payload[at : at + size]
        if len(content) < size:
            message = "the row is longer than its payload"
            raise ValueError(message)
        at += size
        yield _value(kind, content)


def _size_of(kind: int) -> int:
    if kind >= _BLOB:
        return (kind - _BLOB) // 2
    return 8 if kind == _FLOAT64 else _INTEGER_BYTES.get(kind, 0)


def _value(kind: int, content: bytes) -> Value:
    if kind >= _BLOB:
        return content
    if kind == _FLOAT64:
        return float(struct.unpack(">d", content)[0])
    if kind in (_ZERO, _ONE):
        return kind - _ZERO
    return int.from_bytes(content, signed=True) if content else None


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """Return a number of one to nine bytes, and where the next thing begins."""
    number = 0
    for place in range(at, at + 8):
        number = number << 7 | content[place] & 0x7F
        if content[place] < 0x80:
            return number, place + 1
    return number << 8 | content[at + 8], at + 9
