"""Rows of `streams`: lock them, add new ones, write what is known. And the incarnation they belong to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, TextClause, text

from cloud_hub.db import format_ranges, parse_ranges
from cloud_hub.ingest.contract import StreamRanges
from protocol.ranges import Range, RangeSet

StreamKey = tuple[str, bytes]
"""Controller id, stream id."""


@dataclass(slots=True)
class LockedStream:
    """A stream whose row this transaction holds; `ranges` changes as batches are judged."""

    pk: int
    key: StreamKey
    ranges: StreamRanges
    safe: RangeSet
    lowest_held: int
    announced_next: int
    boot_id: str | None
    is_closed: bool
    touched: list[Range] = field(default_factory=list)
    """The numbers of this group's batches."""


def read_incarnation(connection: Connection) -> int:
    """Return the incarnation that the database is in."""
    return int(connection.execute(text("SELECT incarnation FROM hub_state")).scalar_one())


def raise_incarnation(connection: Connection, incarnation: int) -> int:
    """Raise the incarnation to at least this one and return it."""
    statement = text("UPDATE hub_state SET incarnation = GREATEST(incarnation, :incarnation) RETURNING incarnation")
    return int(connection.execute(statement, {"incarnation": incarnation}).scalar_one())


_LOCK_STREAMS = text("""
    SELECT s.id, s.controller_id, s.stream_id, s.committed, s.gaps, s.quarantined, s.safe,
           s.lowest_held, s.announced_next, s.boot_id, s.closed_at IS NOT NULL
    FROM streams s
    JOIN unnest(CAST(:controllers AS text[]), CAST(:streams AS bytea[])) AS k (controller_id, stream_id)
      ON s.controller_id = k.controller_id AND s.stream_id = k.stream_id
    ORDER BY s.id FOR UPDATE OF s
""")
_ADD_STREAMS = text("""
    INSERT INTO streams (controller_id, stream_id)
    SELECT * FROM unnest(CAST(:controllers AS text[]), CAST(:streams AS bytea[])) AS k (controller_id, stream_id)
    ORDER BY 1, 2 ON CONFLICT DO NOTHING
""")
_LOCK_UNNAMED = text("""
    SELECT s.id, s.controller_id, s.stream_id, s.committed, s.gaps, s.quarantined, s.safe,
           s.lowest_held, s.announced_next, s.boot_id, s.closed_at IS NOT NULL
    FROM streams s
    WHERE s.controller_id = :controller AND s.stream_id <> ALL (CAST(:named AS bytea[]))
      AND (s.closed_at IS NULL OR s.closed_at <= s.last_seen_at)
    ORDER BY s.id FOR UPDATE
""")


def lock_streams(connection: Connection, keys: Iterable[StreamKey]) -> dict[StreamKey, LockedStream]:
    """Lock the rows of these streams, always in the same order; streams that are new get one."""
    wanted = set(keys)
    found = _lock(connection, _LOCK_STREAMS, _key_arrays(wanted))
    missing = wanted - found.keys()
    if missing:
        connection.execute(_ADD_STREAMS, _key_arrays(missing))
        found = _lock(connection, _LOCK_STREAMS, _key_arrays(wanted))
    return found


def lock_unnamed_streams(connection: Connection, controller_id: str, named: Sequence[bytes]) -> list[LockedStream]:
    """Lock the streams of a controller that it did not name, but for those closed and not spoken of since."""
    return list(_lock(connection, _LOCK_UNNAMED, {"controller": controller_id, "named": list(named)}).values())


def _key_arrays(keys: Iterable[StreamKey]) -> dict[str, Any]:
    ordered = sorted(keys)
    return {"controllers": [key[0] for key in ordered], "streams": [key[1] for key in ordered]}


def _lock(connection: Connection, statement: TextClause, parameters: dict[str, Any]) -> dict[StreamKey, LockedStream]:
    found = {}
    for pk, controller, stream, committed, gaps, quarantined, safe, *rest in connection.execute(statement, parameters):
        key = (controller, bytes(stream))
        ranges = StreamRanges(parse_ranges(committed), parse_ranges(gaps), parse_ranges(quarantined))
        found[key] = LockedStream(pk, key, ranges, parse_ranges(safe), *rest)
    return found


_UPDATE_STREAMS = text("""
    UPDATE streams s
    SET committed = CAST(v.committed AS int8multirange), gaps = CAST(v.gaps AS int8multirange),
        quarantined = CAST(v.quarantined AS int8multirange), announced_next = v.announced_next,
        last_seen_at = clock_timestamp()
    FROM unnest(CAST(:ids AS bigint[]), CAST(:committed AS text[]), CAST(:gaps AS text[]),
                CAST(:quarantined AS text[]), CAST(:announced_next AS bigint[]))
         AS v (id, committed, gaps, quarantined, announced_next)
    WHERE s.id = v.id
""")


def update_streams(connection: Connection, streams: Sequence[LockedStream]) -> None:
    """Write what is known of the streams' numbers now."""
    connection.execute(
        _UPDATE_STREAMS,
        {
            "ids": [stream.pk for stream in streams],
            "committed": [format_ranges(stream.ranges.committed) for stream in streams],
            "gaps": [format_ranges(stream.ranges.gaps) for stream in streams],
            "quarantined": [format_ranges(stream.ranges.quarantined) for stream in streams],
            "announced_next": [stream.announced_next for stream in streams],
        },
    )
