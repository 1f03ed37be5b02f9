"""How the ledger's changes enter the audit trail: under the organisation that the meter's site belongs to."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.audit.service import record
from cloud_hub.registry.models import Meter, Site


def note_deed(
    session: Session, meter: Meter, *, who: str, action: str, subject: str, detail: Mapping[str, Any]
) -> None:
    """Note what somebody did to a meter's figures."""
    organisation_id = session.execute(select(Site.organisation_id).where(Site.id == meter.site_id)).scalar_one()
    record(session, organisation_id, who=who, action=action, subject=subject, detail={"meter": meter.id, **detail})


def instant_text(instant: datetime | None) -> str | None:
    """Write an instant for the trail."""
    return None if instant is None else instant.astimezone(UTC).isoformat()
