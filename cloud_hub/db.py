"""The database: engine, sessions, column types, migrations. Knows no table."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Engine, MetaData, Text, make_url
from sqlalchemy import create_engine as _create_engine
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.types import UserDefinedType

from cloud_hub.errors import DatabaseRefused, DatabaseUnreachable, NotMigrated, SettingsError
from cloud_hub.settings import DATABASE_URL
from cloud_hub.tenancy.criteria import install_criteria
from cloud_hub.tenancy.roles import Role
from cloud_hub.tenancy.rows import Tenancy
from protocol.ranges import RangeSet

_MIGRATIONS = Path(__file__).parent / "migrations"
_CONNECT_TIMEOUT_S = 10
_POOLED = 8
"""Connections that stay open; three times as many more open when they are needed."""
_REFUSALS = (
    "authentication failed",
    "pg_hba.conf",
    "does not exist",
    "no password supplied",
    "not permitted to log in",
    "permission denied to set role",
)
_RANGE = re.compile(r"\[(\d+),(\d+)\)")


class Base(DeclarativeBase):
    """What all tables share: constraint names as PostgreSQL itself would choose them, texts without a limit.

    Every table says whose its rows are, in `tenancy`; one that forgot cannot be defined.
    """

    tenancy: ClassVar[Tenancy]
    type_annotation_map: ClassVar[dict[Any, Any]] = {str: Text}
    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
            "ck": "%(table_name)s_%(constraint_name)s_check",
        }
    )

    def __init_subclass__(cls, **kwargs: Any) -> None:  # noqa: ANN401 - SQLAlchemy's signature
        if "__tablename__" in cls.__dict__ and "tenancy" not in cls.__dict__:
            raise TypeError(f"table {cls.__tablename__} does not say whose its rows are: give it a `tenancy`")
        super().__init_subclass__(**kwargs)


install_criteria(Base.registry)


class Ranges(UserDefinedType[RangeSet]):
    """An `int8multirange` as `protocol.ranges.RangeSet`; psycopg2 itself knows no multiranges."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:  # noqa: ANN401 - SQLAlchemy's signature
        """Name the type in DDL."""
        return "int8multirange"

    def bind_processor(self, dialect: Dialect) -> Any:  # noqa: ANN401, ARG002 - SQLAlchemy's signature
        """Write a set as PostgreSQL reads it."""
        return lambda value: None if value is None else format_ranges(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:  # noqa: ANN401, ARG002 - SQLAlchemy's signature
        """Read a set as PostgreSQL writes it."""
        return lambda value: None if value is None else parse_ranges(value)


def format_ranges(ranges: RangeSet) -> str:
    """Write a set as the text of an `int8multirange`."""
    return "{" + ",".join(f"[{first},{last}]" for first, last in ranges) + "}"


def parse_ranges(multirange: str) -> RangeSet:
    """Read the text of an `int8multirange`, as PostgreSQL prints it: half-open, without infinite ends."""
    return RangeSet((int(first), int(end) - 1) for first, end in _RANGE.findall(multirange))


def create_engine(database_url: str, *, application_name: str = "meterhaul", role: Role | None = None) -> Engine:
    """Make an engine; it connects when first used, and works as `role`, of which its login must be a member.

    Sessions speak UTC, and a commit is on disk when it returns, whatever the server's defaults are. Compiling a query
    costs more than any of ours takes, so that is off.
    Raises: SettingsError for an address that cannot be parsed.
    """
    return _create_engine(
        _driver_url(database_url),
        pool_pre_ping=True,
        # A request may hold two for a moment, and `work` has a thread per duty.
        pool_size=_POOLED,
        max_overflow=3 * _POOLED,
        connect_args={
            "application_name": application_name,
            "connect_timeout": _CONNECT_TIMEOUT_S,
            # A server that vanished without a word is noticed within a minute or so, not after hours.
            "keepalives_idle": 30,
            "tcp_user_timeout": 60_000,
            "options": "-c timezone=UTC -c synchronous_commit=on -c jit=off" + (f" -c role={role}" if role else ""),
        },
    )


def create_sessions(engine: Engine) -> sessionmaker[Session]:
    """Make the factory of sessions; objects stay readable after a commit."""
    return sessionmaker(engine, expire_on_commit=False)


@contextmanager
def session_scope(sessions: sessionmaker[Session]) -> Iterator[Session]:
    """Open a session, commit it at the end of the block, roll it back when the block raises."""
    with sessions.begin() as session:
        yield session


def check_reachable(engine: Engine) -> None:
    """Connect once, to find out whether that works.

    Raises: DatabaseUnreachable, DatabaseRefused.
    """
    try:
        with engine.connect():
            pass
    except OperationalError as error:
        reason = _reason(error)
        name = describe(engine.url)
        if any(refusal in reason for refusal in _REFUSALS):
            raise DatabaseRefused(f"the database {name} refuses the hub ({reason}): check {DATABASE_URL}") from error
        raise DatabaseUnreachable(
            f"the database {name} does not answer ({reason}): start it, or check {DATABASE_URL}"
        ) from error


def check_migrated(engine: Engine) -> None:
    """Make sure that the database has the tables of this release, or of a later one.

    A later one will do: migrations expand first, so that the previous release can go on.
    Raises: NotMigrated, DatabaseUnreachable, DatabaseRefused.
    """
    check_reachable(engine)
    needed = head_revision()
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    if current is None or current < needed:
        raise NotMigrated(
            f"the database {describe(engine.url)} is at revision {current or 'none'}, "
            f"this release needs {needed}: run 'meterhaul hub init'"
        )


def head_revision() -> str:
    """Return the revision that this release needs. Revisions are numbered, so that they sort."""
    return str(ScriptDirectory.from_config(alembic_config()).get_current_head())


def describe(url: URL) -> str:
    """Name a database for people, without its password."""
    return f"{url.database!r} on {url.host or url.query.get('host') or 'the local socket'}:{url.port or 5432}"


def _reason(error: OperationalError) -> str:
    """Return what libpq says of the last address it tried, without the address and the advice below it."""
    lines = [line for line in str(error.orig).splitlines() if line and not line[0].isspace()]
    return lines[-1].rpartition(" failed: ")[2] if lines else "no reason given"


def _driver_url(database_url: str) -> URL:
    try:
        return make_url(database_url).set(drivername="postgresql+psycopg2")
    except (ArgumentError, ValueError) as error:
        raise SettingsError(
            f"{DATABASE_URL} is no address of a database: set it to postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        ) from error


def alembic_config() -> Config:
    """Return where the migrations are."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
