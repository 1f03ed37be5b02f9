"""A command is carried out at most once, and each one that can be answered is."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from order_factories import NOW_MS, HubKey, make_command, signed, unsigned

from edge_agent.control.commands import LIFETIME_MAX_MS, Commands, Deed
from edge_agent.control.journal import COMMANDS_MAX, Journal
from edge_agent.control.replies import ReplySender
from edge_agent.control.signatures import OrderRefused, Signatures
from edge_agent.errors import AgentError
from edge_agent.uplink.connection import BrokerLogin
from edge_agent.uplink.uplink import Uplink
from protocol.control import Command, CommandKind, CommandReply, CommandState, decode_reply

KEY = HubKey()


@dataclass(slots=True)
class SetClock:
    """A clock that tests set."""

    now: int = NOW_MS
    is_trusted: bool = True

    def now_ms(self) -> int:
        """Return the time as it was set."""
        return self.now


@dataclass(slots=True)
class Site:
    """Commands on a journal of their own, and what was done."""

    directory: Path
    clock: SetClock = field(default_factory=SetClock)
    done: list[str] = field(default_factory=list)
    deed: Callable[[], Awaitable[dict[str, Any]]] | None = None
    refusal: str = ""
    passing: list[CommandReply] = field(default_factory=list)
    received: list[str] = field(default_factory=list)
    """Ids of the commands whose receipt was told."""

    @property
    def journal(self) -> Journal:
        """The journal as it is on disk."""
        return Journal(self.directory / "orders.sqlite3")

    @property
    def answers(self) -> list[CommandReply]:
        """What is to be sent for certain."""
        replies = [decode_reply(due.payload).command for due in self.journal.due_replies(limit=1_000)]
        return [reply for reply in replies if reply is not None]

    def run(self, *payloads: bytes) -> list[CommandReply]:
        """Let an agent start, take these, and end; return every answer."""
        asyncio.run(self._run(payloads))
        return [*self.answers, *self.passing]

    async def _run(self, payloads: tuple[bytes, ...]) -> None:
        uplink = Uplink(controller_id="hut-1", login=BrokerLogin("127.0.0.1", 1))
        replies = ReplySender(journal=self.journal, uplink=uplink)
        commands = Commands(
            journal=self.journal,
            replies=replies,
            signatures=Signatures(controller_id="hut-1", keys={KEY.id: KEY.raw}, allow_unsigned=False),
            clock=self.clock,
            kinds=dict.fromkeys(CommandKind, self._prepare),
            deed_timeout_s=0.2,
        )
        await commands.begin()
        for payload in payloads:
            await commands.take(payload)
        said = [reply for raw in replies._passing if (reply := decode_reply(raw).command) is not None]
        self.passing = [reply for reply in said if reply.state is not CommandState.RECEIVED]
        self.received = [reply.id for reply in said if reply.state is CommandState.RECEIVED]

    def _prepare(self, command: Command) -> Deed:
        if self.refusal:
            raise OrderRefused(self.refusal)

        async def do() -> dict[str, Any]:
            known = self.journal.find_command(command.id)
            assert known is not None, "a command is on record before it is carried out"
            self.done.append(command.id)
            return await self.deed() if self.deed else {"said": "done"}

        return do


@pytest.fixture
def site(tmp_path: Path) -> Site:
    # Commands that were issued before the journal began are refused, so it begins before them all.
    Journal(tmp_path / "orders.sqlite3").began_at_ms(now_ms=NOW_MS - 1)
    return Site(tmp_path)


def test_command_is_carried_out_and_answered(site: Site) -> None:
    command = make_command()
    [reply] = site.run(signed(KEY, command))
    assert (reply.id, reply.state, reply.result) == (command.id, CommandState.DONE, {"said": "done"})


def test_receipt_of_a_command_is_told_when_it_is_begun_and_not_when_it_is_refused(site: Site) -> None:
    command = make_command()
    site.run(unsigned(make_command()), signed(KEY, command), signed(KEY, command))
    assert site.received == [command.id]


def test_repeated_command_is_answered_again_and_not_repeated(site: Site) -> None:
    command = make_command()
    site.run(signed(KEY, command), signed(KEY, command))
    for due in site.journal.due_replies():
        site.journal.reply_sent(due.number)
    assert site.answers == []
    [reply] = site.run(signed(KEY, command))
    assert reply.state is CommandState.DONE
    assert site.done == [command.id]


def test_command_without_a_genuine_signature_is_refused_and_uses_up_no_id(site: Site) -> None:
    command = make_command()
    [reply] = site.run(unsigned(command))
    assert reply.state is CommandState.REFUSED
    [reply] = site.run(signed(HubKey(), command))
    assert reply.state is CommandState.REFUSED
    assert site.done == []
    [reply] = site.run(signed(KEY, command))
    assert reply.state is CommandState.DONE


def test_expired_command_is_not_carried_out(site: Site) -> None:
    command = make_command()
    site.clock.now = command.expires_at_ms
    [reply] = site.run(signed(KEY, command))
    assert reply.state is CommandState.EXPIRED
    assert site.done == []


def test_without_a_trusted_clock_nothing_is_carried_out(site: Site) -> None:
    command = make_command()
    site.clock.is_trusted = False
    [reply] = site.run(signed(KEY, command))
    assert reply.state is CommandState.REFUSED
    assert "does not know the time" in reply.reason
    site.clock.is_trusted = True
    [reply] = site.run(signed(KEY, command))
    assert reply.state is CommandState.DONE


def test_command_that_is_not_allowed_stays_refused(site: Site) -> None:
    command = make_command()
    site.refusal = "no such meter"
    [reply] = site.run(signed(KEY, command))
    assert (reply.state, reply.reason) == (CommandState.REFUSED, "no such meter")
    site.refusal = ""
    [reply] = site.run(signed(KEY, command))
    assert reply.state is CommandState.REFUSED
    assert site.done == []


@pytest.mark.parametrize("error", [AgentError("the meter is off"), ZeroDivisionError("oops")])
def test_command_that_fails_says_why(site: Site, error: Exception) -> None:
    async def fail() -> dict[str, Any]:
        raise error

    site.deed = fail
    [reply] = site.run(signed(KEY, make_command()))
    assert reply.state is CommandState.FAILED
    assert str(error) in reply.reason


def test_command_that_takes_too_long_is_given_up(site: Site) -> None:
    async def hang() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    site.deed = hang
    [reply] = site.run(signed(KEY, make_command()))
    assert reply.state is CommandState.FAILED
    assert "not done within" in reply.reason


def test_answer_that_is_too_large_is_replaced_by_one_that_says_so(site: Site) -> None:
    async def talk() -> dict[str, Any]:
        return {"text": "x" * 5_000_000}

    site.deed = talk
    [reply] = site.run(signed(KEY, make_command()))
    assert reply.state is CommandState.FAILED
    assert "too large" in reply.reason


def test_command_that_an_earlier_run_left_unfinished_is_interrupted_for_good(site: Site) -> None:
    command = make_command()
    site.journal.begin_command(command, now_ms=NOW_MS)
    [reply] = site.run(signed(KEY, command))
    assert reply.state is CommandState.INTERRUPTED
    assert site.done == []


def test_forgotten_command_has_expired_by_then(site: Site) -> None:
    command = make_command()
    site.run(signed(KEY, command))
    site.clock.now = command.expires_at_ms + 2 * 86_400_000
    site.run(signed(KEY, make_command(issued_at_ms=site.clock.now)))
    assert site.journal.find_command(command.id) is None
    site.run(signed(KEY, command))
    assert site.passing[-1].state is CommandState.EXPIRED
    assert site.done.count(command.id) == 1


def test_command_that_lives_too_long_is_refused(site: Site) -> None:
    [reply] = site.run(signed(KEY, make_command(expires_at_ms=NOW_MS + LIFETIME_MAX_MS + 1)))
    assert (reply.state, "7 days" in reply.reason) == (CommandState.REFUSED, True)


def test_command_from_before_the_record_began_is_refused(site: Site) -> None:
    [reply] = site.run(signed(KEY, make_command(issued_at_ms=NOW_MS - 2)))
    assert reply.state is CommandState.REFUSED
    assert "may have been carried out before" in reply.reason


def test_more_commands_than_can_be_remembered_are_refused(site: Site) -> None:
    fields = [(f"flood-{number:05}", "diagnose", NOW_MS, NOW_MS + 60_000) for number in range(COMMANDS_MAX)]
    site.journal._do(lambda connection: connection.executemany("INSERT INTO commands VALUES (?, ?, ?, ?)", fields))
    site.run(signed(KEY, make_command()))
    assert site.done == []


@pytest.mark.parametrize("payload", [b"", b"rubbish"])
def test_rubbish_is_not_answered(site: Site, payload: bytes) -> None:
    assert site.run(payload) == []


def test_disk_that_refuses_keeps_commands_from_being_carried_out(site: Site) -> None:
    path = site.directory / "orders.sqlite3"
    path.unlink()
    path.mkdir()
    with pytest.raises(AgentError):
        asyncio.run(site._run(()))
    assert site.done == []
