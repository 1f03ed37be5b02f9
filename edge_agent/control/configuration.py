"""Site configurations from the hub: judged, put into force, and taken back when the hub is not reached with them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from edge_agent.control.in_force import InForce, Start, compile_order, resume
from edge_agent.control.journal import ConfigurationRecord, Journal, Trial
from edge_agent.control.replies import ReplySender
from edge_agent.control.signatures import OrderRefused, Signatures
from edge_agent.errors import SettingsError, StorageUnavailable
from protocol.control import ConfigReply, ConfigState, Reply, Signed, claimed_revision, config_hash, decode_signed
from protocol.errors import ProtocolError
from protocol.site.plan import SitePlan
from protocol.topics import Down

_STORAGE_RETRY_S = 20.0
_TOLD_MAX = 20

log = structlog.get_logger()


class Site(Protocol):
    """What goes by a site configuration; `edge_agent.wiring` has it."""

    async def switch(self, plan: SitePlan) -> None:
        """Poll and send by another plan from now on; what the plans have in common goes on undisturbed.

        Raises: StorageUnavailable when the buffer does not take the change; all is then as before.
        """

    def greet_hub(self) -> None:
        """Say hello anew; only an answer to that hello counts."""


class Now(Protocol):
    """What is asked of a clock here."""

    def now_ms(self) -> int:
        """Return UTC milliseconds since 1970."""

    def monotonic_ms(self) -> int:
        """Return milliseconds since boot."""


@dataclass(frozen=True, slots=True)
class TrialRules:
    """How long a new configuration has to bring the hub's answer, and in which boot we are."""

    within_s: float
    boot_id: str


