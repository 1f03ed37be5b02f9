"""Exports over HTTP: files that are sent as they are read."""

from datetime import date, datetime
from typing import Annotated, Self

from flask import Response
from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from cloud_hub.access import routes
from cloud_hub.access.permissions import Permission
from cloud_hub.access.references import MeterId, OrganisationName, PointId, SiteName
from cloud_hub.errors import Invalid
from cloud_hub.transfer import csv_out, espi_out, parquet_out
from cloud_hub.transfer.exporting import Format, Order, What, begin_export
from cloud_hub.transfer.ledger_out import Step
from cloud_hub.transfer.selection import Range, Selection, make_range
from cloud_hub.web.database import streaming_session
from cloud_hub.web.documents import Document
from cloud_hub.web.ranges import InstantIn, read_day, read_instant

_DAY_LENGTH = len("2026-01-31")

api = routes.api("transfer_api", tag="Export")


def _read_edge(given: object) -> date | datetime:
    if not isinstance(given, str) or not _looks_like_edge(given):
        raise ValueError(
            "is no edge of a range: write a date such as 2026-01-31, or an instant such as 2026-01-31T12:00:00Z "
            "(a '+' in an address is written %2B)"
        )
    return read_day(given) if len(given) == _DAY_LENGTH else read_instant(given)


def _looks_like_edge(text: str) -> bool:
    try:
        return len(text) == _DAY_LENGTH or datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _bare(content_type: str) -> str:
    return content_type.partition(";")[0]


EdgeIn = Annotated[
    date | datetime,
    BeforeValidator(_read_edge),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}]}),
]
"""A day, which stands for its local midnight, or an instant with its offset from UTC."""


class ReadingsExport(Document):
    """What is exported, and as what kind of file. Points are those that answer to all that is said."""

    format: Format = Format.CSV
    organisation: OrganisationName | None = None
    site: SiteName | None = None
    meter: MeterId | None = None
    point: PointId | None = None
    point_name: Annotated[str, Field(max_length=255)] | None = None
    """Alike at many meters."""
    start: EdgeIn = Field(alias="from")
    end: EdgeIn = Field(alias="to")

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        try:
            make_range(self.start, self.end)
        except Invalid as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def range(self) -> Range:
        """The time that is asked for."""
        return Range(self.start, self.end)

    @property
    def selection(self) -> Selection:
        """The points that are asked for."""
        return Selection(
            organisation=self.organisation,
            site=self.site,
            meter_id=self.meter,
            point_id=self.point,
            point=self.point_name,
        )


class IntervalsExport(ReadingsExport):
    """The same, out of the ledger."""

    as_known_at: InstantIn | None = None
    """As it was known at that instant; now, when left out."""


class TotalsExport(IntervalsExport):
    """The same, summed up."""

    step: Step = Step.DAY


_TABLES = (_bare(csv_out.CONTENT_TYPE), _bare(parquet_out.CONTENT_TYPE))


@api.get("/export/readings", permission=Permission.EXPORT, query=ReadingsExport, media=_TABLES)
def export_readings(query: ReadingsExport) -> Response:
    """Send readings of the points asked for, as a file."""
    return _send(
        Order(what=What.READINGS, format=query.format, selection=query.selection, range=query.range),
    )


@api.get(
    "/export/intervals",
    permission=Permission.EXPORT,
    query=IntervalsExport,
    media=(*_TABLES, _bare(espi_out.CONTENT_TYPE)),
)
def export_intervals(query: IntervalsExport) -> Response:
    """Send intervals of the registers asked for, as a file; `espi` is Green Button."""
    return _send(
        Order(
            what=What.INTERVALS,
            format=query.format,
            selection=query.selection,
            range=query.range,
            as_known_at=query.as_known_at,
        )
    )


@api.get("/export/totals", permission=Permission.EXPORT, query=TotalsExport, media=_TABLES)
def export_totals(query: TotalsExport) -> Response:
    """Send sums of the registers asked for by day or month, as a file; `from` and `to` are days."""
    return _send(
        Order(
            what=What.TOTALS,
            format=query.format,
            selection=query.selection,
            range=query.range,
            step=query.step,
            as_known_at=query.as_known_at,
        )
    )


def _send(order: Order) -> Response:
    # The request's own session is closed before the first byte is sent; this one lives as long as the answer.
    session = streaming_session()
    try:
        begun = begin_export(session, order)
    except BaseException:
        session.close()
        raise
    # Once it has begun, a fault can only end the answer early, which its reader sees by the missing end.
    response = Response(begun.chunks, content_type=begun.content_type)
    response.call_on_close(session.close)
    response.headers["Content-Disposition"] = f'attachment; filename="{begun.file_name}"'
    return response
