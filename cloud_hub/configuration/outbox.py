"""Orders into the outbox, from which `work` signs and sends them. Callers commit."""

from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from cloud_hub.configuration.models import Downlink
from protocol.topics import Down

CHANNEL = "meterhaul_downlinks"
"""PostgreSQL's NOTIFY channel on which a commit with orders is told."""


def put_configuration(session: Session, controller_id: str, configuration_id: int, body: str) -> None:
    """Have a configuration sent, in place of all older ones."""
    _put(session, Downlink(controller_id=controller_id, kind=Down.CONFIG, configuration_id=configuration_id, body=body))


def put_command(session: Session, controller_id: str, command_id: str, body: str) -> None:
    """Have a command sent."""
    _put(session, Downlink(controller_id=controller_id, kind=Down.COMMAND, command_id=command_id, body=body))


_HURRY = text("""
    UPDATE downlinks SET due_at = now()
    WHERE controller_id = :controller AND command_id IS NOT NULL AND due_at > now()
""")


def hurry(connection: Connection, controller_id: str) -> None:
    """Send what waits for a controller at once: it has just come online."""
    if connection.execute(_HURRY, {"controller": controller_id}).rowcount:
        connection.execute(text(f"NOTIFY {CHANNEL}"))


def _put(session: Session, downlink: Downlink) -> None:
    session.add(downlink)
    session.flush()
    session.execute(text(f"NOTIFY {CHANNEL}"))