class Configuration:
    """The configuration in force, and its changes."""

    def __init__(
        self,
        *,
        start: Start,
        journal: Journal,
        replies: ReplySender,
        signatures: Signatures,
        site: Site,
        clock: Now,
        rules: TrialRules,
        load_own: Callable[[], SitePlan],
        on_change: Callable[[], None] = lambda: None,
        accepts: bool = True,
    ) -> None:
        """`load_own` reads the controller's site file; with `accepts` false that alone rules.

        `on_change` is called when what `report` says has changed.
        """
        self._start, self._in_force = start, start.in_force
        self._journal, self._replies, self._signatures = journal, replies, signatures
        self._site, self._clock, self._rules = site, clock, rules
        self._load_own, self._on_change, self._accepts = load_own, on_change, accepts
        self._trial: Trial | None = start.record.trial if start.record is not None else None
        self._rollback_at_ms = 0
        self._told: dict[str, tuple[ConfigState, str]] = {}
        self._last_refusal = ""

    @property
    def trial_left_s(self) -> float | None:
        """How long until the trial is over, or the end of it is tried again; None when none is under way."""
        if self._trial is None:
            return None
        ends_ms = max(self._trial.began_ms + self._rules.within_s * 1000, self._rollback_at_ms)
        return max(0.0, (ends_ms - self._clock.monotonic_ms()) / 1000)

    def report(self) -> dict[str, Any]:
        """Report for health."""
        state = "trial" if self._trial is not None else "applied" if self._in_force.hash else "own_file"
        return {
            "revision": self._in_force.plan.config.revision,
            "hash": self._in_force.hash,
            "state": state,
            "reason": self._last_refusal,
        }

    async def begin(self) -> None:
        """Write down what the start decided, and go on with a trial.

        Raises: StorageUnavailable.
        """
        if self._start.record is not None:
            await asyncio.to_thread(self._journal.keep_configuration, self._start.record, self._start.reply)
        elif self._start.reply is not None:
            await asyncio.to_thread(self._journal.keep_config_reply, self._start.reply)
        if self._start.reply is not None:
            self._note(self._start.reply)
        if self._in_force.hash and not await self._find_reply(self._in_force.hash):
            # The power went between the change and its answer.
            await self._tell(self._reply(self._in_force.hash, self._revision, ConfigState.APPLIED))
        self._replies.journal_changed()

    async def take(self, payload: bytes) -> None:
        """Follow an order that arrived, or say why not.

        Raises: StorageUnavailable, SignatureCheckFailed: try it again later.
        """
        try:
            order, name = _decode(payload)
        except ProtocolError as error:
            log.warning("configuration_malformed", reason=str(error))
            return
        if name == self._in_force.hash:
            self._tell_in_passing(self._reply(name, self._revision, ConfigState.UNCHANGED))
            return
        try:
            await self._signatures.require_genuine(Down.CONFIG, order)
        except OrderRefused as refusal:
            # Not kept: whoever cannot sign shall not make us write to the card either.
            reply = self._reply(name, claimed_revision(order.body), ConfigState.REJECTED, str(refusal))
            self._tell_in_passing(reply)
            return
        known = await self._find_reply(name)
        if known is not None and known.state is ConfigState.ROLLED_BACK:
            self._tell_in_passing(known)
            return
        await self._judge(order.body, name)

    async def hub_answered(self) -> None:
        """Note that the hub answered a hello: the configuration that was tried stays.

        Raises: StorageUnavailable.
        """
        if self._trial is None:
            return
        record = await asyncio.to_thread(self._journal.configuration)
        kept = ConfigurationRecord(in_force=record.in_force)
        await asyncio.to_thread(self._journal.keep_configuration, kept)
        self._trial = None
        log.info("configuration_confirmed", revision=self._revision)
        self._on_change()

    async def end_trial(self) -> None:
        """Take the configuration back when its time to reach the hub is over."""
        if self.trial_left_s != 0:
            return
        reason = f"the hub did not answer within {self._rules.within_s:g} s; the configuration before is back"
        try:
            await self._roll_back(reason)
        except StorageUnavailable as error:
            self._rollback_at_ms = self._clock.monotonic_ms() + round(_STORAGE_RETRY_S * 1000)
            log.warning("configuration_rollback_put_off", reason=str(error))

    @property
    def _revision(self) -> int:
        return self._in_force.plan.config.revision

    async def _judge(self, body: str, name: str) -> None:
        revision = claimed_revision(body)
        try:
            self._require_acceptable(revision)
            new = await asyncio.to_thread(compile_order, body)
        except (SettingsError, OrderRefused) as error:
            await self._tell(self._reply(name, revision, ConfigState.REJECTED, str(error)))
            return
        await self._apply(new, body)

    def _require_acceptable(self, revision: int) -> None:
        if not self._accepts:
            raise OrderRefused("the controller's agent.toml says that its own site file rules (orders.site_from_hub)")
        if revision <= self._revision:
            raise OrderRefused(
                f"its revision {revision} is not newer than revision {self._revision}, which is in force; raise it"
            )

    async def _apply(self, new: InForce, body: str) -> None:
        """Write the change down, then make it: whenever the power goes, the next start goes by what is written."""
        record = await asyncio.to_thread(self._journal.configuration)
        # A configuration that was itself on trial is nothing to come back to.
        before = record.before if record.trial is not None else record.in_force
        trial = Trial(boot_id=self._rules.boot_id, began_ms=self._clock.monotonic_ms())
        await asyncio.to_thread(
            self._journal.keep_configuration, ConfigurationRecord(in_force=body, before=before, trial=trial)
        )
        revision = new.plan.config.revision
        try:
            await self._site.switch(new.plan)
        except StorageUnavailable as error:
            reply = self._reply(new.hash, revision, ConfigState.REJECTED, f"the buffer does not take it now: {error}")
            await asyncio.to_thread(self._journal.keep_configuration, record, reply)
            self._note(reply)
            return
        self._in_force, self._trial = new, trial
        log.info("configuration_applied", revision=revision, hash=new.hash)
        self._on_change()
        await self._tell(self._reply(new.hash, revision, ConfigState.APPLIED))
        self._site.greet_hub()

    async def _roll_back(self, reason: str) -> None:
        record = await asyncio.to_thread(self._journal.configuration)
        try:
            before = await asyncio.to_thread(resume, record.before, self._load_own)
        except SettingsError as error:
            log.error("configuration_kept", reason=f"the one before cannot come back: {error}")  # noqa: TRY400 - the message says it all
            await asyncio.to_thread(self._journal.keep_configuration, ConfigurationRecord(in_force=record.in_force))
            self._trial = None
            return
        await self._site.switch(before.plan)
        reply = self._reply(self._in_force.hash, self._revision, ConfigState.ROLLED_BACK, reason)
        await asyncio.to_thread(self._journal.keep_configuration, ConfigurationRecord(in_force=record.before), reply)
        self._in_force, self._trial = before, None
        log.warning("configuration_rolled_back", revision=reply.revision, reason=reason)
        self._on_change()
        self._note(reply)

    # Telling the hub

    def _reply(self, name: str, revision: int, state: ConfigState, reason: str = "") -> ConfigReply:
        return ConfigReply(revision=revision, hash=name, state=state, at_ms=self._clock.now_ms(), reason=reason)

    async def _find_reply(self, name: str) -> ConfigReply | None:
        return await asyncio.to_thread(self._journal.find_config_reply, name)

    async def _tell(self, reply: ConfigReply) -> None:
        """Have the hub told for certain; the same again, as at each connection, is not worth it.

        Raises: StorageUnavailable.
        """
        if self._told.get(reply.hash) == (reply.state, reply.reason):
            return
        await asyncio.to_thread(self._journal.keep_config_reply, reply)
        self._note(reply)

    def _tell_in_passing(self, reply: ConfigReply) -> None:
        if self._told.get(reply.hash) == (reply.state, reply.reason):
            return
        self._note(reply)
        self._replies.send_passing(Reply(config=reply))

    def _note(self, reply: ConfigReply) -> None:
        """Remember what was said, log a refusal, and let the sender look."""
        self._told[reply.hash] = (reply.state, reply.reason)
        while len(self._told) > _TOLD_MAX:
            self._told.pop(next(iter(self._told)))
        if reply.state in {ConfigState.REJECTED, ConfigState.ROLLED_BACK}:
            self._last_refusal = f"{reply.state.value}: {reply.reason}"
        elif reply.state is ConfigState.APPLIED:
            self._last_refusal = ""
        if reply.state is ConfigState.REJECTED:
            log.warning("configuration_rejected", revision=reply.revision, hash=reply.hash, reason=reply.reason)
        self._replies.journal_changed()


def _decode(payload: bytes) -> tuple[Signed, str]:
    order = decode_signed(payload)
    return order, config_hash(order.body)
