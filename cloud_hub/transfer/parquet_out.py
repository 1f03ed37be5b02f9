"""Blocks as Parquet, row group after row group, so that memory holds one of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cloud_hub.transfer.blocks import Amounts, Block, Column, Kind

CONTENT_TYPE = "application/vnd.apache.parquet"

ROWS_PER_GROUP = 100_000

_AMOUNT = pa.decimal128(19, 6)
"""All that 64 bits of millionths can be."""
_TYPES = {
    Kind.WORD: pa.string(),
    Kind.INSTANT: pa.timestamp("ms", tz="UTC"),
    Kind.DATE: pa.date32(),
    Kind.NUMBER: pa.float64(),
    Kind.AMOUNT: _AMOUNT,
    Kind.SHARE: pa.float64(),
    Kind.COUNT: pa.int32(),
}


class Outlet:
    """A file that is written to and emptied, again and again; it cannot go back."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> int:
        """Take bytes."""
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing: what was written waits to be taken."""

    def close(self) -> None:
        """Say that nothing more will come."""
        self.closed = True

    def take(self) -> bytes:
        """Return what was written since the last time."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data


def schema_of(columns: Sequence[Column]) -> Any:  # noqa: ANN401 - pyarrow has no types
    """Return the columns as Arrow names and types them; local time is left to whoever reads."""
    return pa.schema([(column.name, _TYPES[column.kind]) for column in columns if column.kind is not Kind.LOCAL])


def write_parquet(columns: Sequence[Column], blocks: Iterable[Block]) -> Iterator[bytes]:
    """Write a Parquet file piece by piece. Amounts are decimals, null is unknown."""
    schema = schema_of(columns)
    outlet = Outlet()
    writer = pq.ParquetWriter(pa.PythonFile(outlet, mode="w"), schema, compression="zstd")
    try:
        waiting, rows = [], 0
        for block in blocks:
            waiting.append(to_batch(schema, columns, block))
            rows += block.rows
            if rows >= ROWS_PER_GROUP:
                writer.write_table(pa.Table.from_batches(waiting, schema), row_group_size=rows)
                waiting, rows = [], 0
                yield outlet.take()
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting, schema), row_group_size=rows)
    finally:
        writer.close()
    yield outlet.take()


def to_batch(schema: Any, columns: Sequence[Column], block: Block) -> Any:  # noqa: ANN401 - pyarrow has no types
    """Turn a block into Arrow."""
    kinds = {column.name: column.kind for column in columns}
    arrays = [_array(kinds[name], block.columns[name], block.rows) for name in schema.names]
    return pa.record_batch(arrays, schema=schema)


def _array(kind: Kind, values: Any, rows: int) -> Any:  # noqa: ANN401 - pyarrow has no types
    if isinstance(values, str):
        return pa.repeat(pa.scalar(values, pa.string()), rows)
    if isinstance(values, Amounts):
        return _decimals(values)
    return _MAKERS[kind](values)


_MAKERS: dict[Kind, Callable[[Any], Any]] = {
    Kind.WORD: lambda values: pa.array(values, pa.string()),
    Kind.INSTANT: lambda values: pa.array(np.ascontiguousarray(values, np.int64)).cast(_TYPES[Kind.INSTANT]),
    Kind.DATE: lambda values: pa.array(values.astype(np.int32)).cast(_TYPES[Kind.DATE]),
    Kind.NUMBER: lambda values: pa.array(values, pa.float64(), from_pandas=True),  # NaN becomes null
    Kind.SHARE: lambda values: pa.array(values / 1000, pa.float64()),
    Kind.COUNT: lambda values: pa.array(values.astype(np.int32)),
}


def _decimals(values: Amounts) -> Any:  # noqa: ANN401 - pyarrow has no types
    """Lay integers out as Arrow does decimals of 128 bits, without a Python object each."""
    wide: NDArray[np.int64] = np.empty((len(values.micro), 2), dtype="<i8")
    wide[:, 0], wide[:, 1] = values.micro, values.micro >> 63
    validity = np.packbits(values.is_known, bitorder="little").tobytes()
    return pa.Array.from_buffers(_AMOUNT, len(values.micro), [pa.py_buffer(validity), pa.py_buffer(wide.tobytes())])
