"""A token per session that every form sends back, so that no foreign page can post in a person's name."""

import secrets
from hmac import compare_digest

from flask import Flask, current_app, g, request, session
from werkzeug.exceptions import BadRequest

from cloud_hub.web.operations import operations_of

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
    if request.method in _SAFE_METHODS or not _goes_by_cookie():
        return
    sent = request.form.get(FIELD) or request.headers.get(HEADER, "")
    known = session.get(_KEY, "")
    if not known or not compare_digest(sent.encode(), known.encode()):
        raise BadRequest("This form is too old or did not come from this site. Go back, reload the page and try again.")


def _goes_by_cookie() -> bool:
    """Say whether a foreign page could have sent it: not with a token, and not where cookies count for nothing."""
    actor = g.get("actor")
    if getattr(actor, "token_id", None) is not None:
        return False
    operation = operations_of(current_app).get(request.endpoint or "")
    if operation is None or operation.is_page:
        return True
    # Whoever is nobody is told to log in, rather than that their form is too old.
    return actor is not None and operation.permission != "public"
