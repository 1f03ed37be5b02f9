"""Which configuration the agent goes by when it starts: the hub's newest good one, else the controller's own file."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from edge_agent.control.journal import ConfigurationRecord, Journal, Trial
from edge_agent.errors import SettingsError, StorageUnavailable
from edge_agent.site.compile import compile_site
from protocol.control import ConfigReply, ConfigState, claimed_revision, config_hash, parse_config_order
from protocol.errors import ProtocolError
from protocol.site.plan import SitePlan

BOOTS_MAX = 3
"""A configuration with which the controller boots so often without reaching the hub is taken back."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class InForce:
    """A compiled configuration and where it came from."""

    plan: SitePlan
    hash: str = ""
    """That of the hub's order; empty for the controller's own site file."""

    @property
    def source(self) -> str:
        """Say for people where the configuration came from."""
        return f"the hub, revision {self.plan.config.revision}" if self.hash else "the controller's own site file"

    def report(self) -> dict[str, Any]:
        """Say for scripts where the configuration came from."""
        return {"source": "hub" if self.hash else "own_file", "revision": self.plan.config.revision, "hash": self.hash}


@dataclass(frozen=True, slots=True)
class Start:
    """What a start goes by, and what it changes in the journal once the agent has the data directory for itself."""

    in_force: InForce
    record: ConfigurationRecord | None = None
    """None when the journal says so already."""
    reply: ConfigReply | None = None


@dataclass(frozen=True, slots=True)
class Boot:
    """When and in which boot the agent starts."""

    boot_id: str
    monotonic_ms: int
    now_ms: int


def compile_order(body: str) -> InForce:
    """Parse and compile the body of a configuration order.

    Raises: SettingsError.
    """
    try:
        site = parse_config_order(body).site
    except ProtocolError as error:
        raise SettingsError(str(error)) from None
    return InForce(compile_site(site, f"configuration {site.revision}"), config_hash(body))


def resume(body: str | None, load_own: Callable[[], SitePlan]) -> InForce:
    """Compile what was recorded: an order's body, or None for the controller's own file.

    Raises: SettingsError.
    """
    return InForce(load_own()) if body is None else compile_order(body)


def choose(
    journal: Journal, load_own: Callable[[], SitePlan], boot: Boot, *, confirm_within_s: float, accepts: bool = True
) -> Start:
    """Decide which configuration is in force; nothing is written here.

    With `accepts` false it is the controller's own.
    Raises: SettingsError when the controller's own file is needed and does not compile.
    """
    try:
        record = journal.configuration() if accepts else ConfigurationRecord()
    except StorageUnavailable as error:
        log.error("orders_unreadable", reason=str(error))  # noqa: TRY400 - the message says it all
        record = ConfigurationRecord()
    if record.in_force is None:
        return Start(InForce(load_own()))
    if record.trial is None:
        return _established(record.in_force, load_own, boot)
    trial = _resumed(record.trial, boot, confirm_within_s)
    if trial is None:
        within = f"within {confirm_within_s:g} s" if record.trial.boot_id == boot.boot_id else f"in {BOOTS_MAX} boots"
        return _taken_back(record, load_own, boot, f"the hub did not answer {within}, restarts included")
    try:
        in_force = compile_order(record.in_force)
    except SettingsError as error:
        return _taken_back(record, load_own, boot, f"it does not compile any more: {error}")
    return Start(in_force, record.model_copy(update={"trial": trial}))


def _established(body: str, load_own: Callable[[], SitePlan], boot: Boot) -> Start:
    """Go by the hub's configuration; where this release cannot, by the controller's own file."""
    try:
        return Start(compile_order(body))
    except SettingsError as error:
        reason = f"it does not compile any more, so the controller's own site file is in force: {error}"
        log.error("configuration_rejected", reason=reason)  # noqa: TRY400 - the message says it all
        return Start(InForce(load_own()), reply=_reply(body, ConfigState.REJECTED, boot, reason))


def _taken_back(record: ConfigurationRecord, load_own: Callable[[], SitePlan], boot: Boot, reason: str) -> Start:
    body, before = record.in_force or "", record.before
    try:
        in_force = resume(before, load_own)
    except SettingsError as error:
        log.error("configuration_kept", reason=f"the one before cannot come back: {error}")  # noqa: TRY400 - it says it all
        return Start(compile_order(body), ConfigurationRecord(in_force=body))
    log.warning("configuration_rolled_back", reason=reason)
    reply = _reply(body, ConfigState.ROLLED_BACK, boot, reason)
    return Start(in_force, ConfigurationRecord(in_force=before), reply)


def _resumed(trial: Trial, boot: Boot, confirm_within_s: float) -> Trial | None:
    """Return the trial as it goes on; None when it is over."""
    if trial.boot_id == boot.boot_id:
        return trial if boot.monotonic_ms - trial.began_ms < confirm_within_s * 1000 else None
    if trial.boots >= BOOTS_MAX:
        return None
    return Trial(boot_id=boot.boot_id, began_ms=boot.monotonic_ms, boots=trial.boots + 1)


def _reply(body: str, state: ConfigState, boot: Boot, reason: str) -> ConfigReply:
    revision = claimed_revision(body)
    return ConfigReply(revision=revision, hash=config_hash(body), state=state, at_ms=boot.now_ms, reason=reason)
