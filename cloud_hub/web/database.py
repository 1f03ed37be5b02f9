"""One database session per request, opened when first asked for."""

from typing import cast

from flask import Flask, current_app, g
from sqlalchemy.orm import Session, sessionmaker

_EXTENSION = "database_sessions"


def install_database(app: Flask, sessions: sessionmaker[Session]) -> None:
    """Let requests of `app` take their sessions from `sessions`."""
    app.extensions[_EXTENSION] = sessions
    app.teardown_appcontext(_close)


def request_session() -> Session:
    """Return the request's session.

    It is closed with the request; who writes commits, what is not committed is rolled back.
    """
    if "database_session" not in g:
        g.database_session = current_app.extensions[_EXTENSION]()
    return cast("Session", g.database_session)


def _close(_error: BaseException | None) -> None:
    session = g.pop("database_session", None)
    if session is not None:
        session.close()
