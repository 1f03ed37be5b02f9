"""What people say of registers, as JSON: corrections, exchanges, edits, judgements. Each is audited, none overwrites."""

from typing import cast

from flask import Blueprint, Response, request

from cloud_hub.calendar.documents import Model, parse_json
from cloud_hub.ledger import commissioning, edits, exchanges, suspects
from cloud_hub.ledger.api import amount_text, find_register
from cloud_hub.ledger.models import LedgerEdit
from cloud_hub.ledger.registers import RegisterChanges, correct_register, list_registers
from cloud_hub.ledger.schemas import (
    CommissionedIn,
    EditIn,
    EditOut,
    EditsOut,
    ExchangeIn,
    ExchangeOut,
    ExchangesOut,
    RegisterIn,
    RegisterOut,
    RegistersOut,
    ResolutionIn,
    SuspectOut,
    WhyIn,
)
from cloud_hub.registry import queries
from cloud_hub.registry.schemas import FromAttributes, Instant
from cloud_hub.users.access import current_user
from cloud_hub.web.database import request_session
from cloud_hub.web.json import answer_json
from cloud_hub.web.pagination import PageOut, encode_cursor, parse_window
from cloud_hub.web.parameters import parse_whole

api = Blueprint("ledger_changes_api", __name__, url_prefix="/api/v1")

_VALIDITY = frozenset({"valid_from", "valid_until", "why"})


class _Commissioned(FromAttributes):
    id: int
    commissioned_at: Instant | None


@api.get("/points/<id:point_id>/registers")
def get_registers(point_id: int) -> Response:
    """List how a point's register is read, by period."""
    session = request_session()
    find_register(session, point_id)
    records = list_registers(session, [point_id])
    answer = RegistersOut(items=[RegisterOut.model_validate(record) for record in records])
    session.commit()  # a register that nobody had asked for until now has just been recorded
    return answer_json(answer)


@api.post("/points/<id:point_id>/registers")
def post_register(point_id: int) -> Response:
    """Correct how a register is read, from an instant on."""
    body = _read_body(RegisterIn)
    given = {name: getattr(body, name) for name in body.model_fields_set - _VALIDITY}
    session = request_session()
    corrected = correct_register(
        session,
        point_id,
        valid_from=body.valid_from,
        valid_until=body.valid_until,
        who=current_user().email,
        why=body.why,
        **cast("RegisterChanges", given),
    )
    session.commit()
    return answer_json(RegisterOut.model_validate(corrected))


@api.get("/points/<id:point_id>/exchanges")
def get_exchanges(point_id: int) -> Response:
    """List a register's exchanges."""
    session = request_session()
    queries.get_point(session, point_id)
    found = exchanges.list_exchanges(session, point_id)
    return answer_json(ExchangesOut(items=[ExchangeOut.model_validate(one) for one in found]))


@api.post("/points/<id:point_id>/exchanges")
def post_exchange(point_id: int) -> Response:
    """Record that a meter was exchanged."""
    body = _read_body(ExchangeIn)
    session = request_session()
    exchange = exchanges.record_exchange(
        session,
        point_id,
        at=body.at,
        closing=body.closing,
        opening=body.opening,
        who=current_user().email,
        why=body.why,
    )
    session.commit()
    return answer_json(ExchangeOut.model_validate(exchange))


@api.post("/exchanges/<id:exchange_id>/withdraw")
def withdraw_exchange(exchange_id: int) -> Response:
    """Let an exchange that was recorded in error count no more."""
    session = request_session()
    exchange = exchanges.withdraw_exchange(session, exchange_id, who=current_user().email)
    session.commit()
    return answer_json(ExchangeOut.model_validate(exchange))


@api.get("/points/<id:point_id>/edits")
def get_edits(point_id: int) -> Response:
    """List a register's edits, the undone ones among them."""
    session = request_session()
    queries.get_point(session, point_id)
    return answer_json(EditsOut(items=[_edit_out(edit) for edit in edits.list_edits(session, point_id)]))


@api.post("/points/<id:point_id>/edits")
def post_edit(point_id: int) -> Response:
    """Put an amount in place of what was computed."""
    body = _read_body(EditIn)
    session = request_session()
    edit = edits.make_edit(
        session,
        point_id,
        start=body.start,
        end=body.end,
        amount=body.amount,
        who=current_user().email,
        why=body.why,
    )
    session.commit()
    return answer_json(_edit_out(edit))


@api.post("/edits/<id:edit_id>/undo")
def undo_edit(edit_id: int) -> Response:
    """Let what is computed hold again."""
    body = _read_body(WhyIn)
    session = request_session()
    edit = edits.undo_edit(session, edit_id, who=current_user().email, why=body.why)
    session.commit()
    return answer_json(_edit_out(edit))


@api.get("/suspects")
def get_suspects() -> Response:
    """List readings that wait for judgement; `meter` names one meter."""
    session = request_session()
    meter_id = None
    if "meter" in request.args:
        wanted = parse_whole(request.args, "meter", default=0, lowest=1, highest=10**17)
        meter_id = queries.get_meter(session, wanted).id
    page = suspects.list_suspects(session, parse_window(request.args), meter_id)
    items = [SuspectOut.model_validate(span) for span in page.items]
    return answer_json(PageOut[SuspectOut](items=items, next_cursor=encode_cursor(page.next_key)))


@api.post("/suspects/<id:span_id>/resolve")
def resolve_suspect(span_id: int) -> Response:
    """Say whether suspect readings count."""
    body = _read_body(ResolutionIn)
    session = request_session()
    span = suspects.resolve_suspect(session, span_id, body.resolution, who=current_user().email)
    session.commit()
    return answer_json(SuspectOut.model_validate(span))


@api.post("/meters/<id:meter_id>/commissioned")
def post_commissioned(meter_id: int) -> Response:
    """Say from when on a meter's readings count."""
    body = _read_body(CommissionedIn)
    session = request_session()
    meter = commissioning.set_commissioned(session, meter_id, body.at, who=current_user().email)
    session.commit()
    return answer_json(_Commissioned.model_validate(meter))


def _read_body(shape: type[Model]) -> Model:
    return parse_json(shape, request.get_data(), "the request's body")


def _edit_out(edit: LedgerEdit) -> EditOut:
    return EditOut(
        id=edit.id,
        start=edit.from_at,
        end=edit.to_at,
        amount=amount_text(edit.amount_micro),
        made_at=edit.made_at,
        made_by=edit.made_by,
        why=edit.why,
        undone_at=edit.undone_at,
        undone_by=edit.undone_by,
        undone_why=edit.undone_why,
    )
