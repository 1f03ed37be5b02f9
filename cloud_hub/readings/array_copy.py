"""Rows with arrays on their way in and out of PostgreSQL, in its binary format, which numpy reads and writes in one step.

Source: PostgreSQL's manual, COPY, "Binary Format"; arrays travel as `array_send` writes them: number of dimensions,
whether there are nulls, element type, then per dimension its size and lower bound, then per element its length and
value. An empty array has no dimension. No element here is ever null.
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

Float64s = NDArray[np.float64]
Int64s = NDArray[np.int64]
Field = memoryview | None
"""What a row holds in one column, as it travels; None for null."""

_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_FIXED_BYTES, _DIMENSION_BYTES, _LENGTH_BYTES = 12, 8, 4
_BUFFER_BYTES = 1 << 17
_POSTGRES_EPOCH_DAY = 10_957
"""2000-01-01, where PostgreSQL's dates and instants begin, as days since 1970."""
_POSTGRES_EPOCH_US = _POSTGRES_EPOCH_DAY * 86_400_000_000


@dataclass(frozen=True, slots=True)
class ElementType:
    """A type of values, alone or in arrays."""

    oid: int
    bytes: int
    code: str
    """numpy's, in network order."""
    offset: int = 0
    """Added to what PostgreSQL says to get what we say."""


INT2 = ElementType(21, 2, ">i2")
INT4 = ElementType(23, 4, ">i4")
INT8 = ElementType(20, 8, ">i8")
FLOAT4 = ElementType(700, 4, ">f4")
FLOAT8 = ElementType(701, 8, ">f8")
DATE = ElementType(1082, 4, ">i4", _POSTGRES_EPOCH_DAY)
"""Here days since 1970."""
INSTANT = ElementType(1184, 8, ">i8", _POSTGRES_EPOCH_US)
"""A timestamptz; here UTC microseconds since 1970."""

NULL = b"\xff\xff\xff\xff"
"""Null as a field of a COPY row."""


def encode_value(kind: ElementType, value: int) -> bytes:
    """Write one value as a field of a COPY row."""
    return struct.pack(">i", kind.bytes) + (value - kind.offset).to_bytes(kind.bytes, "big", signed=True)


def encode_array(kind: ElementType, values: NDArray[Any] | None) -> bytes:
    """Write an array of one dimension as a field of a COPY row: its length, then itself; None as null."""
    if values is None:
        return NULL
    elements = np.empty(len(values), [("bytes", ">i4"), ("value", kind.code)])
    elements["bytes"] = kind.bytes
    elements["value"] = values - kind.offset if kind.offset else values
    body = elements.tobytes()
    size = _FIXED_BYTES + _DIMENSION_BYTES + len(body)
    return struct.pack(">iiiIii", size, 1, 0, kind.oid, len(values), 1) + body


def copy_in(connection: Connection, target: str, rows: Iterable[Sequence[bytes]]) -> None:
    """Add rows of encoded fields to `target`, a table with its columns in parentheses."""
    copy_in_encoded(connection, target, (b"".join((len(fields).to_bytes(2, "big"), *fields)) for fields in rows))


def copy_in_encoded(connection: Connection, target: str, rows: Iterable[bytes]) -> None:
    """Add rows to `target` that are encoded whole, each piece any number of them."""
    data = BytesIO()
    data.write(_SIGNATURE)
    data.writelines(rows)
    data.write(_TRAILER)
    data.seek(0)
    with _driver(connection).cursor() as cursor:
        cursor.copy_expert(f"COPY {target} FROM STDIN (FORMAT binary)", data, _BUFFER_BYTES)


def copy_out(connection: Connection, query: str, parameters: dict[str, object]) -> Iterator[list[Field]]:
    """Run a query with psycopg2's `%(name)s` parameters, and give each row as its fields."""
    data = BytesIO()
    with _driver(connection).cursor() as cursor:
        bound = cursor.mogrify(query, parameters).decode()
        cursor.copy_expert(f"COPY ({bound}) TO STDOUT (FORMAT binary)", data, _BUFFER_BYTES)
    view = data.getbuffer()
    at = len(_SIGNATURE)
    while (count := struct.unpack_from(">h", view, at)[0]) >= 0:
        at += 2
        fields: list[Field] = []
        for _ in range(count):
            (size,) = struct.unpack_from(">i", view, at)
            at += _LENGTH_BYTES
            fields.append(None if size < 0 else view[at : at + size])
            at += max(size, 0)
        yield fields


def decode_value(kind: ElementType, field: Field) -> int:
    """Read a field that holds one value.

    Raises: ValueError when it is null.
    """
    if field is None:
        raise ValueError("a value that cannot be null is null")
    return int.from_bytes(field, "big", signed=True) + kind.offset


def decode_whole_numbers(kind: ElementType, field: Field) -> Int64s:
    """Read a field that holds an array of whole numbers, dates or instants; one of null has none.

    Raises: ValueError when an element is null.
    """
    return _elements(kind, field).astype(np.int64) + kind.offset


def decode_arrays(kind: ElementType, field: Field, sizes: Int64s) -> Int64s:
    """Read arrays that `string_agg(array_send(…), '')` has put behind each other, none of them empty.

    `sizes` says how many elements each has. Returns all elements, array after array.
    """
    if field is None:
        return np.zeros(0, np.int64)
    word = min(kind.bytes, _LENGTH_BYTES)
    words = np.frombuffer(field, f">u{word}")
    header, element = (_FIXED_BYTES + _DIMENSION_BYTES) // word, (_LENGTH_BYTES + kind.bytes) // word
    is_element = np.ones(len(words), np.bool_)
    starts = np.concatenate(([0], np.cumsum(header + sizes * element)[:-1]))
    is_element[(starts[:, None] + np.arange(header)).ravel()] = False
    values = words[is_element].reshape(-1, element)[:, _LENGTH_BYTES // word :]
    return np.ascontiguousarray(values).view(kind.code).ravel().astype(np.int64) + kind.offset


def decode_floats(kind: ElementType, field: Field) -> Float64s:
    """Read a field that holds an array of floating-point numbers, of as many dimensions as it has; one of null has none.

    Raises: ValueError when an element is null.
    """
    return _elements(kind, field).astype(np.float64)


def _elements(kind: ElementType, field: Field) -> NDArray[Any]:
    if field is None:
        return np.empty(0, kind.code)
    dimensions, has_nulls = struct.unpack_from(">ii", field)
    if has_nulls:
        raise ValueError("an array has a null among its elements")
    if not dimensions:
        return np.empty(0, kind.code)
    sizes = struct.unpack_from(f">{dimensions * 2}i", field, _FIXED_BYTES)[::2]
    start = _FIXED_BYTES + _DIMENSION_BYTES * dimensions
    elements = np.frombuffer(field[start:], [("bytes", ">i4"), ("value", kind.code)])
    return elements["value"].reshape(sizes)


def _driver(connection: Connection) -> psycopg2.extensions.connection:
    return cast("psycopg2.extensions.connection", connection.connection.driver_connection)
