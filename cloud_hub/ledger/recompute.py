"""Bring the ledger in step with what has changed. Any number of processes may do so at once.

All of a piece of work is one transaction, its marks included: killed anywhere, nothing of it has happened.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cloud_hub.calendar.days import date_of_number, day_number, local_date_of_ms, ms_of_instant
from cloud_hub.energy.reference import REFERENCE_DAYS
from cloud_hub.ledger import dirty
from cloud_hub.ledger.claim import Change, claim
from cloud_hub.ledger.computing import Job, Outcome, compute_jobs
from cloud_hub.ledger.facts import MeterFacts, load_facts
from cloud_hub.ledger.findings import replace_findings
from cloud_hub.ledger.history import Written, write_versions
from cloud_hub.ledger.window import day_start_ms

METERS_MAX = 200
"""Meters in one transaction: enough that statements are shared, few enough that a kill costs seconds."""

_READINGS_MAX = 2_000_000
"""About as many readings are in memory at once: 18 bytes each, and as much again while they are sorted."""

_USUAL_DAYS = 6
_DAY_S = 86_400

log = structlog.get_logger(__name__)

# Estimates are shaped like days before them (a partial interval may wait for one that begins a day later), and days
# are compared with the same weekdays before.
_DEPENDENTS = text("""
    SELECT w.point_id, d.day - date '1970-01-01' AS day
    FROM unnest(CAST(:points AS bigint[]), CAST(:firsts AS integer[]), CAST(:lasts AS integer[]),
                CAST(:afters AS integer[])) AS w (point_id, first, last, after)
    JOIN ledger_days d ON d.point_id = w.point_id
     AND d.day > date '1970-01-01' + w.after AND d.day <= date '1970-01-01' + w.last + :reach
    WHERE d.qualities && ARRAY[1, 3, 4]::smallint[] OR (d.day - date '1970-01-01') % 7 = ANY(:weekdays)
""")


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What was done."""

    meters: int = 0
    intervals: int = 0
    """That are known otherwise than before, or for the first time."""


def recompute_some(engine: Engine, now: datetime | None = None, *, meters_max: int = METERS_MAX) -> Recomputed:
    """Recompute some meters in which something has changed; none when there is none, or others are at them.

    `now` is the hub's clock; left out, it is looked at. An interval is in the ledger once it has ended.
    """
    now_ms = ms_of_instant(now or datetime.now(UTC))
    with Session(engine) as session, session.begin():
        changes = claim(session.connection(), meters_max, now_ms)
        if not changes:
            return Recomputed()
        facts = load_facts(session, {change.meter_id for change in changes})
        intervals = 0
        for jobs in _groups(changes, facts):
            intervals += _recompute(session, jobs, now_ms)
    done = Recomputed(len({change.meter_id for change in changes}), intervals)
    log.debug("ledger_recomputed", meters=done.meters, intervals=done.intervals)
    return done


def recompute_all(engine: Engine, now: datetime | None = None) -> Recomputed:
    """Recompute until nothing is left that this process may take."""
    meters = intervals = 0
    while (done := recompute_some(engine, now)).meters:
        meters, intervals = meters + done.meters, intervals + done.intervals
    return Recomputed(meters, intervals)


def _groups(changes: Sequence[Change], facts: dict[int, MeterFacts]) -> Iterator[list[Job]]:
    """Put jobs together that are not too much at once, and never two of one register."""
    rounds: list[list[Change]] = []
    seen: dict[int, int] = {}
    for change in changes:
        turn = seen.get(change.meter_id, 0)
        seen[change.meter_id] = turn + 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(change)
    for some in rounds:
        group: list[Job] = []
        size = 0.0
        for change in some:
            if change.meter_id not in facts:  # the meter is gone, and its marks with it
                continue
            meter = facts[change.meter_id]
            for point in meter.points:
                seconds = (change.to_ms - change.from_ms) / 1000 + _USUAL_DAYS * _DAY_S
                size += seconds / max(point.period_s or _DAY_S, 1)
                if size > _READINGS_MAX and group:
                    yield group
                    group, size = [], 0.0
                group.append(Job(meter, point, change))
        if group:
            yield group


def _recompute(session: Session, jobs: Sequence[Job], now_ms: int) -> int:
    outcomes = compute_jobs(session, jobs, now_ms)
    connection = session.connection()
    # The server's clock, now that the locks are held: versions of an interval follow each other.
    known_at = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    known_us = ms_of_instant(known_at) * 1000 + known_at.microsecond % 1000
    pairs = [(outcome.job.point.point_id, outcome.rows, outcome.old) for outcome in outcomes]
    written = write_versions(connection, pairs, known_us)
    replace_findings(session, jobs, outcomes)
    _mark_dependents(session, outcomes, written, now_ms)
    return sum(one.intervals for one in written)


def _mark_dependents(session: Session, outcomes: Sequence[Outcome], written: Sequence[Written], now_ms: int) -> None:
    """Mark later days that look back at days whose measured amounts have changed. None is later than today."""
    concerned = [
        (outcome, one)
        for outcome, one in zip(outcomes, written, strict=True)
        if len(one.reference_days) and outcome.window.write_last < local_date_of_ms(now_ms, outcome.job.meter.zone)
    ]
    if not concerned:
        return
    parameters = {
        "points": [one.point_id for _, one in concerned],
        "firsts": [int(one.reference_days[0]) for _, one in concerned],
        "lasts": [int(one.reference_days[-1]) for _, one in concerned],
        "afters": [day_number(outcome.window.write_last) for outcome, _ in concerned],
        "reach": REFERENCE_DAYS,
        "weekdays": sorted({day % 7 for _, one in concerned for day in one.reference_days.tolist()}),
    }
    meters = {outcome.job.point.point_id: outcome.job.meter for outcome, _ in concerned}
    spans: list[dirty.Span] = []
    for point_id, number in session.connection().execute(_DEPENDENTS, parameters):
        meter, day = meters[point_id], date_of_number(number)
        start_ms = day_start_ms(day, meter.zone)
        spans.append((meter.meter_id, start_ms, day_start_ms(day + timedelta(days=1), meter.zone) - 1))
    dirty.mark(session.connection(), spans)
