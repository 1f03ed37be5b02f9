"""The way in, by password and code, and the way out."""

from http import HTTPStatus

from flask import redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from cloud_hub.access import routes
from cloud_hub.access.guard import PUBLIC
from cloud_hub.users import access, single_sign_on
from cloud_hub.users.authentication import Reason, authenticate, check_code
from cloud_hub.users.entering import Answer, let_in, refused, wanted_page
from cloud_hub.web.database import request_session

pages = routes.pages("users")


@pages.get("/login", permission=PUBLIC)
def login() -> str:
    """Show the form."""
    return _form()


@pages.post("/login", permission=PUBLIC)
def log_in() -> Answer:
    """Check address and password; go on to the page that was wanted, or to the question for the code."""
    email = request.form.get("email", "")
    session = request_session()
    outcome = authenticate(session, email, request.form.get("password", ""), None, access.remote_address())
    if outcome.user is not None and outcome.reason in {Reason.OK, Reason.CODE_NEEDED}:
        return let_in(outcome.user, wanted_page(request.form.get("next", "")), outcome.reason)
    return refused(_form(email, outcome.message), outcome)


@pages.get("/login/code", permission=PUBLIC)
def code() -> Answer:
    """Ask for the code of the authenticator."""
    if access.waiting_user() is None:
        return redirect(url_for("users.login"), HTTPStatus.SEE_OTHER)
    return _code_form()


@pages.post("/login/code", permission=PUBLIC)
def log_in_by_code() -> Answer:
    """Check the code; go on to the page that was wanted."""
    user = access.waiting_user()
    if user is None:
        return redirect(url_for("users.login"), HTTPStatus.SEE_OTHER)
    outcome = check_code(request_session(), user, request.form.get("code", ""), access.remote_address())
    if outcome.reason is Reason.OK:
        return let_in(user, wanted_page(request.form.get("next", "")), outcome.reason)
    return refused(_code_form(outcome.message), outcome)


@pages.post("/logout", permission=PUBLIC)
def log_out() -> Response:
    """End the session."""
    access.end_login()
    request_session().commit()
    return redirect(url_for("users.login"), HTTPStatus.SEE_OTHER)


def _form(email: str = "", problem: str = "") -> str:
    return render_template(
        "users/login.html",
        email=email,
        problem=problem,
        next=request.values.get("next", ""),
        single_sign_on=single_sign_on.is_set_up(),
    )


def _code_form(problem: str = "") -> str:
    return render_template("users/code.html", problem=problem, next=request.values.get("next", ""))
