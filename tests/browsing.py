"""How tests use the hub's pages: log in, and count what a page asks of the database."""

from collections.abc import Iterator
from contextlib import contextmanager

from flask.testing import FlaskClient
from sqlalchemy import Engine, event
from werkzeug.test import TestResponse

EMAIL = "ann@example.org"
PASSWORD = "correct horse battery"


def form_token(client: FlaskClient) -> str:
    """Return the token that the client's forms carry."""
    client.get("/login")
    with client.session_transaction() as cookie:
        return str(cookie["csrf"])


def log_in(client: FlaskClient, *, email: str = EMAIL, password: str = PASSWORD, next_page: str = "") -> TestResponse:
    """Send the login form."""
    form = {"email": email, "password": password, "next": next_page, "csrf_token": form_token(client)}
    return client.post("/login", data=form)


@contextmanager
def counted_queries(engine: Engine) -> Iterator[list[str]]:
    """Collect the statements that the engine sends."""
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)
