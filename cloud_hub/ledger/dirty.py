"""Note which stretches of a meter's time have changed, in the transaction that changes them.

Whoever stores readings, corrects a register or edits an amount calls `mark`; ingest calls `mark_scans`, which
also sets aside what cannot be so: readings from the future. One INSERT each, with no key that two writers
could wait for each other at. `cloud_hub.ledger.recompute` takes the marks away again.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from sqlalchemy import Connection, text

from cloud_hub.calendar.days import ms_of_instant
from cloud_hub.energy.model import Int64s

AHEAD_MS = 3_600_000
"""A reading further ahead of the hub's clock than this waits for a person's judgement."""

FUTURE = "future"
PAST = "past"
"""Reasons why readings are set aside."""

PAST_MS = 946_684_800_000
"""Before 2000 no meter of ours was read: a clock that has lost its time says so."""

_LATEST_MS = 221_845_392_000_000
"""The year 9000: later instants are beyond what Python can name."""

_NEAR_MS = 24 * 3_600_000
"""Stretches of a meter that are no further apart than this are noted as one."""

_INSTANTS_MAX = 10_000
"""A suspect span with as many readings is closed, and the next one begun: its row is written anew each time."""

_EPOCH = "timestamptz 'epoch'"

_MARK = text(f"""
    INSERT INTO ledger_dirty (meter_id, from_at, to_at)
    SELECT meter_id, {_EPOCH} + from_ms * interval '1 ms', {_EPOCH} + to_ms * interval '1 ms'
    FROM unnest(CAST(:meters AS bigint[]), CAST(:froms AS bigint[]), CAST(:tos AS bigint[]))
         AS s (meter_id, from_ms, to_ms)
""")  # noqa: S608 - a constant of ours

_EXTEND_SUSPECT = text(f"""
    UPDATE suspect_spans
    SET instants_ms = instants_ms || CAST(:instants AS bigint[]), readings = readings + :readings,
        from_at = least(from_at, {_EPOCH} + :from_ms * interval '1 ms'),
        to_at = greatest(to_at, {_EPOCH} + :to_ms * interval '1 ms')
    WHERE id = (
        SELECT id FROM suspect_spans
        WHERE meter_id = :meter AND reason = :reason AND resolved_at IS NULL AND readings < :readings_max
        ORDER BY id LIMIT 1 FOR UPDATE
    )
""")  # noqa: S608 - see above

_ADD_SUSPECT = text(f"""
    INSERT INTO suspect_spans (meter_id, from_at, to_at, reason, readings, instants_ms)
    VALUES (:meter, {_EPOCH} + :from_ms * interval '1 ms', {_EPOCH} + :to_ms * interval '1 ms', :reason, :readings,
            CAST(:instants AS bigint[]))
""")  # noqa: S608 - see above

Span = tuple[int, int, int]
"""A meter's id, and the first and last instant of what changed, both included, in UTC milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class ScanSpan:
    """Scans of one meter that are being stored."""

    meter_id: int
    observed_at_ms: Int64s
    """UTC milliseconds since 1970, in any order."""


def mark(connection: Connection, spans: Iterable[Span]) -> None:
    """Note that something has changed there; the caller's transaction decides whether it has."""
    merged = _merge(spans)
    if merged:
        meters, froms, tos = zip(*merged, strict=True)
        connection.execute(_MARK, {"meters": list(meters), "froms": list(froms), "tos": list(tos)})


def mark_scans(connection: Connection, rows: Sequence[ScanSpan], *, now: datetime | None = None) -> None:
    """Note where scans were stored, and set those aside that lie in the future; usually one statement.

    `now` is the hub's clock; left out, it is looked at.
    """
    now_ms = ms_of_instant(now or datetime.now(UTC))
    limit_ms = now_ms + AHEAD_MS
    spans: list[Span] = []
    ahead: list[ScanSpan] = []
    ancient: list[ScanSpan] = []
    for row in rows:
        times = row.observed_at_ms
        if not len(times):
            continue
        first, last = int(times.min()), int(times.max())
        if first >= PAST_MS and last <= limit_ms:
            spans.append((row.meter_id, first, last))
            continue
        ahead.append(ScanSpan(row.meter_id, times[times > limit_ms]))
        ancient.append(ScanSpan(row.meter_id, times[times < PAST_MS]))
        usual = times[(times >= PAST_MS) & (times <= limit_ms)]
        if len(usual):
            spans.append((row.meter_id, int(usual.min()), int(usual.max())))
    mark(connection, spans)
    if ahead:
        mark_suspect(connection, ahead, FUTURE, now_ms)
        mark_suspect(connection, ancient, PAST, now_ms)


def mark_suspect(connection: Connection, rows: Iterable[ScanSpan], reason: str, now_ms: int) -> None:
    """Set readings aside until a person has judged them.

    They stay stored. Each instant is kept, so that honest readings of the same hours, when they come, count.
    """
    instants: defaultdict[int, list[Int64s]] = defaultdict(list)
    for row in rows:
        if len(row.observed_at_ms):
            instants[row.meter_id].append(row.observed_at_ms)
    for meter_id, parts in sorted(instants.items()):
        times = np.unique(np.concatenate(parts))
        found = {
            "meter": meter_id,
            "reason": reason,
            "from_ms": _clamp(int(times[0])),
            "to_ms": _clamp(int(times[-1])),
            "readings": len(times),
            "instants": times.tolist(),
        }
        if not connection.execute(_EXTEND_SUSPECT, {**found, "readings_max": _INSTANTS_MAX}).rowcount:
            connection.execute(_ADD_SUSPECT, found)
    # So that whoever recomputes the meter reports the finding: now, and not when their time has come.
    mark(connection, [(meter_id, now_ms, now_ms) for meter_id in instants])


def _merge(spans: Iterable[Span]) -> list[Span]:
    """Unite what lies near each other, so that a backfill beside live readings does not become all between."""
    merged: list[Span] = []
    for meter_id, first_ms, last_ms in sorted(spans):
        from_ms, to_ms = _clamp(first_ms), _clamp(last_ms)
        if merged and merged[-1][0] == meter_id and from_ms <= merged[-1][2] + _NEAR_MS:
            merged[-1] = meter_id, merged[-1][1], max(merged[-1][2], to_ms)
        else:
            merged.append((meter_id, from_ms, to_ms))
    return merged


def _clamp(at_ms: int) -> int:
    return max(0, min(at_ms, _LATEST_MS))
