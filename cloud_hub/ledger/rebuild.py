"""Lay the ledger of meters out anew: their days or intervals are others than before. Callers commit."""

from collections.abc import Collection
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from cloud_hub.calendar.days import ms_of_instant
from cloud_hub.ledger import dirty
from cloud_hub.ledger.facts import OUT_OF_REACH

# Days whose readings are no longer kept cannot be computed again: they stay as they are.
_DAYS = """
    SELECT p.id AS point_id, p.meter_id, coalesce(o.readings_from + :out_of_reach, '-infinity') AS written_from
    FROM points p JOIN meters m ON m.id = p.meter_id
    JOIN sites s ON s.id = m.site_id JOIN organisations o ON o.id = s.organisation_id
    WHERE m.id = ANY(:meters)
"""

# Nothing else may write these rows meanwhile; whoever recomputes one of the meters is waited for.
_LOCK = text("""
    SELECT pg_advisory_xact_lock((CAST(27751 AS bigint) << 48) | id)
    FROM (SELECT id FROM meters WHERE id = ANY(:meters) ORDER BY id) AS m
""")

_SUPERSEDE = text(f"""
    INSERT INTO ledger_superseded (start_at, end_at, point_id, amount_micro, registered_micro, known_from, known_until,
                                   causes, quality, completeness, method, calculation)
    SELECT d.start_at + (n.place - 1) * d.interval_s * interval '1 second',
           least(d.start_at + n.place * d.interval_s * interval '1 second', d.end_at),
           d.point_id, d.amounts_micro[n.place], (coalesce(d.registered_micro, d.amounts_micro))[n.place],
           d.known_at[n.place], clock_timestamp(), coalesce(d.causes[n.place], 0), n.quality,
           d.completenesses[n.place], coalesce(d.methods[n.place], 0::smallint), d.calculation
    FROM ledger_days d
    JOIN ({_DAYS}) AS ours ON ours.point_id = d.point_id AND d.day >= ours.written_from
    CROSS JOIN LATERAL unnest(d.qualities) WITH ORDINALITY AS n (quality, place)
    WHERE n.quality <> 5
""")  # noqa: S608 - both parts stand in this file; values are bound, here and below
_RANGES = text(f"""
    SELECT ours.meter_id, min(d.start_at), max(d.end_at)
    FROM ledger_days d
    JOIN ({_DAYS}) AS ours ON ours.point_id = d.point_id AND d.day >= ours.written_from
    GROUP BY ours.meter_id
""")  # noqa: S608
_DROP = """
    DELETE FROM {table} d USING ({days}) AS ours WHERE ours.point_id = d.point_id AND d.{column} >= ours.written_from
"""
_DROPS = [
    text(_DROP.format(table=table, days=_DAYS, column=column))
    for table, column in (("ledger_days", "day"), ("ledger_months", "month"))
]


def rebuild_meters(session: Session, meter_ids: Collection[int]) -> None:
    """Move what is known of these meters' registers into the history, and let all of it be computed again.

    To be called in the transaction that changes their site, its time zone or its organisation's interval length.
    """
    parameters: dict[str, object] = {"meters": sorted(meter_ids), "out_of_reach": OUT_OF_REACH.days}
    session.flush()
    session.execute(_LOCK, parameters)
    spans = [
        (meter_id, ms_of_instant(start), min(ms_of_instant(end), ms_of_instant(datetime.now(UTC))))
        for meter_id, start, end in session.execute(_RANGES, parameters)
    ]
    session.execute(_SUPERSEDE, parameters)
    for statement in _DROPS:
        session.execute(statement, parameters)
    dirty.mark(session.connection(), spans)
