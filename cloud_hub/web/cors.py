"""Pages of other origins that may use the API: those on a list, and by tokens only."""

from collections.abc import Collection
from http import HTTPStatus
from typing import Final

from flask import Flask, Response, current_app, request

ORIGINS: Final = "CORS_ORIGINS"
"""Key of the application's config: origins such as `https://app.example.org`; none by default."""

_PATHS = "/api/"
_METHODS = "GET, POST, PUT, PATCH, DELETE"
# X-CSRF-Token is not among them: it goes with the cookie, which no foreign page shall use.
_HEADERS = (
    "Accept, Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, "
    "Meterhaul-On-Behalf-Of"
)
_EXPOSED = "ETag, Link, Location, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, X-Request-Id"
_PREFLIGHT_KEPT_S = "600"


def install_cors(app: Flask, origins: Collection[str] = ()) -> None:
    """Let pages of these origins use the API. Before the identity: a browser asks without a login."""
    app.config[ORIGINS] = frozenset(origins)
    app.before_request(_answer_preflight)
    app.after_request(_allow)


def _answer_preflight() -> Response | None:
    is_preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
    if not is_preflight or not _is_for_listed():
        return None
    response = Response(status=HTTPStatus.NO_CONTENT)
    response.headers["Access-Control-Allow-Methods"] = _METHODS
    response.headers["Access-Control-Allow-Headers"] = _HEADERS
    response.headers["Access-Control-Max-Age"] = _PREFLIGHT_KEPT_S
    return response


def _allow(response: Response) -> Response:
    if current_app.config[ORIGINS] and request.path.startswith(_PATHS):
        # Said to those without an origin as well: a cache in between must not mix them up.
        response.vary.add("Origin")
        if _is_for_listed():
            # Never with Access-Control-Allow-Credentials: cookies stay with the hub's own pages.
            response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
            response.headers["Access-Control-Expose-Headers"] = _EXPOSED
    return response


def _is_for_listed() -> bool:
    return request.path.startswith(_PATHS) and request.headers.get("Origin") in current_app.config[ORIGINS]
