"""Take meters with changes, so that several processes share them: each meter is one worker's, and nobody waits.

The lock is PostgreSQL's advisory one, of the transaction: it is gone with it, however that ends, and the marks that
were taken come back with a rollback.
"""

from collections import defaultdict
from dataclasses import dataclass, replace

from sqlalchemy import Connection, text

from cloud_hub.calendar.days import instant_of_ms, ms_of_instant
from cloud_hub.ledger import dirty

SPAN_MAX_MS = 62 * 24 * 3_600_000
"""No more of a meter's time is computed at once: a correction over years goes through piece by piece."""

TIME_MAX_MS = 6_000 * 24 * 3_600_000
"""Nor of all meters together: what is read for it is in memory at once."""

_CONTEXT_MS = 5 * 24 * 3_600_000
"""What is read beside a change, at least."""

_NEAR_MS = 24 * 3_600_000

# The filter is evaluated row by row and the limit stops it: no more meters are locked than taken. Those that another
# worker holds are passed over, so more are looked at. The oldest and the newest marks go by turns: a backlog makes
# nobody wait who has just sent a month of readings, and nothing waits for ever.
_LOCK = text("""
    WITH candidates AS MATERIALIZED (
        SELECT meter_id, least(row_number() OVER (ORDER BY min(id)), row_number() OVER (ORDER BY max(id) DESC)) AS turn
        FROM ledger_dirty WHERE from_at <= :until_at GROUP BY meter_id
        ORDER BY turn, meter_id LIMIT :looked_at
    )
    SELECT meter_id FROM candidates
    WHERE pg_try_advisory_xact_lock((CAST(27751 AS bigint) << 48) | meter_id)
    LIMIT :meters_max
""")

_TAKE = text("""
    DELETE FROM ledger_dirty WHERE meter_id = ANY(:meters) AND from_at <= :until_at
    RETURNING meter_id, from_at, to_at, is_silence
""")


@dataclass(frozen=True, slots=True)
class Change:
    """A stretch of a meter's time in which something has changed: first and last instant in milliseconds."""

    meter_id: int
    from_ms: int
    to_ms: int
    is_silence: bool = False
    """Nothing has changed but the time: intervals have ended without a reading."""


def claim(connection: Connection, meters_max: int, until_ms: int) -> list[Change]:
    """Lock meters that nobody else works at, and take their marks; changes of a meter that are near become one.

    What is too much for one transaction is marked again, and what lies after `until_ms` waits until its time has come.
    """
    until_at = instant_of_ms(until_ms)
    parameters = {"meters_max": meters_max, "looked_at": 4 * meters_max + 100, "until_at": until_at}
    meters = list(connection.scalars(_LOCK, parameters))
    if not meters:
        return []
    marks: defaultdict[int, list[Change]] = defaultdict(list)
    for meter_id, from_at, to_at, is_silence in connection.execute(_TAKE, {"meters": meters, "until_at": until_at}):
        marks[meter_id].append(Change(meter_id, ms_of_instant(from_at), ms_of_instant(to_at), is_silence))
    taken: list[Change] = []
    left: list[dirty.Span] = []
    budget = TIME_MAX_MS
    for change in (change for meter_id in meters for change in _merge(marks[meter_id])):
        end_ms = min(change.to_ms, change.from_ms + SPAN_MAX_MS, until_ms)
        budget -= end_ms - change.from_ms + _CONTEXT_MS
        if budget < 0 and taken:
            left.append((change.meter_id, change.from_ms, change.to_ms))
            continue
        taken.append(replace(change, to_ms=end_ms))
        if end_ms < change.to_ms:
            left.append((change.meter_id, end_ms + 1, change.to_ms))
    dirty.mark(connection, left)
    return taken


def _merge(changes: list[Change]) -> list[Change]:
    merged: list[Change] = []
    for change in sorted(changes, key=lambda one: (one.from_ms, one.to_ms)):
        last = merged[-1] if merged else None
        if last is not None and change.from_ms <= last.to_ms + _NEAR_MS:
            is_silence = last.is_silence and change.is_silence
            merged[-1] = replace(last, to_ms=max(last.to_ms, change.to_ms), is_silence=is_silence)
        else:
            merged.append(change)
    return merged
