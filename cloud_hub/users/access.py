"""Who is asking, by the login that their browser carries: found out once, at the beginning of a request.

The cookie is signed, and all it says of the login is a random token; the login itself is a row of the database.
"""

from flask import Flask, request, session
from sqlalchemy.orm import Session

from cloud_hub.access.actor import Actor
from cloud_hub.access.grants import load_grants
from cloud_hub.access.identity import add_identifier
from cloud_hub.users import sessions
from cloud_hub.users.models import User
from cloud_hub.users.proving import proving
from cloud_hub.web.database import request_session

_LOGIN = "login"
_ADDRESS_UNKNOWN = "unknown"


def install_access(app: Flask) -> None:
    """Let people prove who they are by the session that they logged in to."""
    app.config["PERMANENT_SESSION_LIFETIME"] = sessions.ABSOLUTE_LIMIT
    add_identifier(app, _identify)


def begin_login(user: User, *, is_complete: bool = True) -> None:
    """Begin a login, in place of what this browser had, for somebody who just proved who they are; the caller commits.

    One that is not complete does not let them in: it waits for their code.
    """
    database = request_session()
    with proving(database):
        _end(database)
        token = sessions.begin(
            database,
            user,
            address=remote_address(),
            user_agent=request.headers.get("User-Agent", ""),
            is_complete=is_complete,
        )
    session.clear()
    session.permanent = True
    session[_LOGIN] = token


def renew_login(session_id: int | None) -> None:
    """Give this browser's login another token when its owner has proved again who they are; none for an app's.

    The last thing before the caller commits: a login whose new token is rolled back is lost to its browser.
    """
    if session_id is not None:
        session[_LOGIN] = sessions.renew(request_session(), session_id)


def waiting_user() -> User | None:
    """Return whose password was right, and whose code this browser still owes."""
    token = session.get(_LOGIN)
    if not isinstance(token, str):
        return None
    database = request_session()
    with proving(database):
        login = sessions.find(database, token, is_complete=False)
    return None if login is None else login.user


def end_login() -> None:
    """End the login that this browser carries; the caller commits."""
    database = request_session()
    with proving(database):
        _end(database)
    session.clear()


def remote_address() -> str:
    """Return where the request comes from."""
    return request.remote_addr or _ADDRESS_UNKNOWN


def _end(database: Session) -> None:
    token = session.get(_LOGIN)
    if isinstance(token, str):
        sessions.end_token(database, token)


def _identify() -> Actor | None:
    token = session.get(_LOGIN)
    if not isinstance(token, str):
        return None
    database = request_session()
    login = sessions.find(database, token)
    if login is None:
        return None
    if login.is_note_due:
        sessions.note_use(database, login.id, remote_address())
        database.commit()
    return Actor(login.user.id, login.user.label, load_grants(database, login.user.id), session_id=login.id)
