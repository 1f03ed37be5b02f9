"""The page of one's own tokens: made, seen once, revoked."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from flask import redirect, render_template, request, url_for
from pydantic import ValidationError
from werkzeug.wrappers import Response

from cloud_hub.access import routes
from cloud_hub.access.guard import SELF
from cloud_hub.access.permissions import Permission
from cloud_hub.access.routes import current_actor
from cloud_hub.tokens.own import make_own_token, revoke_own_token
from cloud_hub.tokens.schemas import ServiceTokenIn
from cloud_hub.tokens.service import DAYS_DEFAULT, DAYS_MAX, TooManyTokens, list_tokens
from cloud_hub.web.database import request_session
from cloud_hub.web.pagination import LIMIT_MAX, Window

_DAYS: Final = (7, 30, DAYS_DEFAULT, 180, DAYS_MAX)
_MEANINGS: Final = {
    Permission.ORGANISATIONS_READ: "see organisations",
    Permission.ORGANISATIONS_WRITE: "change organisations",
    Permission.PEOPLE_READ: "see people",
    Permission.PEOPLE_WRITE: "invite people and change what they are",
    Permission.ROLES_WRITE: "change roles",
    Permission.SERVICES_WRITE: "change service accounts",
    Permission.AUDIT_READ: "read the audit trail",
    Permission.SITES_READ: "see sites, meters and points",
    Permission.SITES_WRITE: "change sites",
    Permission.METERS_WRITE: "change meters",
    Permission.CONTROLLERS_WRITE: "change controllers",
    Permission.READINGS_READ: "read readings",
    Permission.ENERGY_READ: "read energy, costs and emissions",
    Permission.ENERGY_WRITE: "edit the ledger",
    Permission.EXPORT: "export files",
    Permission.TARIFFS_READ: "see tariffs",
    Permission.TARIFFS_WRITE: "change tariffs",
    Permission.PROFILES_READ: "see meter profiles",
    Permission.PROFILES_WRITE: "change meter profiles",
    Permission.CONFIGURATION_READ: "see configurations",
    Permission.CONFIGURATION_WRITE: "draft configurations",
    Permission.CONFIGURATION_PUBLISH: "publish configurations",
    Permission.COMMANDS_READ: "see commands",
    Permission.COMMANDS_SEND: "send commands",
    Permission.WEBHOOKS_READ: "see webhooks",
    Permission.WEBHOOKS_WRITE: "change webhooks",
    Permission.EVENTS_READ: "follow live values and events",
}

pages = routes.pages("tokens")


@pages.get("/account/tokens", permission=SELF)
def index() -> str:
    """Show one's tokens and a form for another."""
    return _page()


@pages.post("/account/tokens", permission=SELF)
def create() -> tuple[str, int]:
    """Make a token and show its text, this once."""
    form = request.form
    given = {
        "name": form.get("name", ""),
        "permissions": form.getlist("permissions"),
        "expires_in_days": form.get("days", ""),
    }
    try:
        wanted = ServiceTokenIn.model_validate(given)
    except ValidationError as error:
        return _page(problem=_problem_of(error)), HTTPStatus.UNPROCESSABLE_ENTITY
    session = request_session()
    try:
        token, text = make_own_token(
            session,
            current_actor(),
            name=wanted.name,
            permissions=wanted.permissions,
            days=wanted.expires_in_days,
        )
    except TooManyTokens as error:
        return _page(problem=f"{str(error)[:1].upper()}{str(error)[1:]}."), HTTPStatus.CONFLICT
    session.commit()
    return _page(made=token.name, text=text), HTTPStatus.CREATED


@pages.post("/account/tokens/<id:token_id>/revoke", permission=SELF, plain=("token_id",))
def revoke(token_id: int) -> Response:
    """Revoke a token, or end the login of an app."""
    session = request_session()
    revoke_own_token(session, current_actor(), token_id)
    session.commit()
    return redirect(url_for("tokens.index"), HTTPStatus.SEE_OTHER)


def _page(*, problem: str = "", made: str = "", text: str = "") -> str:
    now = datetime.now(UTC)
    actor = current_actor()
    found = [token for token, _ in list_tokens(request_session(), actor.user_id, Window(LIMIT_MAX)).items]
    live = [token for token in found if token.revoked_at is None and token.expires_at > now]
    return render_template(
        "tokens/index.html",
        tokens=[token for token in live if token.kind == "api"],
        logins=[token for token in live if token.kind == "login"],
        choices=[(one.value, meaning) for one, meaning in _MEANINGS.items() if actor.may(one)],
        chosen=request.form.getlist("permissions"),
        name=request.form.get("name", ""),
        days=_DAYS,
        day=request.form.get("days", str(DAYS_DEFAULT)),
        problem=problem,
        made=made,
        text=text,
    )


def _problem_of(error: ValidationError) -> str:
    field = str(error.errors()[0]["loc"][0])
    return {
        "name": "Give the token a name of 1 to 100 letters that says what it is for.",
        "permissions": "Choose at least one thing that the token permits.",
    }.get(field, f"A token is good for 1 to {DAYS_MAX} days.")
