"""Headers and cookies that keep a browser on our side."""

from flask import Flask, Response, request
from flask.sessions import SecureCookieSessionInterface

_CONTENT_POLICY = "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'"


class _SessionCookie(SecureCookieSessionInterface):
    """The session's cookie: `Secure` wherever the browser came by https."""

    def get_cookie_secure(self, app: Flask) -> bool:
        # A proxy that ends TLS says so in this header. Whoever forges it only makes their own cookie stricter.
        by_proxy = request.headers.get("X-Forwarded-Proto", "") == "https"
        return request.is_secure or by_proxy or super().get_cookie_secure(app)


def install_security(app: Flask) -> None:
    """Set the session cookie's attributes and the headers of every answer."""
    app.config.update(SESSION_COOKIE_NAME="meterhaul", SESSION_COOKIE_HTTPONLY=True, SESSION_COOKIE_SAMESITE="Lax")
    app.session_interface = _SessionCookie()
    app.after_request(_add_headers)


def _add_headers(response: Response) -> Response:
    headers = {
        "Content-Security-Policy": _CONTENT_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
    }
    for name, value in headers.items():
        response.headers.setdefault(name, value)
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
    return response
