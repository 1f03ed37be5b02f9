"""A token per session that every form sends back, so that no foreign page can post in a person's name."""

import secrets
from hmac import compare_digest

from flask import Flask, request, session
from werkzeug.exceptions import BadRequest

FIELD = "csrf_token"
HEADER = "X-CSRF-Token"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_KEY = "csrf"


def install_csrf(app: Flask) -> None:
    """Check the token on every request that may change something."""
    app.before_request(_check)
    app.jinja_env.globals["csrf_token"] = csrf_token


def csrf_token() -> str:
    """Return the session's token, drawing it when there is none."""
    token: str = session.setdefault(_KEY, secrets.token_urlsafe(24))
    return token


def _check() -> None:
    if request.method in _SAFE_METHODS:
        return
    sent = request.form.get(FIELD) or request.headers.get(HEADER, "")
    known = session.get(_KEY, "")
    if not known or not compare_digest(sent.encode(), known.encode()):
        raise BadRequest("This form is too old or did not come from this site. Go back, reload the page and try again.")
