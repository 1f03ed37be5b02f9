"""What agents answer to orders: kept once each, however often they arrive, and said in the log."""

import hashlib
from datetime import UTC, datetime

import structlog
from sqlalchemy import Engine, text

from protocol.control import CommandReply, ConfigReply, Reply

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
    subject = "config" if isinstance(answer, ConfigReply) else "command"
    reference = str(answer.revision) if isinstance(answer, ConfigReply) else answer.id
    body = answer.model_dump_json()
    fields = {
        "controller": controller_id,
        "subject": subject,
        "reference": reference,
        "state": answer.state.value,
        "reason": answer.reason.replace("\0", ""),
        "said_at": _instant(answer.at_ms),
        "body": body.replace("\\u0000", ""),
        "digest": hashlib.sha256(f"{subject}\0{body}".encode()).digest(),
    }
    with engine.begin() as connection:
        is_new = connection.execute(_KEEP, fields).one_or_none() is not None
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
