"""The audit trail as JSON: an organisation's own, newest first."""

from sqlalchemy import select

from cloud_hub.access import routes
from cloud_hub.access.permissions import Permission
from cloud_hub.audit.models import AuditEvent
from cloud_hub.organisations.models import Organisation
from cloud_hub.trail.schemas import TrailEventOut, TrailQuery
from cloud_hub.web.database import request_session
from cloud_hub.web.pagination import PageOut, cut, encode_cursor

api = routes.api("trail_api", tag="Audit trail")


@api.get(
    "/organisations/<organisation>/audit",
    permission=Permission.AUDIT_READ,
    query=TrailQuery,
    answer=PageOut[TrailEventOut],
)
def list_trail(organisation: str, query: TrailQuery) -> PageOut[TrailEventOut]:
    """List what was done in an organisation, and what was denied, newest first.

    Events of the organisations below it stand in their own trails.
    """
    window = query.window
    wanted = (
        select(AuditEvent)
        .join(Organisation, Organisation.id == AuditEvent.organisation_id)
        .where(Organisation.slug == organisation)
        .order_by(AuditEvent.number.desc())
        .limit(window.limit + 1)
    )
    if window.after is not None:
        wanted = wanted.where(AuditEvent.number < window.after_id)
    named = {AuditEvent.who: query.who, AuditEvent.action: query.action, AuditEvent.subject: query.subject}
    wanted = wanted.where(*(column == value for column, value in named.items() if value is not None))
    if query.from_at is not None:
        wanted = wanted.where(AuditEvent.at >= query.from_at)
    if query.to_at is not None:
        wanted = wanted.where(AuditEvent.at < query.to_at)
    page = cut(request_session().scalars(wanted).all(), window, lambda event: event.number)
    items = [_out(event) for event in page.items]
    return PageOut[TrailEventOut](items=items, next_cursor=encode_cursor(page.next_key))


def _out(event: AuditEvent) -> TrailEventOut:
    shown = {name: getattr(event, name) for name in TrailEventOut.model_fields if name != "hash"}
    return TrailEventOut(**shown, hash=event.hash.hex())
