"""What must outlive the agent does, and a damaged record is told from an empty one."""

import sqlite3
from pathlib import Path

import pytest
from order_factories import NOW_MS, make_command
from structlog.testing import capture_logs

from edge_agent.control.journal import CONFIG_REPLIES_KEPT, ConfigurationRecord, Journal, Trial
from edge_agent.errors import StorageUnavailable
from protocol.control import Command, CommandReply, CommandState, ConfigReply, ConfigState, decode_reply


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.sqlite3"


def done(command: Command) -> CommandReply:
    return CommandReply(id=command.id, state=CommandState.DONE, at_ms=NOW_MS)


def config_reply(name: str, state: ConfigState = ConfigState.APPLIED) -> ConfigReply:
    return ConfigReply(revision=1, hash=name, state=state, at_ms=NOW_MS)


def test_nothing_is_written_by_looking(path: Path) -> None:
    assert Journal(path).configuration() == ConfigurationRecord()
    assert Journal(path).due_replies() == []
    assert not path.exists()


def test_configuration_and_its_answer_are_kept_together(path: Path) -> None:
    record = ConfigurationRecord(in_force="new", before="old", trial=Trial(boot_id="b", began_ms=5))
    Journal(path).keep_configuration(record, config_reply("ab"))
    assert Journal(path).configuration() == record
    assert Journal(path, is_ours=False).configuration() == record
    assert Journal(path).find_config_reply("ab") == config_reply("ab")
    assert Journal(path).find_config_reply("cd") is None


def test_command_is_known_from_its_begin_on(path: Path) -> None:
    command = make_command()
    assert Journal(path).find_command(command.id) is None
    Journal(path).begin_command(command, now_ms=NOW_MS)
    known = Journal(path).find_command(command.id)
    assert known is not None
    assert known.reply is None
    Journal(path).answer_command(command, done(command))
    known = Journal(path).find_command(command.id)
    assert known is not None
    assert known.reply is not None
    assert known.reply.command == done(command)


def test_unfinished_commands_are_answered_once(path: Path) -> None:
    finished, begun = make_command(), make_command()
    journal = Journal(path)
    journal.begin_command(finished, now_ms=NOW_MS)
    journal.answer_command(finished, done(finished))
    journal.begin_command(begun, now_ms=NOW_MS)
    assert Journal(path).interrupt_unfinished(now_ms=NOW_MS) == [begun.id]
    assert Journal(path).interrupt_unfinished(now_ms=NOW_MS) == []
    known = journal.find_command(begun.id)
    assert known is not None
    assert known.reply is not None
    assert known.reply.command is not None
    assert known.reply.command.state is CommandState.INTERRUPTED


def test_answers_are_due_until_they_are_sent_and_again_on_demand(path: Path) -> None:
    journal = Journal(path)
    commands = [make_command() for _ in range(3)]
    for command in commands:
        journal.answer_command(command, done(command))
    due = journal.due_replies()
    assert [decode_reply(reply.payload).command for reply in due] == [done(command) for command in commands]
    for reply in due:
        journal.reply_sent(reply.number)
    assert journal.due_replies() == []
    journal.repeat_reply(commands[1].id)
    assert [reply.number for reply in journal.due_replies()] == [due[1].number]


def test_answer_that_took_another_ones_place_meanwhile_stays_due(path: Path) -> None:
    journal = Journal(path)
    journal.keep_config_reply(config_reply("ab"))
    [sent] = journal.due_replies()
    journal.keep_config_reply(config_reply("ab", ConfigState.ROLLED_BACK))
    journal.reply_sent(sent.number)
    [due] = journal.due_replies()
    assert decode_reply(due.payload).config == config_reply("ab", ConfigState.ROLLED_BACK)


def test_commands_are_forgotten_some_time_after_they_expired(path: Path) -> None:
    journal = Journal(path)
    old, new = make_command(), make_command(issued_at_ms=NOW_MS + 1_000_000)
    for command in (old, new):
        journal.answer_command(command, done(command))
    assert journal.count_commands(forget_expired_before_ms=old.expires_at_ms) == 2
    assert journal.count_commands(forget_expired_before_ms=old.expires_at_ms + 1) == 1
    assert journal.find_command(old.id) is None
    assert len(journal.due_replies()) == 1


def test_answers_about_old_configurations_do_not_pile_up(path: Path) -> None:
    journal = Journal(path)
    for number in range(CONFIG_REPLIES_KEPT + 5):
        journal.keep_config_reply(config_reply(f"{number:02}"))
    assert len(journal.due_replies(limit=100)) == CONFIG_REPLIES_KEPT
    assert journal.find_config_reply("04") is None
    assert journal.find_config_reply("05") is not None


def test_beginning_is_remembered(path: Path) -> None:
    assert Journal(path).began_at_ms(now_ms=7) == 7
    assert Journal(path).began_at_ms(now_ms=9) == 7


def test_damaged_record_is_set_aside_and_says_when_it_began_anew(path: Path) -> None:
    Journal(path).began_at_ms(now_ms=7)
    path.write_bytes(b"no database at all, but long enough to be taken for one" * 100)
    with capture_logs() as logs:
        assert Journal(path).began_at_ms(now_ms=9) == 9
    assert [entry["event"] for entry in logs] == ["orders_damaged"]
    assert path.with_name("orders.sqlite3.damaged-1").exists()


def test_onlooker_does_not_touch_a_damaged_record(path: Path) -> None:
    path.write_bytes(b"no database at all, but long enough to be taken for one" * 100)
    with pytest.raises(StorageUnavailable, match="check its disk"):
        Journal(path, is_ours=False).configuration()
    assert path.exists()


def test_disk_that_refuses_is_said_as_such(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="check its disk"):
        Journal(tmp_path / "missing" / "orders.sqlite3").began_at_ms(now_ms=1)


def test_deed_that_fails_leaves_nothing_behind(path: Path) -> None:
    journal = Journal(path)

    def half(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO state VALUES ('half', '1')")
        raise sqlite3.OperationalError("disk I/O error")

    with pytest.raises(StorageUnavailable):
        journal._do(half)
    assert journal._do(lambda connection: connection.execute("SELECT count(*) FROM state").fetchone()[0]) == 0
