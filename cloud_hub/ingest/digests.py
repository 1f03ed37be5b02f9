"""Rows of `batch_digests`: what was committed for a range of numbers."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, text

from protocol.ranges import Range

RangeKey = tuple[int, Range]
"""Stream's primary key, numbers of a batch."""


_FIND_DIGESTS = text("""
    SELECT d.stream_pk, d.first_sequence, d.last_sequence, d.digest
    FROM batch_digests d
    JOIN unnest(CAST(:streams AS bigint[]), CAST(:firsts AS bigint[]), CAST(:lasts AS bigint[]))
         AS k (stream_pk, first_sequence, last_sequence)
      ON d.stream_pk = k.stream_pk AND d.first_sequence = k.first_sequence AND d.last_sequence = k.last_sequence
""")
_ADD_DIGESTS = text("""
    INSERT INTO batch_digests (stream_pk, first_sequence, last_sequence, digest)
    SELECT * FROM unnest(CAST(:streams AS bigint[]), CAST(:firsts AS bigint[]), CAST(:lasts AS bigint[]),
                         CAST(:digests AS bytea[]))
""")


def find_digests(connection: Connection, keys: Sequence[RangeKey]) -> list[tuple[RangeKey, bytes]]:
    """Return the digests of what was committed for exactly these numbers."""
    rows = connection.execute(_FIND_DIGESTS, _range_arrays(keys))
    return [((stream, Range(first, last)), bytes(digest)) for stream, first, last, digest in rows]


def add_digests(connection: Connection, rows: Sequence[tuple[RangeKey, bytes]]) -> None:
    """Note the digests of what is committed now."""
    parameters = _range_arrays([key for key, _ in rows]) | {"digests": [digest for _, digest in rows]}
    connection.execute(_ADD_DIGESTS, parameters)


def _range_arrays(keys: Sequence[RangeKey]) -> dict[str, Any]:
    return {
        "streams": [stream for stream, _ in keys],
        "firsts": [numbers.first for _, numbers in keys],
        "lasts": [numbers.last for _, numbers in keys],
    }
