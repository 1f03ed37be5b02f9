"""What happened to registers, under its name: kept in step with what the computation finds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, select, text
from sqlalchemy.orm import Session

from cloud_hub.calendar.days import instant_of_ms, ms_of_instant, start_of_day
from cloud_hub.energy.compute import touches
from cloud_hub.energy.model import Finding, FindingKind
from cloud_hub.ledger.computing import COMPARISONS, Job, Outcome
from cloud_hub.ledger.models import LedgerFinding
from cloud_hub.readings.service import first_reading

REPORTED = frozenset({FindingKind.DUPLICATE, FindingKind.OUT_OF_ORDER, FindingKind.CLOCK_SHIFT})
"""Said by whoever brought the readings, who alone can know: computing does not take them back."""

OF_READINGS = frozenset({FindingKind.FUTURE, FindingKind.BEFORE_COMMISSIONING})
"""About readings that count nowhere, so that no window of the ledger has them."""

_KNOWN = text("""
    SELECT f.id, f.point_id, f.kind, f.from_at, f.to_at, f.detail
    FROM unnest(CAST(:points AS bigint[]), CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]))
         AS w (point_id, start_at, end_at)
    JOIN ledger_findings f ON f.point_id = w.point_id
    WHERE f.kind = ANY(:of_readings) OR (f.from_at < w.end_at AND f.to_at >= w.start_at AND f.kind <> ALL(:reported))
""")


_ADD = text("""
    INSERT INTO ledger_findings (point_id, kind, from_at, to_at, detail)
    SELECT * FROM unnest(CAST(:point_id AS bigint[]), CAST(:kind AS text[]), CAST(:from_at AS timestamptz[]),
                         CAST(:to_at AS timestamptz[]), CAST(:detail AS jsonb[]))
    ON CONFLICT (point_id, kind, from_at) DO UPDATE SET to_at = excluded.to_at, detail = excluded.detail
""")


@dataclass(frozen=True, slots=True)
class _Known:
    id: int
    finding: Finding


def replace_findings(session: Session, jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> None:
    """Let the findings of the computed days be those that were found; what is as before keeps its row."""
    by_point = {outcome.job.point.point_id: outcome for outcome in outcomes}
    of_readings = _find_of_readings(session, jobs)
    known = _load_known(session.connection(), jobs, by_point)
    new: list[tuple[int, Finding]] = []
    gone: list[int] = []
    for job in jobs:
        point_id = job.point.point_id
        outcome = by_point.get(point_id)
        found = {(one.kind, one.from_ms): one for one in of_readings.get(point_id, ())}
        if outcome is not None:
            found |= {(one.kind, one.from_ms): one for one in outcome.findings}
        for one in known.get(point_id, ()):
            key = one.finding.kind, one.finding.from_ms
            if found.get(key) == one.finding:
                del found[key]
            elif _is_ours(one.finding, outcome):
                gone.append(one.id)
        new += [(point_id, finding) for finding in found.values()]
    if gone:
        session.execute(delete(LedgerFinding).where(LedgerFinding.id.in_(gone)))
    if new:
        add_findings(session, new)


def add_findings(session: Session, findings: Sequence[tuple[int, Finding]]) -> None:
    """Add findings of registers; one of the same kind and begin is replaced."""
    rows: dict[tuple[int, str, int], dict[str, Any]] = {
        (point_id, one.kind.value, one.from_ms): {
            "point_id": point_id,
            "kind": one.kind.value,
            "from_at": instant_of_ms(one.from_ms),
            "to_at": instant_of_ms(one.to_ms),
            "detail": json.dumps(dict(one.detail)),
        }
        for point_id, one in findings
    }
    ordered = [rows[key] for key in sorted(rows)]
    session.execute(
        _ADD, {name: [row[name] for row in ordered] for name in ("point_id", "kind", "from_at", "to_at", "detail")}
    )


def list_findings(
    session: Session, point_id: int, start: datetime, end: datetime, kind: FindingKind | None = None
) -> list[LedgerFinding]:
    """List what happened to a register in `[start, end)`, oldest first; of one kind, when one is named."""
    query = select(LedgerFinding).where(
        LedgerFinding.point_id == point_id, LedgerFinding.from_at < end, LedgerFinding.to_at >= start
    )
    if kind is not None:
        query = query.where(LedgerFinding.kind == kind.value)
    return list(session.scalars(query.order_by(LedgerFinding.from_at, LedgerFinding.kind)))


def _is_ours(finding: Finding, outcome: Outcome | None) -> bool:
    """Say whether a finding that was not found again is to go: unless it lies elsewhere."""
    if finding.kind in OF_READINGS:
        return True
    if outcome is None or (finding.kind in COMPARISONS and not outcome.is_compared):
        return False
    return touches(finding, *_span_ms(outcome))


def _span_ms(outcome: Outcome) -> tuple[int, int]:
    zone, window = outcome.job.meter.zone, outcome.window
    end = start_of_day(window.write_last + timedelta(days=1), zone)
    return ms_of_instant(start_of_day(window.write_first, zone)), ms_of_instant(end)


def _load_known(
    connection: Connection, jobs: Sequence[Job], outcomes: Mapping[int, Outcome]
) -> dict[int, list[_Known]]:
    ids = [job.point.point_id for job in jobs]
    spans = [_span_ms(outcomes[point_id]) if point_id in outcomes else (0, 0) for point_id in ids]
    parameters = {
        "points": ids,
        "starts": [instant_of_ms(start) for start, _ in spans],
        "ends": [instant_of_ms(end) for _, end in spans],
        "of_readings": sorted(OF_READINGS),
        "reported": sorted(REPORTED | OF_READINGS),
    }
    known: dict[int, list[_Known]] = {}
    for row in connection.execute(_KNOWN, parameters):
        finding = Finding(FindingKind(row.kind), ms_of_instant(row.from_at), ms_of_instant(row.to_at), row.detail)
        known.setdefault(row.point_id, []).append(_Known(row.id, finding))
    return known


def _find_of_readings(session: Session, jobs: Sequence[Job]) -> dict[int, list[Finding]]:
    """Find readings that lie ahead of the clock, and those from before a meter was commissioned."""
    commissioned = {
        job.point.point_id: job.meter.commissioned_ms for job in jobs if job.meter.commissioned_ms is not None
    }
    firsts = first_reading(session, commissioned) if commissioned else {}
    found: dict[int, list[Finding]] = {}
    for job in jobs:
        some = [Finding(FindingKind.FUTURE, start, end) for start, end in job.meter.suspect_spans]
        point_id = job.point.point_id
        if point_id in firsts and (first_ms := ms_of_instant(firsts[point_id])) < commissioned[point_id]:
            some.append(Finding(FindingKind.BEFORE_COMMISSIONING, first_ms, commissioned[point_id]))
        if some:
            found[point_id] = some
    return found
