"""What controllers answer, brought to the configurations and commands that it is about. Callers commit."""

from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from cloud_hub.configuration.commands import tell
from cloud_hub.configuration.models import (
    CommandProgress,
    ConfigurationState,
    Downlink,
    SentCommand,
    SiteConfiguration,
)
from cloud_hub.configuration.publishing import tell as tell_configuration
from cloud_hub.registry.models import Controller
from protocol.control import CommandReply, CommandState, ConfigReply, ConfigState

_BECOMES = {
    ConfigState.APPLIED: ConfigurationState.ACKNOWLEDGED,
    ConfigState.UNCHANGED: ConfigurationState.ACKNOWLEDGED,
    ConfigState.REJECTED: ConfigurationState.REFUSED,
    ConfigState.ROLLED_BACK: ConfigurationState.ROLLED_BACK,
}
_MAY_CHANGE = (ConfigurationState.PUBLISHED, ConfigurationState.ACKNOWLEDGED, ConfigurationState.REFUSED)
"""What was superseded or rolled back is over, whatever arrives late."""

_ENDS = {
    CommandState.DONE: CommandProgress.DONE,
    CommandState.FAILED: CommandProgress.FAILED,
    CommandState.REFUSED: CommandProgress.REFUSED,
    CommandState.EXPIRED: CommandProgress.EXPIRED,
    CommandState.INTERRUPTED: CommandProgress.INTERRUPTED,
}
_MAY_END = (CommandProgress.QUEUED, CommandProgress.SENT, CommandProgress.RECEIVED, CommandProgress.EXPIRED)
"""The hub calls a command expired when it hears nothing; the controller knows better."""


def take_config_reply(session: Session, controller_id: str, reply: ConfigReply, said_at: datetime | None) -> None:
    """Note what a controller made of a configuration; one that is not the hub's is passed over."""
    query = select(SiteConfiguration).where(
        SiteConfiguration.controller_id == controller_id, SiteConfiguration.hash == reply.hash
    )
    row = session.scalars(query.with_for_update()).one_or_none()
    if row is None or row.state not in _MAY_CHANGE:
        return
    if said_at is not None and row.answered_at is not None and said_at < row.answered_at:
        return
    state, reason = _BECOMES[reply.state], _printable(reply.reason)
    is_news = (row.state, row.reason) != (state, reason)
    row.state, row.reason, row.answered_at = state, reason, said_at
    session.flush()
    controller = session.get_one(Controller, controller_id)
    if is_news:
        tell_configuration(session, controller, row)


def take_command_reply(session: Session, controller_id: str, reply: CommandReply, result: dict[str, Any]) -> None:
    """Note how a command goes; one that is not the hub's, or another controller's, is passed over."""
    query = select(SentCommand).where(SentCommand.id == reply.id, SentCommand.controller_id == controller_id)
    row = session.scalars(query.with_for_update()).one_or_none()
    if row is None:
        return
    now = session.scalar(select(func.clock_timestamp()))
    if reply.state is CommandState.RECEIVED:
        if row.state not in {CommandProgress.QUEUED, CommandProgress.SENT}:
            return
        row.state, row.received_at = CommandProgress.RECEIVED, now
    else:
        if row.state not in _MAY_END:
            return
        row.state, row.reason, row.ended_at = _ENDS[reply.state], _printable(reply.reason), now
        row.result = result or None
        if reply.state not in {CommandState.REFUSED, CommandState.EXPIRED}:
            row.received_at = row.received_at or now
    # It went out, whatever the broker said of it.
    row.sent_at = row.sent_at or now
    session.execute(update(Downlink).where(Downlink.command_id == row.id).values(due_at=None))
    session.flush()
    tell(session, session.get_one(Controller, controller_id), row)


def _printable(said: str) -> str:
    return said.replace("\0", "")
