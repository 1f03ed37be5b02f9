"""Commands to controllers: ordered by people, queued, listed. Callers commit."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from cloud_hub.audit.service import record
from cloud_hub.configuration import outbox
from cloud_hub.configuration.models import CommandProgress, SentCommand
from cloud_hub.errors import Invalid, NotFound
from cloud_hub.events.service import publish as publish_event
from cloud_hub.registry.models import Controller
from cloud_hub.registry.queries import get_controller
from cloud_hub.web.pagination import Page, Window, cut
from protocol.command_arguments import ARGUMENTS
from protocol.control import Command, CommandKind
from protocol.wording import fault_text, key_text

_ID_BYTES = 12


class UnknownCommand(NotFound):
    """No command has that id."""


def order_command(
    session: Session,
    controller_id: str,
    kind: CommandKind,
    arguments: dict[str, Any],
    *,
    expires_in: timedelta,
    who: str,
) -> SentCommand:
    """Have a controller do something once, within a time.

    Raises: Invalid, naming the argument at fault.
    """
    checked = _check_arguments(kind, arguments)
    controller = get_controller(session, controller_id)
    now = datetime.now(UTC)
    row = SentCommand(
        id=secrets.token_hex(_ID_BYTES),
        controller_id=controller_id,
        kind=kind,
        arguments=checked,
        state=CommandProgress.QUEUED,
        reason="",
        ordered_at=now,
        ordered_by=who,
        expires_at=now + expires_in,
    )
    session.add(row)
    session.flush()
    order = Command(
        id=row.id,
        kind=kind,
        arguments=checked,
        issued_at_ms=_milliseconds(now),
        expires_at_ms=_milliseconds(row.expires_at),
    )
    outbox.put_command(session, controller_id, row.id, order.model_dump_json())
    detail = {"controller": controller_id, "kind": str(kind), "arguments": checked}
    subject = f"command:{row.id}"
    record(session, controller.organisation_id, who=who, action="command_ordered", subject=subject, detail=detail)
    tell(session, controller, row)
    return row


def list_commands(session: Session, controller_id: str, window: Window) -> Page[SentCommand]:
    """List a controller's commands, the newest first."""
    query = select(SentCommand).where(SentCommand.controller_id == controller_id)
    if window.after is not None:
        query = query.where(tuple_(SentCommand.ordered_at, SentCommand.id) < _place(window.after))
    query = query.order_by(SentCommand.ordered_at.desc(), SentCommand.id.desc()).limit(window.limit + 1)
    return cut(session.scalars(query).all(), window, lambda row: f"{row.ordered_at.isoformat()} {row.id}")


def get_command(session: Session, command_id: str) -> SentCommand:
    """Return a command.

    Raises: UnknownCommand.
    """
    found = session.get(SentCommand, command_id)
    if found is None:
        raise UnknownCommand(f"there is no command {command_id!r}")
    return found


def tell(session: Session, controller: Controller, row: SentCommand) -> None:
    """Tell subscribers how a command stands now."""
    data = {"command": row.id, "controller": controller.id, "kind": str(row.kind), "reason": row.reason}
    publish_event(
        session,
        controller.organisation_id,
        site_id=controller.site_id,
        kind=f"command.{row.state}",
        subject=f"command:{row.id}",
        data=data,
    )


def _check_arguments(kind: CommandKind, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        checked = ARGUMENTS[kind].model_validate(arguments)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(("arguments", key_text(first["loc"]))) if first["loc"] else "arguments"
        raise Invalid(f"{place}: {fault_text(first)}") from error
    found: dict[str, Any] = checked.model_dump(mode="json", exclude_none=True)
    return found


def _place(after: str) -> tuple[datetime, str]:
    instant, _, command_id = after.partition(" ")
    try:
        return datetime.fromisoformat(instant).astimezone(UTC), command_id
    except (ValueError, OverflowError) as error:
        raise Invalid("cursor is not one that this list gave out: begin without it") from error


def _milliseconds(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)
