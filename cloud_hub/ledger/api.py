"""The ledger as JSON: what registers counted, how well that is known, and since when."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, request
from sqlalchemy.orm import Session

from cloud_hub.calendar.days import local_date, ms_of_instant
from cloud_hub.energy.model import MICRO, Cause, IntervalQuality, Method
from cloud_hub.errors import Invalid
from cloud_hub.ledger import findings, totals
from cloud_hub.ledger.models import RegisterRecord
from cloud_hub.ledger.registers import ensure_registers, list_registers
from cloud_hub.ledger.schemas import (
    FindingOut,
    FindingsOut,
    IntervalsOut,
    TotalOut,
    TotalsOut,
    VersionOut,
    VersionsOut,
)
from cloud_hub.ledger.totals import Total, Version
from cloud_hub.ledger.versions import LedgerColumns, read_ledger
from cloud_hub.registry import queries
from cloud_hub.registry.models import Meter, Point
from cloud_hub.web.database import request_session
from cloud_hub.web.json import answer_json
from cloud_hub.web.parameters import parse_instant

DAYS_MAX = 400
"""Of intervals that one request may ask for: a year, and some."""
YEARS_MAX = 100

api = Blueprint("ledger_api", __name__, url_prefix="/api/v1")


@dataclass(frozen=True, slots=True)
class Asked:
    """The register that a request asks for."""

    point: Point
    meter: Meter
    unit: str
    zone: ZoneInfo


def find_register(session: Session, point_id: int) -> Asked:
    """Return a register; its unit is that of its records.

    Raises: UnknownPoint, Invalid for a point without a register.
    """
    point = queries.get_point(session, point_id)
    meter = queries.get_meter(session, point.meter_id)
    records: list[RegisterRecord] = list_registers(session, [point_id])
    if not records:
        ensure_registers(session, [meter])
        records = list_registers(session, [point_id])
    if not records:
        raise Invalid(f"point {point_id} ({point.name}) has no register: the ledger knows counters only")
    zone = ZoneInfo(queries.get_site_by_id(session, meter.site_id).time_zone)
    return Asked(point, meter, records[-1].unit, zone)


@api.get("/points/<id:point_id>/intervals")
def get_intervals(point_id: int) -> Response:
    """Return a register's intervals that begin in `[from, to)`, as known now or at `as_known_at`."""
    start, end = _wanted_range(timedelta(days=DAYS_MAX))
    known = parse_instant(request.args, "as_known_at") if "as_known_at" in request.args else None
    session = request_session()
    asked = find_register(session, point_id)
    first, last = local_date(start, asked.zone), local_date(end, asked.zone)
    columns = read_ledger(session, [point_id], first, last, known)[point_id]
    begins_inside = (columns.start_ms >= ms_of_instant(start)) & (columns.start_ms < ms_of_instant(end))
    return answer_json(_intervals_out(asked, columns.take(begins_inside)))


@api.get("/points/<id:point_id>/intervals/versions")
def list_versions(point_id: int) -> Response:
    """List what the interval that holds the instant `at` was known to be, oldest first."""
    at = parse_instant(request.args, "at")
    session = request_session()
    asked = find_register(session, point_id)
    items = [_version_out(version) for version in totals.list_versions(session, point_id, at)]
    return answer_json(VersionsOut(point_id=point_id, unit=asked.unit, items=items))


@api.get("/points/<id:point_id>/days")
def list_days(point_id: int) -> Response:
    """List the local days of a register in `[from, to)`."""
    first, last = _wanted_days()
    session = request_session()
    asked = find_register(session, point_id)
    return _answer_totals(asked, totals.list_days(session, [point_id], first, last))


@api.get("/points/<id:point_id>/months")
def list_months(point_id: int) -> Response:
    """List the months of a register that begin in `[from, to)`."""
    first, last = _wanted_days()
    session = request_session()
    asked = find_register(session, point_id)
    return _answer_totals(asked, totals.list_months(session, [point_id], first, last))


