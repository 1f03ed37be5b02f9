"""Headers and cookies that keep a browser on our side, and addresses that are right behind a proxy."""

from flask import Flask, Response, request
from flask.sessions import SecureCookieSessionInterface
from werkzeug.middleware.proxy_fix import ProxyFix

from cloud_hub.web.request_ids import TRUSTED_PROXIES

_CONTENT_POLICY = "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'"
_COOKIE = "meterhaul"
_TRANSPORT_POLICY = "max-age=31536000"
"""A year. Without subdomains: we do not know what else lives there."""


class _SessionCookie(SecureCookieSessionInterface):
    """The session's cookie: `Secure`, and bound to this very host, wherever the browser came by https."""

    def get_cookie_name(self, app: Flask) -> str:  # noqa: ARG002 - Flask's signature
        # With this prefix browsers refuse a cookie that a neighbouring host has set.
        return f"__Host-{_COOKIE}" if came_by_https() else _COOKIE

    def get_cookie_path(self, app: Flask) -> str:  # noqa: ARG002 - Flask's signature
        return "/"

    def get_cookie_secure(self, app: Flask) -> bool:
        return came_by_https() or super().get_cookie_secure(app)


def install_security(app: Flask) -> None:
    """Set the session cookie's attributes and the headers of every answer."""
    app.config.update(SESSION_COOKIE_HTTPONLY=True, SESSION_COOKIE_SAMESITE="Lax")
    app.session_interface = _SessionCookie()
    app.after_request(_add_headers)


def trust_proxies(app: Flask, count: int) -> None:
    """Believe what the last `count` proxies say of a request: whence, how, and its name; with 0, believe nobody."""
    app.config[TRUSTED_PROXIES] = count
    if count:
        # ProxyFix takes the place of a method, as its documentation shows.
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count)  # type: ignore[method-assign]


def came_by_https() -> bool:
    """Say whether the browser spoke TLS, with us or with a proxy that is trusted to say so."""
    return request.is_secure


def _add_headers(response: Response) -> Response:
    headers = {
        "Content-Security-Policy": _CONTENT_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
    }
    if came_by_https():
        headers["Strict-Transport-Security"] = _TRANSPORT_POLICY
    for name, value in headers.items():
        response.headers.setdefault(name, value)
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
    return response
