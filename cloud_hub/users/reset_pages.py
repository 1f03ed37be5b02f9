"""Forgotten passwords: ask for a letter, and set a new password by its link."""

from http import HTTPStatus

from flask import redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from cloud_hub.access import routes
from cloud_hub.access.guard import PUBLIC
from cloud_hub.users import attempts, resets
from cloud_hub.users.access import remote_address
from cloud_hub.users.authentication import TooManyAttempts
from cloud_hub.users.proving import proving
from cloud_hub.users.resets import InvalidReset
from cloud_hub.users.service import InvalidAccount, normalise_email
from cloud_hub.web.database import request_session

pages = routes.pages("resets")


@pages.get("/forgot", permission=PUBLIC)
def forgot() -> str:
    """Ask for the address."""
    return render_template("users/forgot.html", is_sent=False)


@pages.post("/forgot", permission=PUBLIC)
def ask() -> str:
    """Promise a letter, whoever this is: the answer, and the work for it, are the same for every address."""
    session, email = request_session(), request.form.get("email", "")
    _take(attempts.by_reset(normalise_email(email)), attempts.by_address(remote_address()))
    resets.ask(session, email, remote_address())
    session.commit()
    return render_template("users/forgot.html", is_sent=True)


@pages.get("/reset/<token>", permission=PUBLIC, plain=("token",))
def reset(token: str) -> str | tuple[str, int]:
    """Ask for the new password."""
    with proving(request_session()):
        is_valid = resets.is_valid(request_session(), token)
    if not is_valid:
        return render_template("users/reset.html", is_valid=False), HTTPStatus.NOT_FOUND
    return render_template("users/reset.html", is_valid=True, token=token)


@pages.post("/reset/<token>", permission=PUBLIC, plain=("token",))
def set_password(token: str) -> Response | tuple[str, int]:
    """Set the new password, and let them log in with it."""
    session, network = request_session(), attempts.by_address(remote_address())
    _take(network)
    try:
        with proving(session):
            resets.reset_password(session, token, request.form.get("password", ""))
    except InvalidReset:
        return render_template("users/reset.html", is_valid=False), HTTPStatus.NOT_FOUND
    except InvalidAccount as error:
        attempts.forgive(session, spared=[network])
        page = render_template("users/reset.html", is_valid=True, token=token, problem=str(error))
        return page, HTTPStatus.UNPROCESSABLE_ENTITY
    session.commit()
    attempts.forgive(session, spared=[network])
    return redirect(url_for("users.login", notice="password"), HTTPStatus.SEE_OTHER)


def _take(*keys: attempts.Key) -> None:
    wait_s = attempts.take(request_session(), *keys)
    if wait_s:
        raise TooManyAttempts(wait_s)
