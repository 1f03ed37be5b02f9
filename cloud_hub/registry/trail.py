"""What is left of a change of the registry: a line in the audit trail, and an event for those who subscribed."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from cloud_hub.audit.service import record
from cloud_hub.events.service import publish
from cloud_hub.registry.models import Controller, Meter, Site


class Where(NamedTuple):
    """What was changed, and whose it is."""

    organisation_id: int
    site_id: int | None
    subject: str
    """Such as `meter:7`."""


def where(thing: Site | Controller | Meter) -> Where:
    """Say whose a site, a controller or a meter is; it must have been flushed."""
    match thing:
        case Site():
            return Where(thing.organisation_id, thing.id, f"site:{thing.id}")
        case Controller():
            return Where(thing.organisation_id, thing.site_id, f"controller:{thing.id}")
    return Where(thing.organisation_id, thing.site_id, f"meter:{thing.id}")


def note(
    session: Session, place: Where, *, who: str, kind: str, detail: Mapping[str, Any], data: Mapping[str, Any]
) -> None:
    """Note a deed of the kind `site.created`, which the audit trail calls `site_created`.

    `detail` is for the organisation's own trail, `data` for whoever subscribed: both what JSON can hold.
    """
    organisation_id, site_id, subject = place
    record(session, organisation_id, who=who, action=kind.replace(".", "_"), subject=subject, detail=detail)
    publish(session, organisation_id, site_id=site_id, kind=kind, subject=subject, data=data)


def note_edit(
    session: Session, place: Where, *, who: str, kind: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> bool:
    """Note what an edit changed; nothing when it changed nothing. Say whether it did."""
    changed = [name for name in after if before.get(name) != after[name]]
    if changed:
        detail = {
            "before": {name: before.get(name) for name in changed},
            "after": {name: after[name] for name in changed},
        }
        note(session, place, who=who, kind=kind, detail=detail, data={"changed": sorted(changed)})
    return bool(changed)
