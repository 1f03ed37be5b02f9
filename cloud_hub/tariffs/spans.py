"""Store and read values that hold for spans of time: prices, emission factors. Callers commit."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from cloud_hub.calendar.days import ms_of_instant
from cloud_hub.errors import Conflict, Invalid
from cloud_hub.tariffs.models import EmissionFactor, TariffPrice
from cloud_hub.tariffs.steps import Steps, make_steps

SpanTable = type[TariffPrice] | type[EmissionFactor]


@dataclass(frozen=True, slots=True)
class Span:
    """A value that holds in `[from_at, until_at)`."""

    from_at: datetime
    until_at: datetime
    value: Decimal


def replace_spans(
    session: Session, table: SpanTable, series_id: int, spans: Sequence[Span], *, start: datetime, end: datetime
) -> None:
    """Put these spans in the place of all that a series holds in `[start, end)`.

    The caller holds the lock on the series' row. Raises: Invalid when spans overlap each other or leave the range,
    Conflict when one that is stored reaches over an end of the range.
    """
    ordered = sorted(spans, key=lambda span: span.from_at)
    _check(ordered, start, end)
    session.execute(delete(table).where(table.series_id == series_id, table.from_at >= start, table.until_at <= end))
    left = session.execute(
        select(table.from_at, table.until_at).where(
            table.series_id == series_id, table.from_at < end, table.until_at > start
        )
    ).first()
    if left is not None:
        raise Conflict(
            f"a value from {left.from_at.isoformat()} until {left.until_at.isoformat()} is stored already and reaches over an end of what was sent: send its whole span as well"
        )
    rows = [
        {"series_id": series_id, "from_at": span.from_at, "until_at": span.until_at, "value": span.value}
        for span in ordered
    ]
    if rows:
        session.execute(insert(table), rows)


def read_spans(
    session: Session, table: SpanTable, series_ids: Collection[int], start: datetime, end: datetime
) -> dict[int, Steps]:
    """Read what holds within `[start, end)`, by series; a series without anything there has empty steps."""
    rows = session.execute(
        select(table.series_id, table.from_at, table.until_at, table.value)
        .where(table.series_id.in_(series_ids), table.from_at < end, table.until_at > start)
        .order_by(table.from_at)
    )
    found: dict[int, list[tuple[int, int, Decimal]]] = {series_id: [] for series_id in series_ids}
    for series_id, from_at, until_at, value in rows:
        found[series_id].append((ms_of_instant(from_at), ms_of_instant(until_at), value))
    return {series_id: make_steps(spans) for series_id, spans in found.items()}


def _check(ordered: Sequence[Span], start: datetime, end: datetime) -> None:
    for span in ordered:
        if span.until_at <= span.from_at:
            raise Invalid(f"the span from {span.from_at.isoformat()} ends before it begins: correct its until")
        if span.from_at < start or span.until_at > end:
            raise Invalid(f"the span from {span.from_at.isoformat()} lies outside the range that is replaced")
    for earlier, later in pairwise(ordered):
        if later.from_at < earlier.until_at:
            raise Invalid(
                f"two values hold at {later.from_at.isoformat()}: end the one from {earlier.from_at.isoformat()} there"
            )
