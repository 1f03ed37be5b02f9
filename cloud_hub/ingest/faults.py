"""Tell errors of the database that trying again can cure from those that it cannot."""

import psycopg2
from sqlalchemy.exc import DBAPIError

_CONTENT_CLASSES = ("22", "23", "54")
"""SQLSTATE classes that speak of what was to be stored: data exception, integrity, program limit.
All others speak of the database's state (away, full, locked, restored just now): time can cure them."""

DatabaseError = (DBAPIError, psycopg2.Error)
"""What SQLAlchemy raises, and what COPY raises past it."""


def sqlstate(error: BaseException) -> str:
    """Return PostgreSQL's error code; empty when the connection broke before it could say one."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return getattr(original, "pgcode", None) or ""


def is_permanent(error: BaseException) -> bool:
    """Say whether the same statement would fail again."""
    return isinstance(error, DatabaseError) and sqlstate(error)[:2] in _CONTENT_CLASSES


def is_transient(error: BaseException) -> bool:
    """Say whether trying again may help."""
    return isinstance(error, DatabaseError) and not is_permanent(error)


def reason_of(error: BaseException) -> str:
    """Return the first line of what the database says."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return str(original).strip().partition("\n")[0]
