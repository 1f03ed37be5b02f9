"""The way in and the way out."""

import time
from datetime import timedelta
from http import HTTPStatus

import structlog
from flask import Blueprint, Flask, current_app, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from cloud_hub.users import access, service
from cloud_hub.users.backoff import Backoff
from cloud_hub.users.passwords import LENGTH_MAX
from cloud_hub.web.database import request_session

SESSION_LIFETIME = timedelta(days=7)
_BACKOFF = "login_backoff"

log = structlog.get_logger(__name__)
pages = Blueprint("users", __name__)


def install_users(app: Flask) -> None:
    """Add the login, and ask for it everywhere else."""
    app.config["PERMANENT_SESSION_LIFETIME"] = SESSION_LIFETIME
    app.extensions[_BACKOFF] = Backoff(time.monotonic)
    access.install_access(app)
    app.register_blueprint(pages)


@pages.get("/login")
def login() -> str:
    """Show the form."""
    return _form()


@pages.post("/login")
def log_in() -> Response | tuple[str, int] | tuple[str, int, dict[str, str]]:
    """Check address and password; go on to the page that was wanted."""
    email = request.form.get("email", "")
    password = request.form.get("password", "")[: LENGTH_MAX + 1]
    backoff: Backoff = current_app.extensions[_BACKOFF]
    key = (request.remote_addr, service.normalise_email(email))
    wait_s = backoff.wait_s(key)
    if wait_s > 0:
        seconds = str(int(wait_s) + 1)
        message = f"Too many attempts. Please wait {seconds} seconds and try again."
        return _form(email, message), HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": seconds}
    user = service.authenticate(request_session(), email, password)
    if user is None:
        backoff.failed(key)
        log.warning("login_failed", address=request.remote_addr)
        return _form(email, "E-mail address or password is wrong."), HTTPStatus.UNAUTHORIZED
    backoff.succeeded(key)
    access.remember_user(user)
    log.info("login_succeeded", user_id=user.id)
    return redirect(_wanted_page(), HTTPStatus.SEE_OTHER)


@pages.post("/logout")
def log_out() -> Response:
    """End the session."""
    access.forget_user()
    return redirect(url_for("users.login"), HTTPStatus.SEE_OTHER)


def _form(email: str = "", problem: str = "") -> str:
    return render_template("users/login.html", email=email, problem=problem, next=request.values.get("next", ""))


def _wanted_page() -> str:
    """Return where to go next: a path of this site only, so that a link cannot lead a fresh login elsewhere."""
    path = request.form.get("next", "")
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_ours else url_for("dashboard.index")
