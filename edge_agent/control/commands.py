"""Commands from the hub: each is carried out at most once, whatever is delivered again and whenever the power goes."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

import structlog
from pydantic import BaseModel, ValidationError

from edge_agent.control.journal import COMMANDS_MAX, Journal
from edge_agent.control.replies import ReplySender
from edge_agent.control.signatures import OrderRefused, SignatureCheckFailed, Signatures
from edge_agent.errors import AgentError, StorageUnavailable
from protocol.control import (
    Command,
    CommandKind,
    CommandReply,
    CommandState,
    Reply,
    decode_signed,
    encode_reply,
    parse_command,
)
from protocol.errors import LimitExceeded, ProtocolError
from protocol.topics import Down

LIFETIME_MAX_MS = 7 * 86_400_000
_KEPT_BEYOND_EXPIRY_MS = 86_400_000
_DEED_TIMEOUT_S = 180.0

Model = TypeVar("Model", bound=BaseModel)

log = structlog.get_logger()

Deed = Callable[[], Awaitable[dict[str, Any]]]
"""Carries a command out and returns the result for the hub. Raises AgentError when it does not succeed."""

Preparation = Callable[[Command], Deed]
"""Checks everything that can be checked beforehand. Raises OrderRefused; nothing has been done then."""


class TrustedClock(Protocol):
    """What is asked of a clock here."""

    @property
    def is_trusted(self) -> bool:
        """Say whether UTC is known."""

    def now_ms(self) -> int:
        """Return UTC milliseconds since 1970."""


def parse_arguments(model: type[Model], command: Command) -> Model:
    """Check a command's arguments.

    Raises: OrderRefused naming the first fault.
    """
    try:
        return model.model_validate(command.arguments)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise OrderRefused(f"argument {place!r}: {first['msg']}" if place else first["msg"]) from None


class Commands:
    """Judges commands, has them carried out one after the other, and answers."""

    def __init__(
        self,
        *,
        journal: Journal,
        replies: ReplySender,
        signatures: Signatures,
        clock: TrustedClock,
        kinds: Mapping[CommandKind, Preparation],
        deed_timeout_s: float = _DEED_TIMEOUT_S,
    ) -> None:
        self._journal, self._replies, self._signatures = journal, replies, signatures
        self._clock, self._kinds, self._deed_timeout_s = clock, kinds, deed_timeout_s
        self._remembers = False

    async def begin(self) -> None:
        """Answer what an earlier run left unfinished.

        Raises: StorageUnavailable.
        """
        for command_id in await self._in_journal(self._journal.interrupt_unfinished, now_ms=self._clock.now_ms()):
            log.warning("command_interrupted", command=command_id)
        self._replies.journal_changed()
        await self.remember()

    async def remember(self) -> None:
        """Begin to remember commands, if that has not begun and the time is known.

        Raises: StorageUnavailable.
        """
        if not self._remembers and self._clock.is_trusted:
            await self._in_journal(self._journal.began_at_ms, now_ms=self._clock.now_ms())
            self._remembers = True

    async def take(self, payload: bytes) -> None:
        """Carry out a command that arrived, answer it again, or say why not."""
        try:
            order = decode_signed(payload)
            command = parse_command(order.body)
        except ProtocolError as error:
            # Without an id that can be believed there is nobody to answer to.
            log.warning("command_malformed", reason=str(error))
            return
        try:
            if await self._is_known(command):
                return
            await self._signatures.require_genuine(Down.COMMAND, order)
            await self._follow(command)
        except (OrderRefused, SignatureCheckFailed) as refusal:
            # Not kept: whoever cannot sign shall not use up an id, nor make us write to the card.
            log.warning("command_refused", command=command.id, kind=command.kind.value, reason=str(refusal))
            self.refuse_in_passing(command, str(refusal))
        except StorageUnavailable as error:
            log.warning("orders_unavailable", reason=str(error))
            self.refuse_in_passing(command, f"that it was met could not be written down: {error}")

    def refuse_in_passing(self, command: Command, reason: str) -> None:
        """Answer that a command is not carried out; nothing of it is remembered."""
        self._replies.send_passing(Reply(command=self._reply(command, CommandState.REFUSED, reason)))

    async def _is_known(self, command: Command) -> bool:
        """Say whether the command was met before, and send its answer again."""
        known = await self._in_journal(self._journal.find_command, command.id)
        if known is None:
            return False
        if known.reply is not None:
            await self._in_journal(self._journal.repeat_reply, command.id)
            self._replies.journal_changed()
        return True

    async def _follow(self, command: Command) -> None:
        """Carry out a genuine command that was never met.

        Raises: StorageUnavailable before anything was done.
        """
        if not self._clock.is_trusted:
            reason = "the controller does not know the time, so it cannot tell whether the command has expired"
            log.warning("command_refused", command=command.id, kind=command.kind.value, reason=reason)
            self.refuse_in_passing(command, reason)
            return
        now_ms = self._clock.now_ms()
        if now_ms >= command.expires_at_ms:
            reason = f"it expired {(now_ms - command.expires_at_ms) / 1000:.0f} s before it came"
            self._replies.send_passing(Reply(command=self._reply(command, CommandState.EXPIRED, reason)))
            log.warning("command_expired", command=command.id, kind=command.kind.value)
            return
        try:
            await self._require_memory_for(command, now_ms)
            deed = self._kinds[command.kind](command)
        except OrderRefused as refusal:
            log.warning("command_refused", command=command.id, kind=command.kind.value, reason=str(refusal))
            await self._answer(command, self._reply(command, CommandState.REFUSED, str(refusal)))
            return
        await self._in_journal(self._journal.begin_command, command, now_ms=now_ms)
        log.info("command_begun", command=command.id, kind=command.kind.value)
        # May be lost or come after the answer: it is for people who watch.
        self._replies.send_passing(Reply(command=self._reply(command, CommandState.RECEIVED)))
        reply = await self._carry_out(command, deed)
        log.info("command_ended", command=command.id, kind=command.kind.value, state=reply.state.value)
        await self._answer_for_certain(command, reply)

    async def _require_memory_for(self, command: Command, now_ms: int) -> None:
        """Refuse what could not be told from a repetition later.

        Raises: OrderRefused, StorageUnavailable.
        """
        if command.expires_at_ms > now_ms + LIFETIME_MAX_MS:
            raise OrderRefused(f"it may live for {LIFETIME_MAX_MS // 86_400_000} days at most")
        began_ms = await self._in_journal(self._journal.began_at_ms, now_ms=now_ms)
        if command.issued_at_ms < began_ms:
            raise OrderRefused(
                "it was issued before the controller began to remember commands, so it may have been carried out before"
            )
        forget_ms = now_ms - _KEPT_BEYOND_EXPIRY_MS
        if await self._in_journal(self._journal.count_commands, forget_expired_before_ms=forget_ms) >= COMMANDS_MAX:
            raise OrderRefused(f"{COMMANDS_MAX} commands are remembered, and none of them may be forgotten yet")

    async def _carry_out(self, command: Command, deed: Deed) -> CommandReply:
        try:
            async with asyncio.timeout(self._deed_timeout_s):
                result = await deed()
        except TimeoutError:
            return self._reply(command, CommandState.FAILED, f"it was not done within {self._deed_timeout_s:g} s")
        except AgentError as error:
            return self._reply(command, CommandState.FAILED, str(error))
        except Exception as error:
            # A mistake of ours in one command shall not end the agent.
            log.exception("command_crashed", command=command.id)
            return self._reply(command, CommandState.FAILED, f"the agent failed at it: {type(error).__name__}: {error}")
        return self._reply(command, CommandState.DONE, result=result)

    async def _answer_for_certain(self, command: Command, reply: CommandReply) -> None:
        """Write the answer down; when the disk refuses, at least say it: the next start calls it interrupted."""
        try:
            encode_reply(Reply(command=reply))
        except LimitExceeded as error:
            reply = self._reply(command, CommandState.FAILED, f"it was done, but its answer is too large: {error}")
        try:
            await self._answer(command, reply)
        except StorageUnavailable as error:
            log.error("command_answer_not_stored", command=command.id, reason=str(error))  # noqa: TRY400 - it says it all
            self._replies.send_passing(Reply(command=reply))

    async def _answer(self, command: Command, reply: CommandReply) -> None:
        await self._in_journal(self._journal.answer_command, command, reply)
        self._replies.journal_changed()

    def _reply(
        self, command: Command, state: CommandState, reason: str = "", result: dict[str, Any] | None = None
    ) -> CommandReply:
        return CommandReply(id=command.id, state=state, at_ms=self._clock.now_ms(), reason=reason, result=result or {})

    @staticmethod
    async def _in_journal(call: Callable[..., Any], *arguments: object, **named: object) -> Any:  # noqa: ANN401 - whatever the call returns
        return await asyncio.to_thread(call, *arguments, **named)
