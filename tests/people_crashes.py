"""A program that dies by kill -9 in the middle of what it does to people: `python people_crashes.py DATABASE_URL`.

It reads lines `DEED N` and answers each with `killed` or `done`: the deed is done in a child process that is killed
right before its Nth statement, the commits among them; N = 0 lets it be done. Forking one process that has loaded
everything makes each death cheap.
"""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from people_factories import Browser
from sqlalchemy import Engine, event, text

from cloud_hub.access.permissions import Permission
from cloud_hub.app import create_app
from cloud_hub.db import create_engine
from cloud_hub.people import completing, saga
from cloud_hub.people.models import PersonCreation
from cloud_hub.subscribers.broker import BrokerLogins
from cloud_hub.tenancy.roles import Role
from cloud_hub.web.documents import Document

EMAIL = "new@example.org"
ADMIN = "op@example.org"
LINK_FILE = "METERHAUL_TEST_LINK"
SERVICE = "METERHAUL_TEST_SERVICE"
BROKER_FILES = "METERHAUL_TEST_BROKER_FILES"
LOCKER_TABLES = """
    CREATE TABLE lockers (creation_id bigint PRIMARY KEY, number int NOT NULL, is_refused boolean NOT NULL DEFAULT false);
    CREATE TABLE locker_keys (creation_id bigint PRIMARY KEY);
    GRANT ALL ON lockers, locker_keys TO meterhaul_web, meterhaul_work;
"""
"""What the step below wants (`lockers`), and what the world has (`locker_keys`): both without transactions in common."""


class LockerOptions(Document):
    """What can be said of a locker."""

    number: int = 1


def _prepare(session: Any, creation: PersonCreation, options: LockerOptions, _who: str) -> saga.Prepared:
    wanted = {"id": creation.id, "number": options.number}
    session.execute(text("INSERT INTO lockers (creation_id, number) VALUES (:id, :number)"), wanted)
    return saga.Prepared({"number": options.number}, {"code": "0815"})


def _check(session: Any, creation: PersonCreation, _notes: Mapping[str, Any]) -> saga.Progress:
    known = {"id": creation.id}
    if session.scalar(text("SELECT is_refused FROM lockers WHERE creation_id = :id"), known):
        return saga.Progress(refusal="there is no such locker")
    has_key = session.scalar(text("SELECT count(*) FROM locker_keys WHERE creation_id = :id"), known)
    return saga.Progress(is_done=bool(has_key))


def _undo(session: Any, creation: PersonCreation, _notes: Mapping[str, Any]) -> None:
    session.execute(text("DELETE FROM lockers WHERE creation_id = :id"), {"id": creation.id})


LOCKER = saga.Step("locker", Permission.SERVICES_WRITE, LockerOptions, _prepare, _check, _undo)


def hand_out_keys(engine: Engine) -> None:
    """Bring the world in step with what is wanted, as a duty of `work` does; may be done again at any time."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(
            text("INSERT INTO locker_keys SELECT creation_id FROM lockers WHERE NOT is_refused ON CONFLICT DO NOTHING")
        )
        connection.execute(
            text(
                "DELETE FROM locker_keys k WHERE NOT EXISTS (SELECT FROM lockers l WHERE l.creation_id = k.creation_id)"
            )
        )


def create(client: Browser) -> None:
    """Create a person with a locker and a login at the broker."""
    login = {"name": "panel", "service_account_id": int(os.environ[SERVICE])}
    steps = {"locker": {"number": 7}, "broker_login": login}
    body = {"email": EMAIL, "role": "technician", "sites": ["main:hut"], "steps": steps}
    answer = client.post("/organisations/main/people", body)
    assert answer.status_code == 201, answer.get_json()


def accept(client: Browser) -> None:
    """Accept the invitation with a new account."""
    with open(os.environ[LINK_FILE], encoding="utf-8") as file:  # noqa: PTH123 - the path is in the environment
        link = file.read()
    password = "correct horse battery"
    answer = client.send_form(link, name="Nell", password=password, again=password)
    assert answer.status_code == 200, answer.get_data(as_text=True)


def _killed_before(engine: Engine, number: int) -> None:
    seen = 0

    def count(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(engine, "before_cursor_execute", count)
    event.listen(engine, "commit", count)
    event.listen(engine, "savepoint", count)


def main() -> None:
    """Serve deeds until the input ends."""
    database_url = sys.argv[1]
    saga.add_step(LOCKER)
    web, work = create_engine(database_url, role=Role.WEB), create_engine(database_url, role=Role.WORK)
    app: Flask = create_app(b"k" * 32, web)
    admin, stranger = Browser(app, ADMIN), Browser(app)
    deeds: dict[str, tuple[Engine, Callable[[], None]]] = {
        "create": (web, lambda: create(admin)),
        "accept": (web, lambda: accept(stranger)),
        "complete": (work, lambda: completing.complete_creations(work)),
        "hand out": (work, lambda: hand_out_keys(work)),
        "tell broker": (work, lambda: BrokerLogins(Path(os.environ[BROKER_FILES])).bring_in_step(work)),
    }
    assert isinstance(admin.client, FlaskClient)
    for engine in (web, work):
        engine.dispose()
    print("ready", flush=True)  # noqa: T201 - its protocol
    for line in sys.stdin:
        name, _, number = line.strip().rpartition(" ")
        engine, deed = deeds[name]
        child = os.fork()
        if child == 0:
            _killed_before(engine, int(number))
            deed()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        assert killed or os.WEXITSTATUS(status) == 0
        print("killed" if killed else "done", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
