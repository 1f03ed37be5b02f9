"""Notice intervals that end without a reading: no data is news too, and nobody sends it."""

from datetime import UTC, datetime

from sqlalchemy import Engine, text

from cloud_hub.ledger.window import QUIET_MS, QUIET_PERIODS

# Of each register the newest day decides, by one look at its primary key: whether the last interval that has ended a
# while ago is in it.
_MARK = text("""
    WITH ends AS (
        SELECT p.meter_id, d.start_at, d.end_at, d.interval_s, d.qualities,
               CAST(:now AS timestamptz)
                   - greatest(:quiet_s, :periods * coalesce(p.period_s, 0)) * interval '1 second' AS until_at
        FROM (SELECT DISTINCT point_id FROM registers WHERE withdrawn_at IS NULL) r
        JOIN points p ON p.id = r.point_id
        CROSS JOIN LATERAL (
            SELECT start_at, end_at, interval_s, qualities FROM ledger_days
            WHERE point_id = r.point_id ORDER BY day DESC LIMIT 1
        ) AS d
    ), places AS (
        SELECT *, floor(extract(epoch FROM until_at - start_at) / interval_s)::bigint AS ended FROM ends
    ), silent AS (
        SELECT meter_id, min(least(end_at, start_at + (ended - 1) * interval_s * interval '1 second')) AS from_at,
               max(until_at) AS to_at
        FROM places
        WHERE until_at >= end_at + interval_s * interval '1 second'
           OR (ended BETWEEN 1 AND cardinality(qualities) AND qualities[ended] = 5)
           OR (until_at >= end_at AND qualities[cardinality(qualities)] = 5)
        GROUP BY meter_id
    )
    INSERT INTO ledger_dirty (meter_id, from_at, to_at, is_silence)
    SELECT meter_id, from_at, to_at, true FROM silent
    WHERE NOT EXISTS (SELECT FROM ledger_dirty WHERE ledger_dirty.meter_id = silent.meter_id)
""")


def mark_silent(engine: Engine, now: datetime | None = None) -> int:
    """Mark the meters whose ledger ends before the last interval that has ended; return how many there are.

    Where readings are on their way, nothing is marked: it waits as long as `cloud_hub.ledger.window.quiet_ms` says.
    """
    parameters = {"now": now or datetime.now(UTC), "quiet_s": QUIET_MS / 1000, "periods": QUIET_PERIODS}
    with engine.begin() as connection:
        return connection.execute(_MARK, parameters).rowcount
