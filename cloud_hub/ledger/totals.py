"""Days, months and years of registers, and what one interval was known to be over time."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

_DAYS = text("""
    SELECT d.point_id, d.day, d.total_micro, d.completeness, cardinality(d.qualities) AS intervals,
           coalesce(n.estimated_micro, 0)::bigint AS estimated_micro, coalesce(n.edited_micro, 0)::bigint AS edited_micro
    FROM ledger_days d
    LEFT JOIN LATERAL (
        SELECT sum(u.amount) FILTER (WHERE u.quality = 1) AS estimated_micro,
               sum(u.amount) FILTER (WHERE u.quality = 2) AS edited_micro
        FROM unnest(d.amounts_micro, d.qualities) AS u (amount, quality)
    ) AS n ON d.causes IS NOT NULL OR d.methods IS NOT NULL
    WHERE d.point_id = ANY(:points) AND d.day >= :first AND d.day <= :last
    ORDER BY d.point_id, d.day
""")

_MONTHS = text("""
    SELECT point_id, month AS day, total_micro, completeness, days AS intervals, estimated_micro, edited_micro
    FROM ledger_months WHERE point_id = ANY(:points) AND month >= :first AND month <= :last
    ORDER BY point_id, month
""")

_YEARS = text("""
    SELECT point_id, date_trunc('year', month)::date AS day, sum(total_micro)::bigint AS total_micro,
           (sum(completeness * days) / sum(days))::smallint AS completeness, sum(days)::int AS intervals,
           sum(estimated_micro)::bigint AS estimated_micro, sum(edited_micro)::bigint AS edited_micro
    FROM ledger_months WHERE point_id = ANY(:points) AND month >= date_trunc('year', CAST(:first AS date))
      AND month < date_trunc('year', CAST(:last AS date)) + interval '1 year'
    GROUP BY 1, 2 ORDER BY 1, 2
""")

_HISTORY = text("""
    SELECT start_at, end_at, amount_micro, registered_micro, quality, completeness, causes, method, calculation,
           known_from, known_until
    FROM ledger_superseded
    WHERE point_id = :point AND start_at <= :at AND end_at > :at
    UNION ALL
    SELECT start_at, end_at, amount_micro, registered_micro, quality, completeness, causes, method, calculation,
           known_at, NULL
    FROM (
        SELECT d.start_at + (n.place - 1) * d.interval_s * interval '1 second' AS start_at,
               least(d.start_at + n.place * d.interval_s * interval '1 second', d.end_at) AS end_at,
               d.amounts_micro[n.place] AS amount_micro,
               (coalesce(d.registered_micro, d.amounts_micro))[n.place] AS registered_micro,
               n.quality, d.completenesses[n.place] AS completeness, coalesce(d.causes[n.place], 0) AS causes,
               coalesce(d.methods[n.place], 0::smallint) AS method, d.calculation, d.known_at[n.place] AS known_at
        FROM ledger_days d CROSS JOIN LATERAL unnest(d.qualities) WITH ORDINALITY AS n (quality, place)
        WHERE d.point_id = :point AND d.start_at <= :at AND d.end_at > :at
          AND d.day BETWEEN CAST(:around AS date) - 2 AND CAST(:around AS date) + 2
    ) AS current
    WHERE start_at <= :at AND end_at > :at AND quality <> 5
    ORDER BY known_from
""")


@dataclass(frozen=True, slots=True)
class Total:
    """What a register counted in a local day, month or year."""

    point_id: int
    first_day: date
    total_micro: int
    completeness: int
    """In thousandths of the time of the days that the ledger has."""
    parts: int
    """Intervals of a day; days of a month or a year that the ledger has."""
    estimated_micro: int
    edited_micro: int
    """What of the total is estimated, and what edited."""


@dataclass(frozen=True, slots=True)
class Version:
    """What an interval was known to be for some time."""

    start_at: datetime
    end_at: datetime
    amount_micro: int
    registered_micro: int
    quality: int
    completeness: int
    causes: int
    method: int
    calculation: int
    known_from: datetime
    known_until: datetime | None
    """None for what is known now."""


def list_days(session: Session, point_ids: Collection[int], first: date, last: date) -> list[Total]:
    """List the local days of registers from `first` to `last`, both included, by register and day."""
    return _list(session, _DAYS, point_ids, first, last)


def list_months(session: Session, point_ids: Collection[int], first: date, last: date) -> list[Total]:
    """List the months of registers that begin from `first` to `last`, both included."""
    return _list(session, _MONTHS, point_ids, first, last)


def list_years(session: Session, point_ids: Collection[int], first: date, last: date) -> list[Total]:
    """List the years of registers from that of `first` to that of `last`, sums of their months."""
    return _list(session, _YEARS, point_ids, first, last)


def list_versions(session: Session, point_id: int, at: datetime) -> list[Version]:
    """List what the interval that holds an instant was known to be, oldest first."""
    rows = session.execute(_HISTORY, {"point": point_id, "at": at, "around": at.date()})
    return [Version(*row) for row in rows]


def _list(session: Session, query: TextClause, point_ids: Collection[int], first: date, last: date) -> list[Total]:
    rows = session.execute(query, {"points": list(point_ids), "first": first, "last": last})
    return [
        Total(
            row.point_id,
            row.day,
            row.total_micro,
            row.completeness,
            row.intervals,
            row.estimated_micro,
            row.edited_micro,
        )
        for row in rows
    ]
