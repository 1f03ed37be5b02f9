"""The one place for shared fixtures: a real PostgreSQL, a real Mosquitto, real Modbus meters."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

from demo.mosquitto import PrivateMosquitto
from demo.postgres import PrivatePostgres, create_database, drop_database

if TYPE_CHECKING:  # tests of the edge run without the hub's libraries
    from flask import Flask
    from flask.testing import FlaskClient
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session


@pytest.fixture(autouse=True)
def _usual_logging() -> Iterator[None]:
    """Undo what a command set up: its log went to a stream that is closed when its test ends."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a server on which databases may be made: METERHAUL_TEST_DATABASE_URL, else a private one."""
    given = os.environ.get("METERHAUL_TEST_DATABASE_URL")
    if given:
        yield given
        return
    # Without fsync: these tests kill processes, not the machine.
    postgres = PrivatePostgres(tmp_path_factory.mktemp("postgres"), durable=False)
    with postgres:
        yield postgres.url
    postgres.wipe()


@pytest.fixture(scope="session")
def _migrated_template(postgres_url: str) -> Iterator[str]:
    from cloud_hub.schema.upgrade import upgrade  # noqa: PLC0415 - tests of the edge run without the hub's libraries

    name = f"meterhaul_template_{secrets.token_hex(4)}"
    upgrade(create_database(postgres_url, name))
    yield name
    drop_database(postgres_url, name)


@pytest.fixture
def database_url(postgres_url: str, _migrated_template: str) -> Iterator[str]:
    """URL of a fresh database of the hub, migrated to head, for this test alone."""
    name = f"meterhaul_test_{secrets.token_hex(4)}"
    yield create_database(postgres_url, name, template=_migrated_template)
    drop_database(postgres_url, name)


@pytest.fixture(scope="module")
def module_database_url(postgres_url: str, _migrated_template: str) -> Iterator[str]:
    """URL of a fresh database of the hub for all tests of a module: what they change, they undo."""
    name = f"meterhaul_test_{secrets.token_hex(4)}"
    yield create_database(postgres_url, name, template=_migrated_template)
    drop_database(postgres_url, name)


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """URL of a database without any table, for this test alone."""
    name = f"meterhaul_test_{secrets.token_hex(4)}"
    yield create_database(postgres_url, name)
    drop_database(postgres_url, name)


@pytest.fixture(scope="session")
def _session_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateMosquitto]:
    with PrivateMosquitto(tmp_path_factory.mktemp("mosquitto")) as mosquitto:
        yield mosquitto


@pytest.fixture
def broker(_session_broker: PrivateMosquitto) -> PrivateMosquitto:
    """Mosquitto as we deploy it. `broker.add_controller(id)` gives a login, `broker.hub` is the hub's.

    One broker serves all tests: use controller ids of your own. A test that killed it finds it running again.
    """
    if not _session_broker.is_running:
        _session_broker.start()
    return _session_broker


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[PrivateMosquitto]:
    """Mosquitto for this test alone, to be killed, wiped and started again."""
    with PrivateMosquitto(tmp_path / "mosquitto") as mosquitto:
        yield mosquitto


@pytest.fixture
def engine(database_url: str) -> Iterator["Engine"]:
    """Connect to this test's database."""
    from cloud_hub.db import create_engine  # noqa: PLC0415 - see above

    engine = create_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: "Engine") -> Iterator["Session"]:
    """Open a session on this test's database; commit what the code under test shall see."""
    from cloud_hub.db import create_sessions  # noqa: PLC0415 - see above

    with create_sessions(engine)() as session:
        yield session


@pytest.fixture
def web_engine(database_url: str) -> Iterator["Engine"]:
    """Connect to this test's database as the web does: under row-level security."""
    from cloud_hub.db import create_engine  # noqa: PLC0415 - see above
    from cloud_hub.tenancy.roles import Role  # noqa: PLC0415 - see above

    engine = create_engine(database_url, role=Role.WEB)
    yield engine
    engine.dispose()


@pytest.fixture
def app(web_engine: "Engine") -> "Flask":
    """Build the hub's web application on this test's database."""
    from cloud_hub.app import create_app  # noqa: PLC0415 - see above

    return create_app(b"k" * 32, web_engine)


@pytest.fixture
def stranger(app: "Flask") -> "FlaskClient":
    """Open a browser that has not logged in."""
    return app.test_client()


@pytest.fixture
def client(app: "Flask", session: "Session") -> "FlaskClient":
    """Open a browser that has logged in."""
    from browsing import EMAIL, PASSWORD, log_in  # noqa: PLC0415 - see above

    from cloud_hub.users.service import create_admin  # noqa: PLC0415 - see above

    create_admin(session, EMAIL, PASSWORD)
    session.commit()
    client = app.test_client()
    assert log_in(client).status_code == 303
    return client
