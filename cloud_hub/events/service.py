"""Tell what happened. Callers commit, so that a deed and its event stand or fall together."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from cloud_hub.events.models import Event


def publish(
    session: Session,
    organisation_id: int,
    *,
    kind: str,
    subject: str,
    data: Mapping[str, Any],
    site_id: int | None = None,
) -> None:
    """Note an event; `data` is what JSON can hold. Once committed, `cloud_hub.events.order` gives it its place."""
    session.add(Event(organisation_id=organisation_id, site_id=site_id, kind=kind, subject=subject, data=dict(data)))
    session.flush()
