"""A name for every request, which the answer, the log and the audit trail share."""

import re
import secrets

import structlog
from flask import Flask, Response, current_app, g, request

HEADER = "X-Request-Id"
TRUSTED_PROXIES = "TRUSTED_PROXIES"
"""Key of the application's config: how many proxies stand before it."""
_GIVEN = re.compile(r"[A-Za-z0-9._-]{8,64}")


def install_request_ids(app: Flask) -> None:
    """Name every request; the name that a trusted proxy gave it is kept."""
    app.config.setdefault(TRUSTED_PROXIES, 0)
    app.before_request(_name)
    app.after_request(_tell)


def request_id() -> str:
    """Return the name of the request under way."""
    name: str = g.request_id
    return name


def _name() -> None:
    # Nobody else names their own requests: the name stands in the log and in the audit trail.
    given = request.headers.get(HEADER, "") if current_app.config[TRUSTED_PROXIES] else ""
    g.request_id = given if _GIVEN.fullmatch(given) else secrets.token_hex(8)
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _tell(response: Response) -> Response:
    if "request_id" in g:
        response.headers[HEADER] = g.request_id
    structlog.contextvars.unbind_contextvars("request_id")
    return response
