"""What an agent answers to an order is kept once and said once."""

from ingest_factories import CONTROLLER, register
from sqlalchemy import Engine, text
from structlog.testing import capture_logs

from cloud_hub.ingest.broker import Incoming
from cloud_hub.ingest.consumer import hear
from protocol.control import CommandReply, CommandState, ConfigReply, ConfigState, Reply, encode_reply
from protocol.topics import Up

WRITTEN = Reply(
    command=CommandReply(
        id="write-0001", state=CommandState.DONE, at_ms=1_700_000_000_000, result={"before": 0, "after": 1}
    )
)
REJECTED = Reply(
    config=ConfigReply(revision=4, hash="ab", state=ConfigState.REJECTED, at_ms=0, reason="cycle is longer than period")
)


def say(engine: Engine, *replies: Reply, controller_id: str = CONTROLLER) -> None:
    for reply in replies:
        assert hear(engine, Incoming(controller_id, Up.REPLY, encode_reply(reply), 0, 0)) == {}


def kept(engine: Engine) -> list[tuple[str, str, str, str]]:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT subject, reference, state, reason FROM controller_replies ORDER BY id"))
        return [(row.subject, row.reference, row.state, row.reason) for row in rows]


def test_a_reply_is_kept_and_said_once_however_often_it_comes(engine: Engine) -> None:
    register(engine)
    with capture_logs() as logs:
        say(engine, WRITTEN, REJECTED, WRITTEN)
    assert kept(engine) == [
        ("command", "write-0001", "done", ""),
        ("config", "4", "rejected", "cycle is longer than period"),
    ]
    assert [entry["reference"] for entry in logs if entry["event"] == "controller_replied"] == ["write-0001", "4"]


def test_what_no_registered_controller_says_is_not_kept(engine: Engine) -> None:
    say(engine, WRITTEN, controller_id="nobody")
    assert kept(engine) == []


def test_a_zero_byte_in_a_reply_does_not_stop_it(engine: Engine) -> None:
    register(engine)
    answer = CommandReply(id="read-00001", state=CommandState.FAILED, at_ms=1, reason="a\0b", result={"text": "x\0y"})
    say(engine, Reply(command=answer))
    assert kept(engine) == [("command", "read-00001", "failed", "ab")]
