"""Lay a site's ledger out anew: its days or intervals are others than before. Callers commit."""

from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from cloud_hub.calendar.days import ms_of_instant
from cloud_hub.ledger import dirty

_POINTS = """
    SELECT p.id FROM points p JOIN meters m ON m.id = p.meter_id WHERE m.site_id = :site
"""

# Nothing else may write these rows meanwhile; whoever recomputes a meter of the site is waited for.
_LOCK = text("""
    SELECT pg_advisory_xact_lock((CAST(27751 AS bigint) << 48) | id)
    FROM (SELECT id FROM meters WHERE site_id = :site ORDER BY id) AS m
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
    CROSS JOIN LATERAL unnest(d.qualities) WITH ORDINALITY AS n (quality, place)
    WHERE d.point_id IN ({_POINTS}) AND n.quality <> 5
""")  # noqa: S608 - both parts stand in this file; values are bound, here and below
_RANGES = text(f"""
    SELECT p.meter_id, min(d.start_at), max(d.end_at)
    FROM ledger_days d JOIN points p ON p.id = d.point_id
    WHERE d.point_id IN ({_POINTS}) GROUP BY p.meter_id
""")  # noqa: S608
_DROP = [text(f"DELETE FROM {table} WHERE point_id IN ({_POINTS})") for table in ("ledger_days", "ledger_months")]  # noqa: S608


def rebuild_site(session: Session, site_id: int) -> None:
    """Move what is known of a site's registers into the history, and let all of it be computed again.

    To be called in the transaction that changes the site's time zone or its organisation's interval length.
    """
    parameters = {"site": site_id}
    session.flush()
    session.execute(_LOCK, parameters)
    spans = [
        (meter_id, ms_of_instant(start), min(ms_of_instant(end), ms_of_instant(datetime.now(UTC))))
        for meter_id, start, end in session.execute(_RANGES, parameters)
    ]
    session.execute(_SUPERSEDE, parameters)
    for statement in _DROP:
        session.execute(statement, parameters)
    dirty.mark(session.connection(), spans)
