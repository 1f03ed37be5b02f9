"""The pages of the ledger: a site's energy, and a register's day with what people may do about it."""

from http import HTTPStatus

from flask import redirect, render_template, request, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response

from cloud_hub.access import routes
from cloud_hub.access.permissions import Permission
from cloud_hub.access.routes import current_actor
from cloud_hub.calendar.days import local_date
from cloud_hub.dashboard import ledger_day, ledger_forms, wording
from cloud_hub.dashboard.energy_period import month_of, parse_period
from cloud_hub.dashboard.energy_site import compose_energy
from cloud_hub.dashboard.ledger_instants import ShownTwice
from cloud_hub.errors import Conflict, Invalid, NotFound
from cloud_hub.registry import queries
from cloud_hub.web.database import request_session

pages = routes.pages("energy")


@pages.get("/sites/<site>/energy", permission=Permission.ENERGY_READ, endpoint="site")
def site_energy(site: str) -> str | tuple[str, int]:
    """Show a site's energy over a month or any days."""
    session, now = request_session(), wording.now_utc()
    zone = wording.find_zone(queries.get_site(session, site).time_zone)
    today = local_date(now, zone)
    quantity = request.args.get("quantity", "")
    try:
        period, problem = parse_period(request.args, today), ""
    except Invalid as error:
        period, problem = month_of(today), str(error)
    page = compose_energy(session, site, period, quantity, now)
    typed = {"first": request.args.get("first", ""), "last": request.args.get("last", "")} if problem else {}
    text = render_template("dashboard/energy.html", page=page, problem=problem, typed=typed)
    return (text, HTTPStatus.UNPROCESSABLE_ENTITY) if problem else text


@pages.get("/points/<id:point_id>/ledger", permission=Permission.ENERGY_READ)
def ledger(point_id: int) -> str | tuple[str, int]:
    """Show what is known of a register's day."""
    return _show_day(point_id, MultiDict())


@pages.post("/points/<id:point_id>/ledger/<action>", permission=Permission.ENERGY_WRITE, plain=("action",))
def change(point_id: int, action: str) -> Response | tuple[str, int]:
    """Do what a form of the day's page asks for; where it is refused, show the form again as it was typed."""
    session = request_session()
    queries.get_point(session, point_id)
    try:
        done = ledger_forms.apply(session, point_id, action, request.form, current_actor().label)
    except (Conflict, Invalid, NotFound) as error:
        session.rollback()
        needs_pass = isinstance(error, ShownTwice)
        refused = ledger_forms.Refused(action, request.form.get("item", ""), str(error), needs_pass=needs_pass)
        text = _show_day(point_id, request.form, refused)
        return text if isinstance(text, tuple) else (text, HTTPStatus.UNPROCESSABLE_ENTITY)
    session.commit()
    day = request.form.get("day") or None
    return redirect(
        url_for("dashboard.energy.ledger", point_id=point_id, day=day, done=done, _anchor="done"), HTTPStatus.SEE_OTHER
    )


def _show_day(
    point_id: int, typed: MultiDict[str, str], refused: ledger_forms.Refused | None = None
) -> str | tuple[str, int]:
    session, now = request_session(), wording.now_utc()
    asked = typed if refused else request.args
    page, problem = ledger_day.compose_day(session, point_id, asked.get("day", ""), asked.get("known", ""), now)
    if refused is not None and not page.has_form(refused.action, refused.item):
        problem = refused.problem
    done = ledger_forms.DONE.get(request.args.get("done", ""), "")
    text = render_template("dashboard/ledger.html", page=page, problem=problem, typed=typed, refused=refused, done=done)
    return (text, HTTPStatus.UNPROCESSABLE_ENTITY) if problem else text
