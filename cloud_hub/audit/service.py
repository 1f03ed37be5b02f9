"""Write the audit trail. Callers commit, so that a deed and its trace stand or fall together."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import insert
from sqlalchemy.orm import Session

from cloud_hub.audit.models import AuditEvent
from cloud_hub.audit.origin import origin_of

DENIED: Final = "denied"


def record(
    session: Session, organisation_id: int, *, who: str, action: str, subject: str, detail: Mapping[str, Any]
) -> None:
    """Note a deed; `detail` is what JSON can hold. From where it came is read off the session."""
    session.flush()
    # In line, without RETURNING: one may add to a trail that one may not read.
    session.execute(
        insert(AuditEvent)
        .values(
            organisation_id=organisation_id,
            who=who,
            action=action,
            subject=subject,
            detail=dict(detail),
            **asdict(origin_of(session)),
        )
        .inline()
    )
