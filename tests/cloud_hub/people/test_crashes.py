"""A person is created whole or not at all, wherever a process is killed on the way."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import people_crashes
import pytest
from live_factories import add_service
from people_crashes import BROKER_FILES, EMAIL, LINK_FILE, LOCKER_TABLES, SERVICE
from people_factories import add_person, add_site_of, letters_to, link_in
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cloud_hub.organisations.models import Organisation
from protocol.mosquitto import SUBSCRIBER_PASSWORDS

STATEMENTS_MAX = 120
"""More than any of the deeds sends: a deed that is not done by then is none that we know."""

Deed = Callable[[str, int], str]


@pytest.fixture
def deed(
    session: Session, engine: Engine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Deed]:
    """Do a deed in a process that is killed before its Nth statement (0: that is not killed)."""
    add_person(session, people_crashes.ADMIN, 1)
    add_site_of(session, 1, "hut")
    service = add_service(session, session.get_one(Organisation, 1))
    session.commit()
    with engine.begin() as connection:
        connection.exec_driver_sql(LOCKER_TABLES)
    monkeypatch.setenv(LINK_FILE, str(tmp_path / "link"))
    monkeypatch.setenv(SERVICE, str(service.id))
    monkeypatch.setenv(BROKER_FILES, str(tmp_path))
    program = subprocess.Popen(
        [sys.executable, people_crashes.__file__, database_url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None,
        text=True,
        cwd=Path(people_crashes.__file__).parent.parent,
    )
    assert program.stdin is not None
    assert program.stdout is not None
    lines = iter(program.stdout.readline, "")

    def run(name: str, number: int) -> str:
        assert program.stdin is not None
        program.stdin.write(f"{name} {number}\n")
        program.stdin.flush()
        return next(line.strip() for line in lines if line.strip() in {"killed", "done"})

    assert "ready" in (line.strip() for line in lines)
    yield run
    program.stdin.close()
    assert program.wait(10) == 0
    program.stdout.close()


def _row(engine: Engine, sql: str) -> Any:
    with engine.connect() as connection:
        return connection.execute(text(sql)).one()


def _created(engine: Engine) -> tuple[int, ...]:
    return tuple(
        _row(
            engine,
            """
            SELECT (SELECT count(*) FROM invitations), (SELECT count(*) FROM people_creations),
                   (SELECT count(*) FROM lockers), (SELECT count(*) FROM subscriber_logins),
                   (SELECT count(*) FROM mail_outbox),
                   (SELECT count(*) FROM audit_events
                    WHERE action IN ('person_invited', 'person_created', 'subscriber_created'))
            """,
        )
    )


def _joined(engine: Engine) -> tuple[int, ...]:
    return tuple(
        _row(
            engine,
            f"""
            SELECT (SELECT count(*) FROM users WHERE email = '{EMAIL}'),
                   (SELECT count(*) FROM memberships m JOIN users u ON u.id = m.user_id WHERE u.email = '{EMAIL}'),
                   (SELECT count(*) FROM membership_sites),
                   (SELECT count(*) FROM invitations WHERE accepted_at IS NOT NULL),
                   (SELECT count(*) FROM audit_events WHERE action IN ('member_added', 'invitation_accepted'))
            """,
        )
    )


def _state(engine: Engine) -> tuple[str, str | None]:
    row = _row(engine, "SELECT state, reason FROM people_creations")
    return row.state, row.reason


def _passwords() -> str:
    """Return what the broker reads of logins."""
    return (Path(os.environ[BROKER_FILES]) / SUBSCRIBER_PASSWORDS).read_text(encoding="utf-8")


def _kill_at_every_statement(
    deed: Deed, name: str, look: Callable[[], tuple[Any, ...]], allowed: list[tuple[Any, ...]]
) -> int:
    """Kill the deed before its 1st, 2nd, … statement until it is done, looking each time; return how often it died."""
    for number in range(1, STATEMENTS_MAX):
        ended = deed(name, number)
        assert look() in allowed, f"{name}, killed before statement {number}"
        if ended == "done" or look() == allowed[-1]:
            return number
    raise AssertionError(f"{name} was never done")


def test_a_person_is_created_whole_or_not_at_all(deed: Deed, engine: Engine, session: Session) -> None:
    """Created, joined, completed: killed at every statement, then simply done again."""
    nothing, all_of_it = (0, 0, 0, 0, 0, 0), (1, 1, 1, 1, 1, 3)
    deaths = _kill_at_every_statement(deed, "create", lambda: _created(engine), [nothing, all_of_it])
    assert deaths > 20
    Path(os.environ[LINK_FILE]).write_text(link_in(letters_to(session, EMAIL)[0]), encoding="utf-8")
    deaths = _kill_at_every_statement(deed, "accept", lambda: _joined(engine), [(0, 0, 0, 0, 0), (1, 1, 1, 1, 2)])
    assert deaths > 10
    assert deed("complete", 0) == "done"
    assert _state(engine) == ("pending", None)  # neither is the key handed out yet, nor does the broker know
    _kill_at_every_statement(
        deed, "hand out", lambda: tuple(_row(engine, "SELECT count(*) FROM locker_keys")), [(0,), (1,)]
    )
    assert deed("complete", 0) == "done"
    assert _state(engine) == ("pending", None)
    is_applied = "SELECT applied_at IS NOT NULL FROM subscriber_logins"
    deaths = _kill_at_every_statement(deed, "tell broker", lambda: tuple(_row(engine, is_applied)), [(False,), (True,)])
    assert deaths > 2
    deaths = _kill_at_every_statement(deed, "complete", lambda: _state(engine), [("pending", None), ("active", None)])
    assert deaths > 5


def test_what_can_never_be_complete_is_undone_whole(deed: Deed, engine: Engine, session: Session) -> None:
    """The last step is refused after the person has joined: killed at every statement of undoing it."""
    assert deed("create", 0) == "done"
    Path(os.environ[LINK_FILE]).write_text(link_in(letters_to(session, EMAIL)[0]), encoding="utf-8")
    assert deed("accept", 0) == "done"
    assert deed("tell broker", 0) == "done"
    assert "panel@main" in _passwords()
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE lockers SET is_refused = true")

    def look() -> tuple[Any, ...]:
        kept = _row(engine, "SELECT (SELECT count(*) FROM lockers), (SELECT count(*) FROM subscriber_logins)")
        return (*_state(engine), *kept, *_joined(engine)[:3])

    reason = "locker: there is no such locker"
    before, after = ("pending", None, 1, 1, 1, 1, 1), ("failed", reason, 0, 0, 0, 0, 0)
    deaths = _kill_at_every_statement(deed, "complete", look, [before, after])
    assert deaths > 10
    assert _row(engine, "SELECT body FROM mail_outbox")[0] == ""
    assert deed("tell broker", 0) == "done"
    assert "panel@main" not in _passwords()
    undone = _row(engine, "SELECT detail FROM audit_events WHERE action = 'person_undone'")[0]
    assert undone["reason"] == reason
