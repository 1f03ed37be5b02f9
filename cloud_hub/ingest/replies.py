"""What agents answer to orders: kept once each, however often they arrive, told to what they are about, and logged."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cloud_hub.configuration.answers import take_command_reply, take_config_reply
from protocol.control import CommandReply, CommandState, ConfigReply, Reply

log = structlog.get_logger(__name__)

_KEEP = text("""
    INSERT INTO controller_replies (controller_id, subject, reference, state, reason, said_at, body, digest)
    SELECT :controller, :subject, :reference, :state, :reason, :said_at, CAST(:body AS jsonb), :digest
    WHERE EXISTS (SELECT FROM controllers WHERE id = :controller)
    ON CONFLICT (controller_id, digest) DO NOTHING
    RETURNING id
""")


def note_reply(engine: Engine, controller_id: str, reply: Reply) -> None:
    """Keep an answer to a command or a configuration; a repetition changes nothing."""
    answer: CommandReply | ConfigReply | None = reply.command or reply.config
    if answer is None:
        return
    if isinstance(answer, CommandReply) and answer.state is CommandState.RECEIVED:
        # No answer yet: it says how far the command has come, and is kept nowhere else.
        with Session(engine) as session, session.begin():
            take_command_reply(session, controller_id, answer, {})
        return
    subject = "config" if isinstance(answer, ConfigReply) else "command"
    reference = str(answer.revision) if isinstance(answer, ConfigReply) else answer.id
    body = answer.model_dump_json()
    # What JSON can write and the database cannot hold.
    clean = body.replace("\\u0000", "")
    fields: dict[str, Any] = {
        "controller": controller_id,
        "subject": subject,
        "reference": reference,
        "state": answer.state.value,
        "reason": answer.reason.replace("\0", ""),
        "said_at": _instant(answer.at_ms),
        "body": clean,
        "digest": hashlib.sha256(f"{subject}\0{body}".encode()).digest(),
    }
    with Session(engine) as session, session.begin():
        is_new = session.execute(_KEEP, fields).one_or_none() is not None
        if is_new and reply.config is not None:
            take_config_reply(session, controller_id, reply.config, fields["said_at"])
        if is_new and reply.command is not None:
            take_command_reply(session, controller_id, reply.command, json.loads(clean)["result"])
    if is_new:
        log.info(
            "controller_replied",
            controller_id=controller_id,
            subject=subject,
            reference=reference,
            state=answer.state.value,
            reason=answer.reason,
        )


def _instant(at_ms: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
