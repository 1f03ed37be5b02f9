"""One database session per request, opened when first asked for. It sees nothing until somebody is known."""

from typing import cast

from flask import Flask, current_app, g
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from cloud_hub.tenancy.scope import NOBODY, enter, scope_of

_EXTENSION = "database_sessions"


def install_database(app: Flask, engine: Engine) -> None:
    """Let requests of `app` take their sessions from `engine`; objects stay readable after a commit."""
    app.extensions[_EXTENSION] = sessionmaker(engine, class_=RequestSession, expire_on_commit=False)
    app.teardown_appcontext(_close)


class RequestSession(Session):
    """A session whose commit can be put off until more belongs to the same transaction."""

    defers_commit = False

    def commit(self) -> None:
        """Commit, or only send what is pending while the commit is put off."""
        if self.defers_commit:
            self.flush()
        else:
            super().commit()


def request_session() -> RequestSession:
    """Return the request's session.

    It is closed with the request; who writes commits, what is not committed is rolled back.
    """
    if "database_session" not in g:
        session: RequestSession = current_app.extensions[_EXTENSION]()
        enter(session, NOBODY)
        g.database_session = session
    return cast("RequestSession", g.database_session)


def streaming_session() -> Session:
    """Return a session that sees what the request's does and lives on while its answer is sent; the caller closes it."""
    own = request_session()
    session: Session = current_app.extensions[_EXTENSION]()
    enter(session, scope_of(own) or NOBODY)
    return session


def _close(_error: BaseException | None) -> None:
    session = g.pop("database_session", None)
    if session is not None:
        session.close()
