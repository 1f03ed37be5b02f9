"""Exports over HTTP: files that are sent as they are read."""

from flask import Blueprint, Response, request
from sqlalchemy.orm import Session

from cloud_hub.errors import Invalid
from cloud_hub.transfer.exporting import Format, Order, What, begin_export
from cloud_hub.transfer.ledger_out import Step
from cloud_hub.transfer.parameters import parse_choice, parse_edge
from cloud_hub.transfer.selection import Range, Selection, make_range
from cloud_hub.web.database import request_session
from cloud_hub.web.parameters import parse_instant, parse_whole

_ID_MAX = 10**18 - 1

api = Blueprint("transfer_api", __name__, url_prefix="/api/v1")


@api.get("/export/<what>")
def export(what: str) -> Response:
    """Send readings, intervals or totals of the points asked for, as a file."""
    order = Order(
        what=parse_choice(What, what, "what is exported"),
        format=parse_choice(Format, request.args.get("format", Format.CSV), "format"),
        selection=_selection(),
        range=_range(),
        step=parse_choice(Step, request.args.get("step", Step.DAY), "step"),
        as_known_at=parse_instant(request.args, "as_known_at") if "as_known_at" in request.args else None,
    )
    # The request's own session is closed before the first byte is sent; this one lives as long as the answer.
    session = Session(request_session().get_bind())
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


def _selection() -> Selection:
    return Selection(
        organisation=request.args.get("organisation"),
        site=request.args.get("site"),
        meter_id=_id("meter"),
        point_id=_id("point"),
        point=request.args.get("point_name"),
    )


def _id(name: str) -> int | None:
    if name not in request.args:
        return None
    return parse_whole(request.args, name, default=0, lowest=1, highest=_ID_MAX)


def _range() -> Range:
    missing = [name for name in ("from", "to") if name not in request.args]
    if missing:
        raise Invalid(
            f"{missing[0]} is missing: send a date such as 2026-01-31, or an instant such as 2026-01-31T12:00:00Z"
        )
    return make_range(parse_edge(request.args["from"], "from"), parse_edge(request.args["to"], "to"))
