"""Scan rows as the bytes of PostgreSQL's `COPY ... (FORMAT binary)`, built from numpy arrays.

Rows of equally many points are equally wide, so a whole group of batches is one array of records.
Source: PostgreSQL manual, COPY, "Binary Format"; arrays travel as `array_send` writes them: number of
dimensions, whether there are nulls, element type, then per dimension its size and lower bound.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloud_hub.ingest.decode import ScanColumns
from cloud_hub.ingest.packed import Int64s

COLUMNS = ("observed_at", "meter_id", "layout_id", "values", "quality")

CHUNK_BYTES = 1 << 17

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(4) + bytes(4)
_TRAILER = b"\xff\xff"
_FLOAT8_OID = 701
_INT2_OID = 21
_ARRAY_HEADER_BYTES = 20
_NULL = -1
_POSTGRES_EPOCH_MS = 946_684_800_000
"""2000-01-01T00:00:00Z: where PostgreSQL's timestamps, in microseconds, begin."""

Records = NDArray[np.void]


@dataclass(frozen=True, slots=True)
class ScanRows:
    """Scans of one stored layout, about to become rows."""

    meter_id: int
    layout_id: int
    columns: ScanColumns


def encode_rows(rows: Iterable[ScanRows]) -> Iterator[bytes]:
    """Encode scans as one COPY stream with the columns of `COLUMNS`, piece by piece.

    No piece is longer than `CHUNK_BYTES`: small pieces are made in memory that is warm, where one of
    megabytes costs more in page faults than in work.
    """
    alike: defaultdict[tuple[int, bool], list[ScanRows]] = defaultdict(list)
    for one in rows:
        for part in _split_by_quality(one):
            alike[part.columns.points, part.columns.quality is not None].append(part)
    yield _HEADER
    for (points, with_quality), parts in alike.items():
        template = _row_template(points, with_quality=with_quality)
        for some in _in_chunks(parts, max(1, CHUNK_BYTES // template.itemsize)):
            encoded = _encode_alike(template, some).tobytes()
            yield from (encoded[at : at + CHUNK_BYTES] for at in range(0, len(encoded), CHUNK_BYTES))
    yield _TRAILER


def _in_chunks(parts: Iterable[ScanRows], rows_max: int) -> Iterator[list[ScanRows]]:
    """Take parts together until they would be more than `rows_max` rows."""
    chunk: list[ScanRows] = []
    size = 0
    for part in parts:
        if chunk and size + len(part.columns.sequences) > rows_max:
            yield chunk
            chunk, size = [], 0
        chunk.append(part)
        size += len(part.columns.sequences)
    yield chunk


def _split_by_quality(rows: ScanRows) -> Iterable[ScanRows]:
    """Give the scans that are all good apart from the others: their row says null."""
    columns = rows.columns
    if columns.quality is None:
        yield rows
        return
    is_doubted = columns.quality.any(axis=1)
    for wanted, quality in ((~is_doubted, None), (is_doubted, columns.quality[is_doubted])):
        if wanted.any():
            part = ScanColumns(
                columns.layout,
                columns.sequences[wanted],
                columns.observed_at_ms[wanted],
                columns.values[wanted],
                quality,
            )
            yield ScanRows(rows.meter_id, rows.layout_id, part)


def _encode_alike(template: Records, parts: Sequence[ScanRows]) -> Records:
    sizes = [len(part.columns.sequences) for part in parts]
    records = np.repeat(template, sum(sizes))
    times = np.concatenate([part.columns.observed_at_ms for part in parts])
    records["observed_at"] = (times - _POSTGRES_EPOCH_MS) * 1000
    records["meter_id"] = np.repeat([part.meter_id for part in parts], sizes)
    records["layout_id"] = np.repeat([part.layout_id for part in parts], sizes)
    records["values"]["value"] = np.concatenate([part.columns.values for part in parts])
    qualities = [part.columns.quality for part in parts if part.columns.quality is not None]
    if qualities:
        records["quality"]["value"] = np.concatenate(qualities)
    return records


@lru_cache(maxsize=256)
def _row_template(points: int, *, with_quality: bool) -> Records:
    """Make one row with everything in place but the scan itself. Read-only: it is shared."""
    fields: list[tuple[Any, ...]] = [
        ("fields", ">i2"),
        ("observed_at_bytes", ">i4"),
        ("observed_at", ">i8"),
        ("meter_id_bytes", ">i4"),
        ("meter_id", ">i8"),
        ("layout_id_bytes", ">i4"),
        ("layout_id", ">i4"),
        *_array_fields("values", ">f8", points),
    ]
    fields += _array_fields("quality", ">i2", points) if with_quality else [("quality_bytes", ">i4")]
    row: Records = np.zeros(1, np.dtype(fields))
    row["fields"] = len(COLUMNS)
    row["observed_at_bytes"] = row["meter_id_bytes"] = 8
    row["layout_id_bytes"] = 4
    _fill_array(row, "values", points, _FLOAT8_OID, 8)
    if with_quality:
        _fill_array(row, "quality", points, _INT2_OID, 2)
    else:
        row["quality_bytes"] = _NULL
    row.setflags(write=False)
    return row


def _array_fields(name: str, element: str, points: int) -> list[tuple[Any, ...]]:
    return [
        (f"{name}_bytes", ">i4"),
        (f"{name}_dimensions", ">i4"),
        (f"{name}_has_nulls", ">i4"),
        (f"{name}_element_type", ">i4"),
        (f"{name}_size", ">i4"),
        (f"{name}_lower_bound", ">i4"),
        (name, [("bytes", ">i4"), ("value", element)], (points,)),
    ]


def _fill_array(row: Records, name: str, points: int, element_type: int, element_bytes: int) -> None:
    row[f"{name}_bytes"] = _ARRAY_HEADER_BYTES + points * (4 + element_bytes)
    row[f"{name}_dimensions"] = 1
    row[f"{name}_element_type"] = element_type
    row[f"{name}_size"] = points
    row[f"{name}_lower_bound"] = 1
    row[name]["bytes"] = element_bytes


def newest(rows: Iterable[ScanRows]) -> list[ScanRows]:
    """Keep of each stored layout its newest scan."""
    found: dict[int, tuple[int, ScanRows]] = {}
    for one in rows:
        at = _newest_index(one.columns.observed_at_ms)
        observed_at_ms = int(one.columns.observed_at_ms[at])
        if one.layout_id not in found or found[one.layout_id][0] <= observed_at_ms:
            found[one.layout_id] = observed_at_ms, ScanRows(one.meter_id, one.layout_id, _take(one.columns, at))
    return [row for _, row in found.values()]


def _newest_index(observed_at_ms: Int64s) -> int:
    return int(observed_at_ms.argmax())


def _take(columns: ScanColumns, at: int) -> ScanColumns:
    chosen = slice(at, at + 1)
    quality = None if columns.quality is None else columns.quality[chosen]
    return ScanColumns(
        columns.layout, columns.sequences[chosen], columns.observed_at_ms[chosen], columns.values[chosen], quality
    )
