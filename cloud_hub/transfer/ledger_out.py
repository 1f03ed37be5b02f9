"""Intervals of the ledger and their totals on their way out, month by month."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.calendar.days import date_of_number, day_number, instant_of_ms, local_date, ms_of_instant, start_of_day
from cloud_hub.energy.model import Cause, IntervalQuality, Method
from cloud_hub.ledger.models import LedgerDay, RegisterRecord
from cloud_hub.ledger.versions import LedgerColumns, read_ledger
from cloud_hub.transfer.blocks import Amounts, Block, describe_place
from cloud_hub.transfer.selection import Chosen, Range

_QUALITY_NAMES = {code.value: code.name.lower() for code in IntervalQuality}
_METHOD_NAMES = {code.value: "" if code is Method.NONE else code.name.lower() for code in Method}


class Step(StrEnum):
    """What a total sums up."""

    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Stretch:
    """The intervals of one register in successive local days of one month."""

    chosen: Chosen
    unit: str
    first: date
    until: date
    """Not included."""
    columns: LedgerColumns


def read_stretches(
    session: Session, chosen: Sequence[Chosen], asked: Range, as_known_at: datetime | None
) -> Iterator[Stretch]:
    """Read registers one after the other, each month by month; months without any interval are left out."""
    units = units_of(session, chosen)
    for one in chosen:
        first, until = _days(session, one, asked)
        for begin, end in pairwise(_month_edges(first, until)):
            columns = read_ledger(session, [one.point_id], begin, end - timedelta(days=1), as_known_at)[one.point_id]
            start_ms, end_ms = asked.bounds_ms(one.zone)
            inside = (columns.start_ms >= start_ms) & (columns.start_ms < end_ms)
            columns = columns if inside.all() else columns.take(inside)
            if len(columns):
                yield Stretch(one, units[one.point_id], begin, end, columns)


def units_of(session: Session, chosen: Sequence[Chosen]) -> dict[int, str]:
    """Return what the ledger counts each register in; it may be another unit than that of the readings."""
    units = {one.point_id: one.unit for one in chosen}
    query = select(RegisterRecord.point_id, RegisterRecord.unit).where(
        RegisterRecord.point_id.in_(units), RegisterRecord.withdrawn_at.is_(None)
    )
    return units | {row.point_id: row.unit for row in session.execute(query.order_by(RegisterRecord.id))}


def _days(session: Session, one: Chosen, asked: Range) -> tuple[date, date]:
    """Return the local days of the range in which the register has any; the last one is not included."""
    start_ms, end_ms = asked.bounds_ms(one.zone)
    first, last = local_date(instant_of_ms(start_ms), one.zone), local_date(instant_of_ms(end_ms - 1), one.zone)
    query = select(LedgerDay.day).where(LedgerDay.point_id == one.point_id)
    known_first = session.scalars(query.order_by(LedgerDay.day).limit(1)).first()
    known_last = session.scalars(query.order_by(LedgerDay.day.desc()).limit(1)).first()
    if known_first is None or known_last is None:
        return first, first
    return max(first, known_first), min(last, known_last) + timedelta(days=1)


def _month_edges(first: date, until: date) -> list[date]:
    edges = [first]
    while edges[-1] < until:
        edges.append(min((edges[-1].replace(day=1) + timedelta(days=32)).replace(day=1), until))
    return edges


def list_intervals(
    session: Session, chosen: Sequence[Chosen], asked: Range, as_known_at: datetime | None = None
) -> Iterator[Block]:
    """Read intervals with all that is known of them, register by register, oldest first."""
    for stretch in read_stretches(session, chosen, asked, as_known_at):
        columns = stretch.columns
        is_known = columns.qualities != IntervalQuality.MISSING
        yield Block(
            len(columns),
            stretch.chosen.zone,
            {
                **describe_place(stretch.chosen, stretch.unit),
                "start_at": columns.start_ms,
                "end_at": columns.end_ms,
                "local_start": columns.start_ms,
                "local_day": columns.day,
                "period": _periods(columns, stretch.chosen),
                "amount": Amounts(columns.amounts_micro, is_known),
                "registered": Amounts(columns.registered_micro, is_known),
                "quality": [_QUALITY_NAMES[code] for code in columns.qualities.tolist()],
                "completeness": columns.completenesses,
                "causes": [_cause_names(causes) for causes in columns.causes.tolist()],
                "method": [_METHOD_NAMES[code] for code in columns.methods.tolist()],
                "calculation": columns.calculations,
                "known_at": columns.known_us // 1000,
            },
        )


def _cause_names(causes: int) -> str:
    return "|".join(str(cause.name).lower() for cause in Cause(causes)) if causes else ""


def _periods(columns: LedgerColumns, chosen: Chosen) -> NDArray[np.int64]:
    """Count the intervals of each local day, from 1."""
    midnights = {
        day: ms_of_instant(start_of_day(date_of_number(day), chosen.zone)) for day in set(columns.day.tolist())
    }
    since = columns.start_ms - np.array([midnights[day] for day in columns.day.tolist()], dtype=np.int64)
    lengths = np.maximum(columns.end_ms - columns.start_ms, 1)
    whole = int(lengths.max())  # a day's last interval may be shorter
    return since // whole + 1


def list_totals(
    session: Session, chosen: Sequence[Chosen], asked: Range, step: Step, as_known_at: datetime | None = None
) -> Iterator[Block]:
    """Sum up intervals by local day or month, with what is measured, estimated, edited and partial of them.

    A month of which the range holds a part is summed up over that part; `start_at` and `end_at` tell it.
    """
    for stretch in read_stretches(session, chosen, asked, as_known_at):
        columns = stretch.columns
        keys = columns.day if step is Step.DAY else np.zeros(len(columns), dtype=np.int32)
        starts = np.flatnonzero(np.diff(keys, prepend=-1))
        yield _totals(stretch, starts, step)


def _totals(stretch: Stretch, starts: NDArray[np.intp], step: Step) -> Block:
    columns = stretch.columns

    def sums(values: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.add.reduceat(values, starts)

    def part(quality: IntervalQuality) -> Amounts:
        mask = columns.qualities == quality
        return Amounts(sums(np.where(mask, columns.amounts_micro, 0)), np.ones(len(starts), dtype=bool))

    missing = sums((columns.qualities == IntervalQuality.MISSING).astype(np.int64))
    sizes = np.diff(starts, append=len(columns)).astype(np.int64)
    length = columns.end_ms - columns.start_ms
    days = columns.day[starts]
    from_days = days if step is Step.DAY else np.array([day_number(stretch.first.replace(day=1))], dtype=np.int32)
    return Block(
        len(starts),
        stretch.chosen.zone,
        {
            **describe_place(stretch.chosen, stretch.unit),
            "from_day": from_days,
            "start_at": columns.start_ms[starts],
            "end_at": columns.end_ms[np.append(starts[1:], len(columns)) - 1],
            "amount": Amounts(sums(columns.amounts_micro), missing < sizes),
            "measured": part(IntervalQuality.MEASURED),
            "estimated": part(IntervalQuality.ESTIMATED),
            "edited": part(IntervalQuality.EDITED),
            "partial": part(IntervalQuality.PARTIAL),
            "intervals": sizes,
            "missing_intervals": missing,
            "completeness": sums(columns.completenesses.astype(np.int64) * length) // sums(length),
        },
    )
