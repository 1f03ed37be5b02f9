"""The audit trail is a chain that shows every tampering, and outlives those whom it names."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from cloud_hub.audit.chain import Anchor, Verified, verify
from cloud_hub.audit.origin import Origin, note_origin
from cloud_hub.audit.service import record
from cloud_hub.cli import main
from cloud_hub.db import create_engine, create_sessions
from cloud_hub.tenancy.roles import Role
from cloud_hub.users.service import create_admin


def add_events(engine: Engine, count: int = 3, *, who: str = "ann@example.org") -> None:
    with create_sessions(engine)() as session:
        note_origin(session, Origin(7, "Bob", "192.0.2.1", "request-1"))
        for number in range(count):
            record(
                session,
                1,
                who=who,
                action="site_renamed",
                subject=f"site:{number}",
                detail={"before": "ä", "after": 1.5},
            )
        session.commit()


def check(engine: Engine, *anchors: Anchor) -> Verified:
    with engine.connect() as connection:
        (trail,) = verify(connection, anchors)
    return trail


def tamper(engine: Engine, statement: str) -> None:
    """Do what only somebody can who has taken the database over."""
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE audit_events DISABLE TRIGGER ALL"))
        connection.execute(text(statement))
        connection.execute(text("ALTER TABLE audit_events ENABLE TRIGGER ALL"))


def test_an_untouched_trail_is_whole_and_says_where_a_deed_came_from(engine: Engine) -> None:
    add_events(engine)
    trail = check(engine)
    assert (trail.organisation, trail.events, trail.number, trail.problem) == ("main", 3, 3, "")
    with engine.connect() as connection:
        row = connection.execute(text("SELECT user_id, on_behalf_of, address, request_id FROM audit_events")).first()
    assert row is not None
    assert tuple(row) == (7, "Bob", "192.0.2.1", "request-1")


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE audit_events SET who = 'bob@example.org' WHERE number = 2", "event 2 is not what was written"),
        ("UPDATE audit_events SET detail = '{}' WHERE number = 2", "event 2 is not what was written"),
        ("UPDATE audit_events SET at = at - interval '1 hour' WHERE number = 2", "event 2 is not what was written"),
        ("UPDATE audit_events SET address = NULL WHERE number = 2", "event 2 is not what was written"),
        ("DELETE FROM audit_events WHERE number = 1", "events 1 to 1 are gone"),
        ("DELETE FROM audit_events WHERE number = 2", "events 2 to 2 are gone"),
        ("DELETE FROM audit_events WHERE number = 3", "the newest events are gone"),
        ("DELETE FROM audit_events", "the newest events are gone"),
    ],
)
def test_tampering_shows(engine: Engine, statement: str, problem: str) -> None:
    add_events(engine)
    tamper(engine, statement)
    assert problem in check(engine).problem


def test_a_trail_that_was_written_anew_as_a_whole_shows_by_what_was_kept_elsewhere(engine: Engine) -> None:
    add_events(engine)
    before = check(engine)
    anchor = Anchor(before.organisation, before.number, before.hash)
    tamper(engine, "DELETE FROM audit_events")
    tamper(engine, "DELETE FROM audit_heads")
    add_events(engine, 4, who="bob@example.org")
    assert check(engine).problem == ""
    assert check(engine, anchor).problem == "event 3 is another than it was at an earlier check"
    tamper(engine, "DELETE FROM audit_events")
    tamper(engine, "DELETE FROM audit_heads")
    assert check(engine, anchor).problem == "the whole trail is gone"


def test_those_who_write_at_once_make_one_chain(engine: Engine) -> None:
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: add_events(engine, 5), range(6)))
    trail = check(engine)
    assert (trail.events, trail.problem) == (30, "")


def test_what_is_rolled_back_leaves_no_hole(engine: Engine) -> None:
    with create_sessions(engine)() as session:
        record(session, 1, who="ann", action="site_renamed", subject="site:1", detail={})
        session.rollback()
    add_events(engine)
    assert check(engine).problem == ""


def test_a_trail_forgets_its_oldest_events_and_stays_whole(engine: Engine) -> None:
    add_events(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE organisations SET audit_kept_days = 1"))
        tomorrow = datetime.now(UTC) + timedelta(days=2)
        connection.execute(text("ALTER TABLE audit_events DISABLE TRIGGER audit_add"))
        connection.execute(text("UPDATE audit_events SET at = at - interval '3 days'"))
        connection.execute(text("ALTER TABLE audit_events ENABLE TRIGGER audit_add"))
        connection.execute(text(f"SET LOCAL ROLE {Role.WORK}"))
        forget = text("SELECT audit_forget(1, :before)")
        assert connection.scalar(forget, {"before": tomorrow - timedelta(days=6)}) == 0
        assert connection.scalar(forget, {"before": tomorrow - timedelta(days=4)}) == 3
    add_events(engine)
    trail = check(engine)
    assert (trail.events, trail.first_number, trail.number, trail.problem) == (3, 4, 6, "")
    tamper(engine, "DELETE FROM audit_events WHERE number = 4")
    assert check(engine).problem == "events 4 to 4 are gone"


@pytest.mark.parametrize("kept_days", [None, 30])
def test_nothing_is_forgotten_before_its_period_is_over(engine: Engine, kept_days: int | None) -> None:
    add_events(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE organisations SET audit_kept_days = :kept"), {"kept": kept_days})
    with engine.connect() as connection:
        connection.execute(text(f"SET LOCAL ROLE {Role.WORK}"))
        with pytest.raises(DBAPIError, match="is kept longer than until"):
            connection.execute(text("SELECT audit_forget(1, now())"))
    assert check(engine).events == 3


def test_a_check_from_before_what_was_forgotten_is_told_apart(engine: Engine) -> None:
    add_events(engine)
    old = Anchor("main", 1, "0" * 64)
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE audit_heads SET first_number = 3, before_first = (SELECT hash FROM audit_events WHERE number = 2)"
            )
        )
    tamper(engine, "DELETE FROM audit_events WHERE number < 3")
    trail = check(engine, old)
    assert (trail.problem, trail.note) == ("", "event 1 of an earlier check has been forgotten since: keep a newer one")


@pytest.mark.parametrize("role", [Role.WEB, Role.INGEST, Role.WORK, Role.OWNER])
@pytest.mark.parametrize(
    "verb", ["UPDATE audit_events SET who = 'x'", "DELETE FROM audit_events", "TRUNCATE audit_events"]
)
def test_no_process_of_the_hub_can_change_the_trail(database_url: str, engine: Engine, role: Role, verb: str) -> None:
    add_events(engine)
    own = create_engine(database_url, role=role)
    with own.connect() as connection, pytest.raises(DBAPIError, match="permission denied"):
        connection.execute(text(verb))
    own.dispose()


def test_events_survive_the_deletion_of_whom_they_name(engine: Engine, session: Session) -> None:
    user = create_admin(session, "ann@example.org", "correct horse battery")
    note_origin(session, Origin(user.id))
    record(session, 1, who=user.label, action="site_renamed", subject="site:1", detail={})
    session.commit()
    session.execute(text("DELETE FROM users WHERE id = :id"), {"id": user.id})
    session.commit()
    assert session.execute(text("SELECT who, user_id FROM audit_events")).all() == [("ann@example.org", user.id)]
    assert check(engine).problem == ""


def test_the_command_says_which_trail_was_tampered_with(
    engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("METERHAUL_DATABASE_URL", database_url)
    add_events(engine)
    assert main(["audit", "verify"]) == 0
    kept = capsys.readouterr().out.rpartition("Keep: ")[2].strip()
    assert main(["audit", "verify", "--since", kept]) == 0
    assert main(["audit", "verify", "--since", "main:3"]) == 1
    assert "give ORGANISATION:NUMBER:HASH" in capsys.readouterr().err
    tamper(engine, "UPDATE audit_events SET who = 'x' WHERE number = 3")
    assert main(["audit", "verify"]) == 1
    assert "main: TAMPERED WITH: event 3 is not what was written" in capsys.readouterr().err
    assert main(["audit", "verify", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["problem"] == "event 3 is not what was written"
