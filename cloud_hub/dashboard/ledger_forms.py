"""What people may do to a register from the page of its day. Callers commit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from cloud_hub.calendar.days import instant_of_ms
from cloud_hub.dashboard import wording
from cloud_hub.dashboard.energy_wording import scale_of
from cloud_hub.dashboard.ledger_instants import parse_local, parse_number
from cloud_hub.energy.model import MICRO
from cloud_hub.errors import Invalid, NotFound
from cloud_hub.ledger.edits import list_edits, make_edit, undo_edit
from cloud_hub.ledger.exchanges import list_exchanges, record_exchange, withdraw_exchange
from cloud_hub.ledger.models import SuspectSpan
from cloud_hub.ledger.registers import RegisterChanges, correct_register
from cloud_hub.ledger.suspects import Resolution, resolve_suspect
from cloud_hub.registry import queries

DONE: Mapping[str, str] = {
    "edit": "The amount is put in place.",
    "undo": "The edit is undone; what the register says holds again.",
    "exchange": "The meter exchange is recorded.",
    "withdraw": "The meter exchange counts no more.",
    "register": "The register is corrected. What was known before is kept.",
    "suspect": "Your judgement is recorded.",
}
"""What the page says when a form has done its work."""

_ID_DIGITS_MAX = 18


@dataclass(frozen=True, slots=True)
class Refused:
    """A form that was refused."""

    action: str
    item: str
    """Which row's form, where each row of a list has one."""
    problem: str
    needs_pass: bool
    """True when the typed time came twice on the clock."""


@dataclass(frozen=True, slots=True)
class _Place:
    """The register that the form is about."""

    point_id: int
    meter_id: int
    zone: ZoneInfo
    shown: Decimal
    """How much of the register's unit one of the shown unit is: 1000 for kWh of a register in Wh."""
    who: str


def apply(session: Session, point_id: int, action: str, form: Mapping[str, str], who: str) -> str:
    """Do what the form asks for; return the word of `DONE` for it.

    Raises: NotFound, Invalid, Conflict, each with one sentence for the person at the form.
    """
    point = queries.get_point(session, point_id)
    meter = queries.get_meter(session, point.meter_id)
    zone = wording.find_zone(queries.get_site_by_id(session, meter.site_id).time_zone)
    place = _Place(point_id, meter.id, zone, Decimal(scale_of(point.unit).micro) / MICRO, who)
    deed = _ACTIONS.get(action)
    if deed is None:
        raise NotFound(f"there is no form {action!r} on this page")
    deed(session, place, form)
    return action


def _edit(session: Session, place: _Place, form: Mapping[str, str]) -> None:
    start, end = (_parse_border(form, name, label) for name, label in (("from", "From"), ("to", "To")))
    if end <= start:
        raise Invalid("The end is not after the begin: choose a later one.")
    amount = parse_number(form.get("amount", ""), "The amount") * place.shown
    why = _parse_why(form)
    make_edit(session, place.point_id, start=start, end=end, amount=amount, who=place.who, why=why)


def _undo(session: Session, place: _Place, form: Mapping[str, str]) -> None:
    edit_id = _parse_id(form, "edit", {edit.id for edit in list_edits(session, place.point_id)})
    undo_edit(session, edit_id, who=place.who, why=_parse_why(form))


def _exchange(session: Session, place: _Place, form: Mapping[str, str]) -> None:
    at = parse_local(form.get("at", ""), place.zone, "The time of the exchange", form.get("pass", ""))
    closing = parse_number(form.get("closing", ""), "The closing reading") * place.shown
    opening = parse_number(form.get("opening", ""), "The opening reading") * place.shown
    why = _parse_why(form)
    record_exchange(session, place.point_id, at=at, closing=closing, opening=opening, who=place.who, why=why)


def _withdraw(session: Session, place: _Place, form: Mapping[str, str]) -> None:
    exchange_id = _parse_id(form, "exchange", {one.id for one in list_exchanges(session, place.point_id)})
    withdraw_exchange(session, exchange_id, who=place.who)


def _correct(session: Session, place: _Place, form: Mapping[str, str]) -> None:
    changes: RegisterChanges = {}
    if form.get("scale", "").strip():
        changes["scale"] = parse_number(form["scale"], "The scale")
    if form.get("rollover", "").strip():
        changes["rollover"] = parse_number(form["rollover"], "The highest reading") * place.shown
    if not changes:
        raise Invalid("Nothing is to change: write a scale, or where the register begins again at 0.")
    valid_from = None
    if form.get("valid_from", "").strip():
        valid_from = parse_local(form["valid_from"], place.zone, "The begin", form.get("pass", ""))
    why = _parse_why(form)
    correct_register(session, place.point_id, valid_from=valid_from, who=place.who, why=why, **changes)


def _resolve(session: Session, place: _Place, form: Mapping[str, str]) -> None:
    given = form.get("item", "")
    span_id = int(given) if given.isdecimal() and len(given) <= _ID_DIGITS_MAX else 0
    span = session.get(SuspectSpan, span_id)
    if span is None or span.meter_id != place.meter_id:
        raise NotFound("These readings are not of this meter: load the page again.")
    try:
        resolution = Resolution(form.get("resolution", ""))
    except ValueError as error:
        raise Invalid("Say whether these readings count: choose one of the two buttons.") from error
    resolve_suspect(session, span_id, resolution, who=place.who)


_ACTIONS: Mapping[str, Callable[[Session, _Place, Mapping[str, str]], None]] = {
    "edit": _edit,
    "undo": _undo,
    "exchange": _exchange,
    "withdraw": _withdraw,
    "register": _correct,
    "suspect": _resolve,
}


def _parse_why(form: Mapping[str, str]) -> str:
    why = form.get("why", "").strip()
    if not why:
        raise Invalid("The reason is empty: say in a few words why.")
    return why


def _parse_border(form: Mapping[str, str], name: str, label: str) -> datetime:
    text = form.get(name, "")
    try:
        return instant_of_ms(int(text))
    except (ValueError, OverflowError) as error:
        raise Invalid(f"{label} is {text!r}: choose one of the times of this day.") from error


def _parse_id(form: Mapping[str, str], kind: str, known: set[int]) -> int:
    text = form.get("item", "")
    number = int(text) if text.isdecimal() and len(text) <= _ID_DIGITS_MAX else 0
    if number not in known:
        raise NotFound(f"This register has no such {kind}: load the page again.")
    return number
