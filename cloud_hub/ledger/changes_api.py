"""What people say of registers, as JSON: corrections, exchanges, edits, judgements. Each is audited, none overwrites."""

from http import HTTPStatus

from cloud_hub.access import routes
from cloud_hub.access.permissions import Permission
from cloud_hub.access.routes import current_actor
from cloud_hub.ledger import commissioning, edits, exchanges, suspects
from cloud_hub.ledger.api import amount_text, find_register
from cloud_hub.ledger.models import LedgerEdit
from cloud_hub.ledger.registers import correct_register, list_registers
from cloud_hub.ledger.schemas import (
    CommissionedIn,
    CommissionedOut,
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
    SuspectsQuery,
    WhyIn,
)
from cloud_hub.registry import queries
from cloud_hub.web.database import request_session
from cloud_hub.web.pagination import PageOut, encode_cursor

api = routes.api("ledger_changes_api", tag="Ledger")


@api.get("/points/<id:point_id>/registers", permission=Permission.ENERGY_READ, answer=RegistersOut)
def get_registers(point_id: int) -> RegistersOut:
    """List how a point's register is read, by period."""
    session = request_session()
    find_register(session, point_id)
    records = list_registers(session, [point_id])
    answer = RegistersOut(items=[RegisterOut.model_validate(record) for record in records])
    session.commit()  # a register that nobody had asked for until now has just been recorded
    return answer


@api.post(
    "/points/<id:point_id>/registers",
    permission=Permission.ENERGY_WRITE,
    body=RegisterIn,
    answer=RegisterOut,
    status=HTTPStatus.CREATED,
    is_idempotent=True,
    problems=(HTTPStatus.CONFLICT,),
)
def post_register(point_id: int, body: RegisterIn) -> RegisterOut:
    """Correct how a register is read, from an instant on."""
    session = request_session()
    corrected = correct_register(
        session,
        point_id,
        valid_from=body.valid_from,
        valid_until=body.valid_until,
        who=current_actor().label,
        why=body.why,
        **body.changes,
    )
    session.commit()
    return RegisterOut.model_validate(corrected)


@api.get("/points/<id:point_id>/exchanges", permission=Permission.ENERGY_READ, answer=ExchangesOut)
def get_exchanges(point_id: int) -> ExchangesOut:
    """List a register's exchanges."""
    found = exchanges.list_exchanges(request_session(), point_id)
    return ExchangesOut(items=[ExchangeOut.model_validate(one) for one in found])


@api.post(
    "/points/<id:point_id>/exchanges",
    permission=Permission.METERS_WRITE,
    body=ExchangeIn,
    answer=ExchangeOut,
    status=HTTPStatus.CREATED,
    is_idempotent=True,
    problems=(HTTPStatus.CONFLICT,),
)
def post_exchange(point_id: int, body: ExchangeIn) -> ExchangeOut:
    """Record that a meter was exchanged."""
    session = request_session()
    exchange = exchanges.record_exchange(
        session,
        point_id,
        at=body.at,
        closing=body.closing,
        opening=body.opening,
        who=current_actor().label,
        why=body.why,
    )
    session.commit()
    return ExchangeOut.model_validate(exchange)


@api.post(
    "/exchanges/<id:exchange_id>/withdraw",
    permission=Permission.METERS_WRITE,
    answer=ExchangeOut,
    problems=(HTTPStatus.CONFLICT,),
)
def withdraw_exchange(exchange_id: int) -> ExchangeOut:
    """Let an exchange that was recorded in error count no more."""
    session = request_session()
    exchange = exchanges.withdraw_exchange(session, exchange_id, who=current_actor().label)
    session.commit()
    return ExchangeOut.model_validate(exchange)


@api.get("/points/<id:point_id>/edits", permission=Permission.ENERGY_READ, answer=EditsOut)
def get_edits(point_id: int) -> EditsOut:
    """List a register's edits, the undone ones among them."""
    return EditsOut(items=[_edit_out(edit) for edit in edits.list_edits(request_session(), point_id)])


@api.post(
    "/points/<id:point_id>/edits",
    permission=Permission.ENERGY_WRITE,
    body=EditIn,
    answer=EditOut,
    status=HTTPStatus.CREATED,
    is_idempotent=True,
    problems=(HTTPStatus.CONFLICT,),
)
def post_edit(point_id: int, body: EditIn) -> EditOut:
    """Put an amount in place of what was computed."""
    session = request_session()
    edit = edits.make_edit(
        session,
        point_id,
        start=body.start,
        end=body.end,
        amount=body.amount,
        who=current_actor().label,
        why=body.why,
    )
    session.commit()
    return _edit_out(edit)


@api.post(
    "/edits/<id:edit_id>/undo",
    permission=Permission.ENERGY_WRITE,
    body=WhyIn,
    answer=EditOut,
    problems=(HTTPStatus.CONFLICT,),
)
def undo_edit(edit_id: int, body: WhyIn) -> EditOut:
    """Let what is computed hold again."""
    session = request_session()
    edit = edits.undo_edit(session, edit_id, who=current_actor().label, why=body.why)
    session.commit()
    return _edit_out(edit)


@api.get("/suspects", permission=Permission.ENERGY_READ, query=SuspectsQuery, answer=PageOut[SuspectOut])
def get_suspects(query: SuspectsQuery) -> PageOut[SuspectOut]:
    """List readings that wait for judgement."""
    session = request_session()
    site_id = None if query.site is None else queries.get_site(session, query.site).id
    named = query.organisation
    organisation_id = None if named is None else queries.get_organisation(session, named).id
    page = suspects.list_suspects(session, query.window, query.meter, site_id=site_id, organisation_id=organisation_id)
    items = [SuspectOut.model_validate(span) for span in page.items]
    return PageOut(items=items, next_cursor=encode_cursor(page.next_key))


@api.post(
    "/suspects/<id:span_id>/resolve",
    permission=Permission.ENERGY_WRITE,
    names={"span_id": "suspect_span"},
    body=ResolutionIn,
    answer=SuspectOut,
    problems=(HTTPStatus.CONFLICT,),
)
def resolve_suspect(span_id: int, body: ResolutionIn) -> SuspectOut:
    """Say whether suspect readings count."""
    session = request_session()
    span = suspects.resolve_suspect(session, span_id, body.resolution, who=current_actor().label)
    session.commit()
    return SuspectOut.model_validate(span)


@api.post(
    "/meters/<id:meter_id>/commissioned",
    permission=Permission.METERS_WRITE,
    body=CommissionedIn,
    answer=CommissionedOut,
)
def post_commissioned(meter_id: int, body: CommissionedIn) -> CommissionedOut:
    """Say from when on a meter's readings count."""
    session = request_session()
    meter = commissioning.set_commissioned(session, meter_id, body.at, who=current_actor().label)
    session.commit()
    return CommissionedOut.model_validate(meter)


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
