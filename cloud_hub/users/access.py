"""Who is asking, and whether they may: every page and answer needs a login unless it is listed as public."""

from hashlib import sha256
from typing import cast

from flask import Flask, g, request, session
from werkzeug.exceptions import Unauthorized

from cloud_hub.users import service
from cloud_hub.users.models import User
from cloud_hub.web.database import request_session

PUBLIC_ENDPOINTS = frozenset({"static", "users.login", "users.log_in", "health.live", "health.ready"})
_USER = "user"
_PROOF = "proof"


def install_access(app: Flask) -> None:
    """Ask for a login before anything that is not public; a page finds its user as `current_user`."""
    app.before_request(_require_login)
    app.context_processor(lambda: {"current_user": g.get("user")})


def current_user() -> User:
    """Return who is asking. Only behind the login."""
    return cast("User", g.user)


def remember_user(user: User) -> None:
    """Begin a fresh session for a user who just proved who they are."""
    session.clear()
    session.permanent = True
    session[_USER] = user.id
    session[_PROOF] = _proof(user)


def forget_user() -> None:
    """End the session."""
    session.clear()


def _require_login() -> None:
    if request.endpoint in PUBLIC_ENDPOINTS:
        return
    user = _session_user()
    if user is None:
        raise Unauthorized("Log in first.")
    g.user = user


def _session_user() -> User | None:
    user_id = session.get(_USER)
    if not isinstance(user_id, int):
        return None
    user = service.find_user(request_session(), user_id)
    return user if user is not None and session.get(_PROOF) == _proof(user) else None


def _proof(user: User) -> str:
    """Tie a session to the password that opened it: a new password ends all older sessions."""
    return sha256(user.password_hash.encode()).hexdigest()[:16]
