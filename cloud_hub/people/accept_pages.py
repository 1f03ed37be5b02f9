"""The page to which an invitation's letter leads. It needs no login: whoever holds the token may look."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from flask import g, redirect, render_template, request, url_for
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from cloud_hub.access import routes
from cloud_hub.access.actor import Actor
from cloud_hub.access.guard import PUBLIC
from cloud_hub.errors import Conflict, Forbidden, Invalid
from cloud_hub.people.accepting import Offer, accept_with_account, accept_with_new_account, open_offer
from cloud_hub.tenancy.scope import NOBODY, enter
from cloud_hub.users.passwords import LENGTH_MAX, LENGTH_MIN
from cloud_hub.web.database import request_session

_NAME_LENGTH_MAX = 120

pages = routes.pages("invitation")


@pages.get("/invitation/<token>", permission=PUBLIC, plain=("token",))
def show_invitation(token: str) -> str:
    """Show what one is invited to, and what it takes to accept."""
    with _stranger_session() as session:
        return _form(open_offer(session, token), token)


@pages.post("/invitation/<token>", permission=PUBLIC, plain=("token",))
def accept_invitation(token: str) -> Response | str | tuple[str, int]:
    """Accept: with a new password, or as who one is logged in."""
    with _stranger_session() as session:
        offer = open_offer(session, token)
        try:
            offer = _accept(session, token, offer)
        except (Invalid, Forbidden, Conflict) as error:
            session.rollback()
            return _form(open_offer(session, token), token, str(error)), HTTPStatus.UNPROCESSABLE_ENTITY
        session.commit()
    if _actor() is None:
        return render_template("people/accepted.html", organisation=offer.organisation)
    return redirect(url_for("dashboard.index"), HTTPStatus.SEE_OTHER)


def _accept(session: Session, token: str, offer: Offer) -> Offer:
    actor = _actor()
    if actor is not None:
        return accept_with_account(session, token, actor.user_id)
    if offer.has_account:
        raise Forbidden(f"this invitation is for {offer.invitation.email}: log in with that address to accept it")
    name = " ".join(request.form.get("name", "").split())
    if len(name) > _NAME_LENGTH_MAX or not name.isprintable():
        raise Invalid(f"a name has at most {_NAME_LENGTH_MAX} letters")
    password = request.form.get("password", "")[: LENGTH_MAX + 1]
    if password != request.form.get("again", ""):
        raise Invalid("the two passwords are not the same: type them again")
    return accept_with_new_account(session, token, name=name, password=password)


def _form(offer: Offer, token: str, problem: str = "") -> str:
    return render_template(
        "people/invitation.html",
        offer=offer,
        token=token,
        actor=_actor(),
        problem=problem,
        name=request.form.get("name", offer.invitation.name),
        length_min=LENGTH_MIN,
    )


def _actor() -> Actor | None:
    actor: Actor | None = g.get("actor")
    return actor


@contextmanager
def _stranger_session() -> Iterator[Session]:
    """Let the session look at accounts for as long as the token is judged, and no longer."""
    session = request_session()
    try:
        yield session
    finally:
        actor = _actor()
        enter(session, NOBODY if actor is None else actor.scope())
