"""Attempts that were not let through: they go into the audit trail too, each in a transaction of its own."""

from flask import g, request

from cloud_hub.access.actor import Actor
from cloud_hub.audit.origin import Origin, note_origin
from cloud_hub.audit.service import DENIED, record
from cloud_hub.errors import HubError
from cloud_hub.web.database import streaming_session

_OPERATOR = 1
"""The topmost organisation: in its trail stands what people without any membership try."""


def origin_of_request(actor: Actor) -> Origin:
    """Return where the request under way comes from."""
    return Origin(actor.user_id, actor.on_behalf_of or None, request.remote_addr, g.get("request_id"))


def note_denial(actor: Actor, permission: str, error: HubError) -> None:
    """Write into the trail of the actor's own organisation what they tried, and why it was denied."""
    organisation_id = actor.grants[0].organisation_id if actor.grants else _OPERATOR
    with streaming_session() as session:
        note_origin(session, origin_of_request(actor))
        record(
            session,
            organisation_id,
            who=actor.label,
            action=DENIED,
            subject=f"{request.method} {request.path}",
            detail={"permission": permission, "reason": str(error)},
        )
        session.commit()
