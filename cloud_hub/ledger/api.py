"""The ledger as JSON: what registers counted, how well that is known, and since when."""

from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from http import HTTPStatus
from zoneinfo import ZoneInfo

from flask import Response
from sqlalchemy.orm import Session

from cloud_hub.access import routes
from cloud_hub.access.permissions import Permission
from cloud_hub.calendar.days import local_date, ms_of_instant
from cloud_hub.energy.model import MICRO, Cause, IntervalQuality, Method
from cloud_hub.errors import Invalid
from cloud_hub.ledger import findings, totals
from cloud_hub.ledger.models import RegisterRecord
from cloud_hub.ledger.registers import ensure_registers, list_registers
from cloud_hub.ledger.schemas import (
    FindingOut,
    FindingsOut,
    FindingsQuery,
    IntervalsField,
    IntervalsOut,
    IntervalsQuery,
    TotalOut,
    TotalsOut,
    VersionOut,
    VersionsOut,
    VersionsQuery,
)
from cloud_hub.ledger.totals import Total, Version
from cloud_hub.ledger.versions import LedgerColumns, read_ledger
from cloud_hub.registry import queries
from cloud_hub.registry.models import Meter, Point
from cloud_hub.web.columns import MEDIA_TYPES, Column, Format, Kind, answer_columns, wanted_format
from cloud_hub.web.database import request_session
from cloud_hub.web.json import answer_sparse
from cloud_hub.web.ranges import DayRange

api = routes.api("ledger_api", tag="Ledger")


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


@api.get(
    "/points/<id:point_id>/intervals",
    permission=Permission.ENERGY_READ,
    query=IntervalsQuery,
    answer=IntervalsOut,
    media=tuple(MEDIA_TYPES.values()),
    problems=(HTTPStatus.NOT_ACCEPTABLE,),
)
def get_intervals(point_id: int, query: IntervalsQuery) -> Response:
    """Return a register's intervals that begin in `[from, to)`, as known now or at `as_known_at`."""
    form = wanted_format(query.format)
    session = request_session()
    asked = find_register(session, point_id)
    first, last = local_date(query.start, asked.zone), local_date(query.end, asked.zone)
    known = read_ledger(session, [point_id], first, last, query.as_known_at)[point_id]
    begins_inside = (known.start_ms >= ms_of_instant(query.start)) & (known.start_ms < ms_of_instant(query.end))
    columns = _columns(known.take(begins_inside))
    if form is Format.JSON:
        values = {column.name: column.values for column in columns}
        answer = IntervalsOut.model_validate({"point_id": point_id, "unit": asked.unit} | values)
        wanted = set(query.fields or IntervalsField)
        return answer_sparse(answer, {field.value for field in IntervalsField if field not in wanted})
    about = {"point": str(point_id), "name": asked.point.name, "unit": asked.unit}
    wanted_columns = [column for column in columns if column.name in (query.fields or IntervalsField)]
    return answer_columns(form, wanted_columns, about, file_name=f"intervals-{point_id}")


@api.get(
    "/points/<id:point_id>/intervals/versions",
    permission=Permission.ENERGY_READ,
    query=VersionsQuery,
    answer=VersionsOut,
)
def list_versions(point_id: int, query: VersionsQuery) -> VersionsOut:
    """List what the interval that holds the instant `at` was known to be, oldest first."""
    session = request_session()
    asked = find_register(session, point_id)
    items = [_version_out(version) for version in totals.list_versions(session, point_id, query.at)]
    return VersionsOut(point_id=point_id, unit=asked.unit, items=items)


@api.get("/points/<id:point_id>/days", permission=Permission.ENERGY_READ, query=DayRange, answer=TotalsOut)
def list_days(point_id: int, query: DayRange) -> TotalsOut:
    """List the local days of a register in `[from, to)`."""
    session = request_session()
    asked = find_register(session, point_id)
    return _totals_out(asked, totals.list_days(session, [point_id], query.start, query.last))


@api.get("/points/<id:point_id>/months", permission=Permission.ENERGY_READ, query=DayRange, answer=TotalsOut)
def list_months(point_id: int, query: DayRange) -> TotalsOut:
    """List the months of a register that begin in `[from, to)`."""
    session = request_session()
    asked = find_register(session, point_id)
    return _totals_out(asked, totals.list_months(session, [point_id], query.start, query.last))


@api.get("/points/<id:point_id>/findings", permission=Permission.ENERGY_READ, query=FindingsQuery, answer=FindingsOut)
def list_findings(point_id: int, query: FindingsQuery) -> FindingsOut:
    """List what happened to a register in `[from, to)`."""
    found = findings.list_findings(request_session(), point_id, query.start, query.end, query.kind)
    return FindingsOut(items=[FindingOut.model_validate(one) for one in found])


def _totals_out(asked: Asked, found: list[Total]) -> TotalsOut:
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
    return TotalsOut(point_id=asked.point.id, unit=asked.unit, items=items)


def _columns(known: LedgerColumns) -> list[Column]:
    qualities = [IntervalQuality(code) for code in known.qualities.tolist()]
    causes = {code: _cause_names(code) for code in set(known.causes.tolist())}
    methods = {code: Method(code).name.lower() for code in set(known.methods.tolist())}
    amounts, registered = (
        [_known(*pair) for pair in zip(column.tolist(), qualities, strict=True)]
        for column in (known.amounts_micro, known.registered_micro)
    )
    return [
        Column(IntervalsField.START, Kind.INSTANT, known.start_ms.tolist()),
        Column(IntervalsField.END, Kind.INSTANT, known.end_ms.tolist()),
        Column(IntervalsField.AMOUNT, Kind.AMOUNT, amounts),
        Column(IntervalsField.REGISTERED, Kind.AMOUNT, registered),
        Column(IntervalsField.QUALITY, Kind.WORD, [quality.name.lower() for quality in qualities]),
        Column(IntervalsField.COMPLETENESS, Kind.NUMBER, (known.completenesses / 1000).tolist()),
        Column(IntervalsField.CAUSES, Kind.WORDS, [causes[code] for code in known.causes.tolist()]),
        Column(IntervalsField.METHOD, Kind.WORD, [methods[code] for code in known.methods.tolist()]),
        Column(IntervalsField.KNOWN_AT, Kind.INSTANT, (known.known_us // 1000).tolist()),
    ]


def _version_out(version: Version) -> VersionOut:
    quality = IntervalQuality(version.quality)
    return VersionOut.model_validate(
        {
            "start": version.start_at,
            "end": version.end_at,
            "amount": _known(version.amount_micro, quality),
            "registered": _known(version.registered_micro, quality),
            "quality": quality.name.lower(),
            "completeness": version.completeness / 1000,
            "causes": _cause_names(version.causes),
            "method": Method(version.method).name.lower(),
            "calculation": version.calculation,
            "known_from": version.known_from.astimezone(UTC),
            "known_until": version.known_until,
        }
    )


def _cause_names(code: int) -> list[str]:
    return [cause.name.lower() for cause in Cause(code) if cause.name is not None]


def _known(amount_micro: int, quality: IntervalQuality) -> str | None:
    return None if quality is IntervalQuality.MISSING else amount_text(amount_micro)


def amount_text(amount_micro: int) -> str:
    """Write an amount of the ledger in its unit, without exponent and without needless zeros."""
    text = f"{Decimal(amount_micro) / MICRO:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
