"""A name for every request, which the answer, the log and the audit trail share."""

import re
import secrets

import structlog
from flask import Flask, Response, g, request

HEADER = "X-Request-Id"
_GIVEN = re.compile(r"[A-Za-z0-9._-]{8,64}")


def install_request_ids(app: Flask) -> None:
    """Name every request; a proxy's name is kept when it is one."""
    app.before_request(_name)
    app.after_request(_tell)


def request_id() -> str:
    """Return the name of the request under way."""
    name: str = g.request_id
    return name


def _name() -> None:
    given = request.headers.get(HEADER, "")
    g.request_id = given if _GIVEN.fullmatch(given) else secrets.token_hex(8)
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _tell(response: Response) -> Response:
    if "request_id" in g:
        response.headers[HEADER] = g.request_id
    structlog.contextvars.unbind_contextvars("request_id")
    return response
