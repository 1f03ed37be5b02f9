"""Rows of `gap_records`: numbers of a stream that carry no scan, and why."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, text

from cloud_hub.db import format_ranges
from cloud_hub.ingest.streams import LockedStream
from protocol import limits
from protocol.ranges import Range, RangeSet
from protocol.scans import Gap, GapReason

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class GapRow(NamedTuple):
    """A gap record about to be written."""

    stream: LockedStream
    sequences: Range
    gap: Gap


_TRIM_GAPS = text("""
    WITH hit AS (
        DELETE FROM gap_records WHERE stream_pk = :stream AND sequences && CAST(:replaced AS int8multirange) RETURNING *
    )
    INSERT INTO gap_records (stream_pk, controller_id, sequences, reason, from_at, to_at, recorded_at)
    SELECT stream_pk, controller_id, rest, reason, from_at, to_at, recorded_at
    FROM hit, unnest(int8multirange(sequences) - CAST(:replaced AS int8multirange)) AS rest
""")
_ADD_GAPS = text("""
    INSERT INTO gap_records (stream_pk, controller_id, sequences, reason, from_at, to_at)
    VALUES (:stream, :controller, int8range(:first, :last, '[]'), :reason, :from_at, :to_at)
""")


def trim_gap_records(connection: Connection, stream: LockedStream, replaced: RangeSet) -> None:
    """Take these numbers out of the stream's gap records."""
    connection.execute(_TRIM_GAPS, {"stream": stream.pk, "replaced": format_ranges(replaced)})


def add_gap_records(connection: Connection, rows: Sequence[GapRow]) -> None:
    """Write gap records."""
    connection.execute(
        _ADD_GAPS,
        [
            {
                "stream": row.stream.pk,
                "controller": row.stream.key[0],
                "first": row.sequences.first,
                "last": row.sequences.last,
                "reason": row.gap.reason,
                "from_at": _instant(row.gap.from_ms),
                "to_at": _instant(row.gap.to_ms),
            }
            for row in rows
        ],
    )


def forget_never_arrived(connection: Connection, stream_pks: Sequence[int]) -> None:
    """Take back what was said of streams that are spoken of again."""
    statement = text("DELETE FROM gap_records WHERE stream_pk = ANY (CAST(:streams AS bigint[])) AND reason = :reason")
    connection.execute(statement, {"streams": list(stream_pks), "reason": GapReason.NEVER_ARRIVED})


def _instant(at_ms: int) -> datetime | None:
    """Turn UTC milliseconds into a time; None for 0 and for what no clock can have meant."""
    if limits.OBSERVED_AT_MS_MIN <= at_ms <= limits.OBSERVED_AT_MS_MAX:
        return _EPOCH + timedelta(milliseconds=at_ms)
    return None