@api.get("/points/<id:point_id>/findings")
def list_findings(point_id: int) -> Response:
    """List what happened to a register in `[from, to)`."""
    start, end = _wanted_range(timedelta(days=366 * YEARS_MAX))
    session = request_session()
    queries.get_point(session, point_id)
    found = findings.list_findings(session, point_id, start, end)
    return answer_json(FindingsOut(items=[FindingOut.model_validate(one) for one in found]))


def _wanted_range(longest: timedelta) -> tuple[datetime, datetime]:
    start, end = parse_instant(request.args, "from"), parse_instant(request.args, "to")
    if end <= start:
        raise Invalid("to is not after from: a range of time begins at from and ends before to")
    if end - start > longest:
        raise Invalid(f"the range is longer than {longest.days} days: ask for less at once")
    return start, end


def _wanted_days() -> tuple[date, date]:
    """Read two local dates; the second is not part of the range. Returns first and last day."""
    first, end = _parse_date("from"), _parse_date("to")
    if end <= first:
        raise Invalid("to is not after from: a range of days begins with from and ends before to")
    if (end - first).days > 366 * YEARS_MAX:
        raise Invalid(f"the range is longer than {YEARS_MAX} years: ask for less at once")
    return first, end - timedelta(days=1)


def _parse_date(name: str) -> date:
    given = request.args.get(name, "")
    try:
        return date.fromisoformat(given)
    except ValueError as error:
        raise Invalid(f"{name} is {given!r}: send a date such as 2026-01-31") from error


def _answer_totals(asked: Asked, found: list[Total]) -> Response:
    items = [
        TotalOut(
            first_day=one.first_day,
            amount=amount_text(one.total_micro),
            estimated=amount_text(one.estimated_micro),
            edited=amount_text(one.edited_micro),
            completeness=one.completeness / 1000,
            parts=one.parts,
        )
        for one in found
    ]
    return answer_json(TotalsOut(point_id=asked.point.id, unit=asked.unit, items=items))


def _intervals_out(asked: Asked, columns: LedgerColumns) -> IntervalsOut:
    qualities = [IntervalQuality(code) for code in columns.qualities.tolist()]
    causes = {code: _cause_names(code) for code in set(columns.causes.tolist())}
    return IntervalsOut(
        point_id=asked.point.id,
        unit=asked.unit,
        start=columns.start_ms.tolist(),
        end=columns.end_ms.tolist(),
        amount=[_known(*pair) for pair in zip(columns.amounts_micro.tolist(), qualities, strict=True)],
        registered=[_known(*pair) for pair in zip(columns.registered_micro.tolist(), qualities, strict=True)],
        quality=[quality.name.lower() for quality in qualities],
        completeness=(columns.completenesses / 1000).tolist(),
        causes=[causes[code] for code in columns.causes.tolist()],
        method=[Method(code).name.lower() for code in columns.methods.tolist()],
        known_at=(columns.known_us // 1000).tolist(),
    )


def _version_out(version: Version) -> VersionOut:
    quality = IntervalQuality(version.quality)
    return VersionOut(
        start=version.start_at,
        end=version.end_at,
        amount=_known(version.amount_micro, quality),
        registered=_known(version.registered_micro, quality),
        quality=quality.name.lower(),
        completeness=version.completeness / 1000,
        causes=_cause_names(version.causes),
        method=Method(version.method).name.lower(),
        calculation=version.calculation,
        known_from=version.known_from.astimezone(UTC),
        known_until=version.known_until,
    )


def _cause_names(code: int) -> list[str]:
    return [cause.name.lower() for cause in Cause(code) if cause.name is not None]


def _known(amount_micro: int, quality: IntervalQuality) -> str | None:
    return None if quality is IntervalQuality.MISSING else amount_text(amount_micro)


def amount_text(amount_micro: int) -> str:
    """Write an amount of the ledger in its unit, without exponent and without needless zeros."""
    text = f"{Decimal(amount_micro) / MICRO:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
