"""Exports as streams of bytes: what is asked for, checked before the first byte, then read part by part."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import chain

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.errors import Invalid
from cloud_hub.ledger.models import RegisterRecord
from cloud_hub.transfer import csv_out, espi_out, parquet_out
from cloud_hub.transfer.blocks import INTERVALS, READINGS, TOTALS, Block, Column
from cloud_hub.transfer.ledger_out import Step, list_intervals, list_totals, read_stretches, units_of
from cloud_hub.transfer.readings_out import list_readings
from cloud_hub.transfer.selection import Chosen, Range, Selection, choose_points, open_snapshot


class What(StrEnum):
    """What is exported."""

    READINGS = "readings"
    INTERVALS = "intervals"
    TOTALS = "totals"


class Format(StrEnum):
    """As what kind of file."""

    CSV = "csv"
    PARQUET = "parquet"
    ESPI = "espi"


_SUFFIXES = {Format.CSV: "csv", Format.PARQUET: "parquet", Format.ESPI: "xml"}
_CONTENT_TYPES = {
    Format.CSV: csv_out.CONTENT_TYPE,
    Format.PARQUET: parquet_out.CONTENT_TYPE,
    Format.ESPI: espi_out.CONTENT_TYPE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What somebody wants exported."""

    what: What
    format: Format
    selection: Selection
    range: Range
    step: Step = Step.DAY
    """Of totals."""
    as_known_at: datetime | None = None
    """Of intervals and totals: what was known at that instant."""


@dataclass(frozen=True, slots=True)
class Export:
    """A file that is made as it is read. `chunks` needs the session that it was begun with."""

    file_name: str
    content_type: str
    chunks: Iterator[bytes]


def begin_export(session: Session, order: Order) -> Export:
    """Check an order and make its first part, so that what is wrong is told before anything is sent.

    All is read from one snapshot of the database; the session must not have changed anything.
    Raises: NotFound, Invalid.
    """
    if order.format is Format.ESPI and order.what is not What.INTERVALS:
        raise Invalid("Green Button holds intervals: choose csv or parquet for readings and totals")
    if order.what is What.TOTALS and (isinstance(order.range.start, datetime) or isinstance(order.range.end, datetime)):
        raise Invalid("totals are of local days: write from and to as dates, such as 2026-01-31")
    open_snapshot(session)
    chosen = choose_points(session, order.selection, counters_only=order.what is not What.READINGS)
    chunks = _chunks(session, order, chosen)
    first = next(chunks, b"")
    name = f"{order.what}-{order.range.start:%Y%m%d}-{order.range.end:%Y%m%d}.{_SUFFIXES[order.format]}"
    return Export(name, _CONTENT_TYPES[order.format], chain([first], chunks))


def _chunks(session: Session, order: Order, chosen: list[Chosen]) -> Iterator[bytes]:
    if order.format is Format.ESPI:
        espi_out.check_units(chosen, units_of(session, chosen))
        stretches = read_stretches(session, chosen, order.range, order.as_known_at)
        return espi_out.write_espi(stretches, _directions(session, chosen), updated=datetime.now(UTC))
    columns, blocks = _table(session, order, chosen)
    write = csv_out.write_csv if order.format is Format.CSV else parquet_out.write_parquet
    return write(columns, blocks)


def _table(session: Session, order: Order, chosen: list[Chosen]) -> tuple[tuple[Column, ...], Iterator[Block]]:
    if order.what is What.READINGS:
        return READINGS, list_readings(session, chosen, order.range)
    if order.what is What.INTERVALS:
        return INTERVALS, list_intervals(session, chosen, order.range, order.as_known_at)
    return TOTALS, list_totals(session, chosen, order.range, order.step, order.as_known_at)


def _directions(session: Session, chosen: list[Chosen]) -> dict[int, str]:
    query = select(RegisterRecord.point_id, RegisterRecord.direction).where(
        RegisterRecord.point_id.in_([one.point_id for one in chosen]), RegisterRecord.withdrawn_at.is_(None)
    )
    return {row.point_id: row.direction for row in session.execute(query.order_by(RegisterRecord.id))}
