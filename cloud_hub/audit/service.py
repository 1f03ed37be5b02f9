"""Write the audit trail. Callers commit, so that a deed and its trace stand or fall together."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from cloud_hub.audit.models import AuditEvent


def record(
    session: Session, organisation_id: int, *, who: str, action: str, subject: str, detail: Mapping[str, Any]
) -> None:
    """Note a deed; `detail` is what JSON can hold."""
    session.add(
        AuditEvent(organisation_id=organisation_id, who=who, action=action, subject=subject, detail=dict(detail))
    )
    session.flush()
