"""A command is ordered, sent, received and done, and whoever watches sees each step."""

import re
from typing import Any

import pytest
from api_client import ApiClient
from configuration_factories import told
from flask.testing import FlaskClient
from hub_factories import add_controller, add_site
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from cloud_hub.audit.models import AuditEvent
from cloud_hub.configuration.models import Downlink
from cloud_hub.ingest.replies import note_reply
from protocol.control import CommandKind, CommandReply, CommandState, Reply, parse_command

COMMANDS = "controllers/north-1/commands"


@pytest.fixture
def api(client: FlaskClient, session: Session) -> ApiClient:
    add_controller(session, add_site(session))
    session.commit()
    return ApiClient(client)


def order(api: ApiClient, kind: str = "diagnose", **arguments: Any) -> Any:
    return api.done("POST", COMMANDS, {"kind": kind, "arguments": arguments})


def say(engine: Engine, command: Any, state: CommandState, *, controller: str = "north-1", **more: Any) -> None:
    reply = CommandReply(id=command["id"], state=state, at_ms=1_750_000_000_000, **more)
    note_reply(engine, controller, Reply(command=reply))


def test_ordered_command_is_queued_with_what_the_agent_reads(api: ApiClient, session: Session) -> None:
    command = order(api, "live", minutes=2.5, meter="heater")
    assert (command["state"], command["ordered_by"]) == ("queued", "ann@example.org")
    [downlink] = session.scalars(select(Downlink)).all()
    sent = parse_command(downlink.body)
    assert (sent.id, sent.kind) == (command["id"], CommandKind.LIVE)
    assert sent.arguments == {"minutes": 2.5, "period_s": 5, "meter": "heater"}
    assert sent.expires_at_ms - sent.issued_at_ms == 600_000
    [event] = session.scalars(select(AuditEvent).where(AuditEvent.action == "command_ordered")).all()
    assert event.detail["kind"] == "live"


def test_answers_bring_a_command_to_its_end(api: ApiClient, engine: Engine, session: Session) -> None:
    command = order(api)
    say(engine, command, CommandState.RECEIVED)
    shown = api.get(f"commands/{command['id']}")
    assert (shown["state"], shown["ended_at"]) == ("received", None)
    say(engine, command, CommandState.DONE, result={"versions": {"meterhaul": "1\0"}})
    shown = api.get(f"commands/{command['id']}")
    assert (shown["state"], shown["result"]) == ("done", {"versions": {"meterhaul": "1"}})
    assert session.scalars(select(Downlink.due_at)).all() == [None], "it is not said again"
    assert told(session, "command.") == ["command.queued", "command.received", "command.done"]


def test_receipt_that_comes_after_the_answer_changes_nothing(api: ApiClient, engine: Engine, session: Session) -> None:
    command = order(api)
    say(engine, command, CommandState.FAILED, reason="the meter is silent")
    say(engine, command, CommandState.RECEIVED)
    say(engine, command, CommandState.INTERRUPTED)
    shown = api.get(f"commands/{command['id']}")
    assert (shown["state"], shown["reason"]) == ("failed", "the meter is silent")
    assert told(session, "command.") == ["command.queued", "command.failed"]


def test_controller_knows_better_than_a_hub_that_gave_it_up(api: ApiClient, engine: Engine, session: Session) -> None:
    command = order(api)
    session.execute(text("UPDATE commands SET state = 'expired', ended_at = now()"))
    session.commit()
    say(engine, command, CommandState.DONE)
    assert api.get(f"commands/{command['id']}")["state"] == "done"


def test_another_controller_cannot_answer_for_this_one(api: ApiClient, engine: Engine, session: Session) -> None:
    add_controller(session, add_site(session, "south"), "south-1")
    session.commit()
    command = order(api)
    say(engine, command, CommandState.DONE, controller="south-1")
    assert api.get(f"commands/{command['id']}")["state"] == "queued"


REFUSED = [
    ({"kind": "explode"}, "kind"),
    ({"kind": "read", "arguments": {"metre": "heater"}}, r"arguments\.metre: is not a key that is known here"),
    ({"kind": "live", "arguments": {"minutes": 61}}, r"arguments\.minutes: 61 is out of range; .*at most 60"),
    ({"kind": "live"}, r"arguments\.minutes: is missing"),
    ({"kind": "resend", "arguments": {"stream": "0" * 32, "first": 9, "last": 3}}, "'last' 3 is below 'first' 9"),
    ({"kind": "diagnose", "expires_in_s": 7 * 86_400}, "expires_in_s"),
]


def test_command_that_no_agent_would_begin_is_refused(api: ApiClient, session: Session) -> None:
    for body, reason in REFUSED:
        status, detail = api.refused("POST", COMMANDS, body)
        assert status == 422
        assert re.search(reason, detail), detail
    assert session.scalars(select(Downlink)).all() == []


def test_value_to_write_is_taken_as_a_number_whole_or_not(api: ApiClient) -> None:
    for value in (21.5, 21):
        command = order(api, "write", meter="heater", point="setpoint", value=value)
        assert command["arguments"] == {"meter": "heater", "point": "setpoint", "value": value}
    body = {"kind": "write", "arguments": {"meter": "heater", "point": "setpoint", "value": "21"}}
    assert api.refused("POST", COMMANDS, body)[0] == 422


def test_list_is_the_newest_first(api: ApiClient) -> None:
    ids = [order(api)["id"] for _ in range(3)]
    page = api.get(f"{COMMANDS}?limit=2")
    rest = api.get(f"{COMMANDS}?limit=2&cursor={page['next_cursor']}")
    assert [row["id"] for row in [*page["items"], *rest["items"]]] == ids[::-1]
    assert api.refused("GET", f"{COMMANDS}?cursor=eA")[0] == 422


def test_command_of_nobody_is_not_found(api: ApiClient) -> None:
    assert api.refused("GET", "commands/nothing")[0] == 404
    assert api.refused("POST", "controllers/south-9/commands", {"kind": "diagnose"})[0] == 404
