"""Arrays on their way in and out of PostgreSQL in its binary format, which numpy reads and writes in one step.

Source: PostgreSQL's manual, COPY, "Binary Format"; arrays travel as `array_send` writes them: number of dimensions,
whether there are nulls, element type, size, lower bound (5 words of 4 bytes), then per element its length and value.
An empty array has no size and no bound. No element here is ever null.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, cast

import numpy as np
import psycopg2.extensions
from numpy.typing import NDArray
from sqlalchemy import Connection

_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"
_HEADER_BYTES = 20
_LENGTH_BYTES = 4
_POSTGRES_EPOCH_US = 946_684_800_000_000
"""2000-01-01T00:00:00Z, where PostgreSQL's timestamps begin."""
_POSTGRES_EPOCH_DAY = 10_957
"""The same as days since 1970."""


@dataclass(frozen=True, slots=True)
class ElementType:
    """A type that arrays are of."""

    oid: int
    bytes: int
    offset: int = 0
    """Added to what PostgreSQL says to get what we say."""


INT2 = ElementType(21, 2)
INT4 = ElementType(23, 4)
INT8 = ElementType(20, 8)
DATE = ElementType(1082, 4, _POSTGRES_EPOCH_DAY)
"""Here days since 1970."""
INSTANT = ElementType(1184, 8, _POSTGRES_EPOCH_US)
"""A timestamptz; here UTC microseconds since 1970."""


def encode_array(kind: ElementType, values: NDArray[np.integer[Any]]) -> bytes:
    """Write an array as a field of a COPY row: its length, then itself."""
    elements = np.empty(len(values), [("bytes", ">i4"), ("value", f">i{kind.bytes}")])
    elements["bytes"] = kind.bytes
    elements["value"] = values - kind.offset if kind.offset else values
    body = elements.tobytes()
    return struct.pack(">iiiIii", _HEADER_BYTES + len(body), 1, 0, kind.oid, len(values), 1) + body


def encode_value(kind: ElementType, value: int) -> bytes:
    """Write one value as a field of a COPY row."""
    return struct.pack(">i", kind.bytes) + (value - kind.offset).to_bytes(kind.bytes, "big", signed=True)


def encode_null() -> bytes:
    """Write a null as a field of a COPY row."""
    return _NULL


def encode_row(fields: Sequence[bytes]) -> bytes:
    """Write a row of encoded fields."""
    return b"".join((len(fields).to_bytes(2, "big"), *fields))


def copy_in(connection: Connection, target: str, rows: Iterable[bytes]) -> None:
    """Add encoded rows to `target`, a table with its columns in parentheses."""
    data = BytesIO()
    data.write(_SIGNATURE)
    data.writelines(rows)
    data.write(_TRAILER)
    data.seek(0)
    with _driver(connection).cursor() as cursor:
        cursor.copy_expert(f"COPY {target} FROM STDIN (FORMAT binary)", data, 1 << 17)


def copy_out(connection: Connection, query: str, parameters: dict[str, object]) -> Iterator[list[memoryview | None]]:
    """Run a query with psycopg2's `%(name)s` parameters, and give each row as its fields' bytes."""
    data = BytesIO()
    with _driver(connection).cursor() as cursor:
        cursor.copy_expert(f"COPY ({cursor.mogrify(query, parameters).decode()}) TO STDOUT (FORMAT binary)", data)
    view = data.getbuffer()
    at = len(_SIGNATURE)
    while (count := struct.unpack_from(">h", view, at)[0]) >= 0:
        at += 2
        fields: list[memoryview | None] = []
        for _ in range(count):
            (size,) = struct.unpack_from(">i", view, at)
            at += _LENGTH_BYTES
            fields.append(None if size < 0 else view[at : at + size])
            at += max(size, 0)
        yield fields


def decode_value(kind: ElementType, field: memoryview | None) -> int:
    """Read a field that holds one value."""
    if field is None:
        raise ValueError("a value that cannot be null is null")
    return int.from_bytes(field, "big", signed=True) + kind.offset


def decode_array(kind: ElementType, field: memoryview | None) -> NDArray[np.int64]:
    """Read a field that holds one array; none at all is an empty one."""
    if field is None or len(field) < _HEADER_BYTES:
        return np.zeros(0, np.int64)
    elements = np.frombuffer(field[_HEADER_BYTES:], [("bytes", ">i4"), ("value", f">i{kind.bytes}")])
    return elements["value"].astype(np.int64) + kind.offset


def decode_arrays(kind: ElementType, field: memoryview | None, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Read arrays that `string_agg(array_send(…), '')` has put behind each other, none of them empty.

    `sizes` says how many elements each has. Returns all elements, array after array.
    """
    if field is None:
        return np.zeros(0, np.int64)
    word = min(kind.bytes, _LENGTH_BYTES)
    words = np.frombuffer(field, f">u{word}")
    header, element = _HEADER_BYTES // word, (_LENGTH_BYTES + kind.bytes) // word
    is_element = np.ones(len(words), np.bool_)
    starts = np.concatenate(([0], np.cumsum(header + sizes * element)[:-1]))
    is_element[(starts[:, None] + np.arange(header)).ravel()] = False
    values = words[is_element].reshape(-1, element)[:, _LENGTH_BYTES // word :]
    return np.ascontiguousarray(values).view(f">i{kind.bytes}").ravel().astype(np.int64) + kind.offset


def _driver(connection: Connection) -> psycopg2.extensions.connection:
    return cast("psycopg2.extensions.connection", connection.connection.driver_connection)
