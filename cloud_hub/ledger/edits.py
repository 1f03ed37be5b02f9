"""Amounts that people put in place of computed ones, and take back. Nothing is overwritten. Callers commit."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.calendar.days import day_bounds_ms, local_date, ms_of_instant
from cloud_hub.energy.model import MICRO
from cloud_hub.errors import Conflict, Invalid, NotFound
from cloud_hub.ledger import dirty
from cloud_hub.ledger.models import LedgerEdit
from cloud_hub.ledger.registers import ensure_registers, list_registers
from cloud_hub.ledger.trail import instant_text, note_deed
from cloud_hub.organisations.models import Organisation
from cloud_hub.registry.models import Meter, Point, Site
from cloud_hub.registry.queries import get_meter, get_point

DAYS_MAX = 366
"""One edit is no longer than a year."""

_AMOUNT_MAX = Decimal(2**63 - 1) / MICRO / 1000


def make_edit(
    session: Session, point_id: int, *, start: datetime, end: datetime, amount: Decimal, who: str, why: str
) -> LedgerEdit:
    """Put `amount`, in the register's unit, in place of what `[start, end)` was computed to be.

    Both ends are borders of intervals; the amount is spread evenly. Raises: UnknownPoint, Invalid, Conflict.
    """
    point = get_point(session, point_id)
    meter = get_meter(session, point.meter_id)
    ensure_registers(session, [meter])
    if not list_registers(session, [point_id]):
        raise Invalid(f"point {point_id} ({point.name}) has no register: only what a counter counted can be edited")
    if not why.strip():
        raise Invalid("why is empty: say in a few words where the amount comes from")
    _check_span(session, meter, start, end)
    amount_micro = _micro(amount)
    # Two edits of a register at once: the second waits, and then sees the first.
    session.execute(select(Point.id).where(Point.id == point_id).with_for_update(key_share=True))
    active = LedgerEdit.point_id == point_id, LedgerEdit.undone_at.is_(None)
    other = session.scalars(
        select(LedgerEdit).where(*active, LedgerEdit.from_at < end, LedgerEdit.to_at > start)
    ).first()
    if other is not None:
        raise Conflict(
            f"edit {other.id} by {other.made_by} covers {other.from_at:%Y-%m-%dT%H:%M:%SZ} to "
            f"{other.to_at:%Y-%m-%dT%H:%M:%SZ} already: undo it first"
        )
    edit = LedgerEdit(
        point_id=point_id, from_at=start, to_at=end, amount_micro=amount_micro, made_by=who, why=why.strip()
    )
    session.add(edit)
    session.flush()
    _finish(session, meter, edit, who=who, action="edit_made", why=edit.why)
    return edit


def undo_edit(session: Session, edit_id: int, *, who: str, why: str) -> LedgerEdit:
    """Let what is computed hold again where an edit stood in its place.

    Raises: NotFound, Conflict when it is undone already, Invalid without a reason.
    """
    edit = session.get(LedgerEdit, edit_id, with_for_update=True)
    if edit is None:
        raise NotFound(f"there is no edit {edit_id}")
    if edit.undone_at is not None:
        raise Conflict(f"edit {edit_id} was undone already, by {edit.undone_by}")
    if not why.strip():
        raise Invalid("why is empty: say in a few words why the edit is undone")
    edit.undone_at, edit.undone_by, edit.undone_why = datetime.now(UTC), who, why.strip()
    session.flush()
    meter = get_meter(session, get_point(session, edit.point_id).meter_id)
    _finish(session, meter, edit, who=who, action="edit_undone", why=why.strip())
    return edit


def list_edits(session: Session, point_id: int) -> list[LedgerEdit]:
    """List all edits of a register, the undone ones among them, in order of time."""
    query = select(LedgerEdit).where(LedgerEdit.point_id == point_id)
    return list(session.scalars(query.order_by(LedgerEdit.from_at, LedgerEdit.id)))


def _micro(amount: Decimal) -> int:
    if not amount.is_finite() or abs(amount) > _AMOUNT_MAX:
        raise Invalid(f"amount is {amount}: send a number in the register's unit")
    scaled = amount * MICRO
    if scaled != scaled.to_integral_value():
        raise Invalid(f"amount is {amount}: send no more than 6 decimals, the ledger counts in millionths")
    return int(scaled)


def _check_span(session: Session, meter: Meter, start: datetime, end: datetime) -> None:
    if end <= start:
        raise Invalid("to is not after from: an edit begins at from and ends before to")
    if end - start > timedelta(days=DAYS_MAX):
        raise Invalid(f"the edit is longer than {DAYS_MAX} days: make several")
    if end > datetime.now(UTC):
        raise Invalid("to is yet to come: only intervals that are over can be edited")
    query = select(Site.time_zone, Organisation.interval_s).join(Organisation).where(Site.id == meter.site_id)
    time_zone, interval_s = session.execute(query).one()
    zone = ZoneInfo(time_zone)
    for name, instant in (("from", start), ("to", end)):
        bounds = day_bounds_ms(local_date(instant, zone), zone, interval_s)
        at_ms = ms_of_instant(instant)
        if at_ms not in bounds or instant.microsecond % 1000:
            near = int(bounds[np.abs(bounds - at_ms).argmin()])
            raise Invalid(
                f"{name} is no border of an interval of {interval_s // 60} minutes in {time_zone}: "
                f"the nearest is {datetime.fromtimestamp(near / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
            )


def _finish(session: Session, meter: Meter, edit: LedgerEdit, *, who: str, action: str, why: str) -> None:
    # The end is not part of an edit: the last millisecond that is.
    span = meter.id, ms_of_instant(edit.from_at), ms_of_instant(edit.to_at) - 1
    dirty.mark(session.connection(), [span])
    detail = {
        "edit": edit.id,
        "from": instant_text(edit.from_at),
        "to": instant_text(edit.to_at),
        "amount": str(Decimal(edit.amount_micro) / MICRO),
        "why": why,
    }
    note_deed(session, meter, who=who, action=action, subject=f"point:{edit.point_id}", detail=detail)
