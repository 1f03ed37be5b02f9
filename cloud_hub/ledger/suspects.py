"""Readings that wait for a person's judgement, and what the person says. Callers commit."""

from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.calendar.days import ms_of_instant
from cloud_hub.errors import Conflict, NotFound
from cloud_hub.ledger import dirty
from cloud_hub.ledger.models import SuspectSpan
from cloud_hub.ledger.trail import instant_text, note_deed
from cloud_hub.organisations.models import Organisation
from cloud_hub.registry.models import Meter
from cloud_hub.registry.queries import get_meter
from cloud_hub.web.pagination import Page, Window, cut


class Resolution(StrEnum):
    """What can be said of suspect readings."""

    ACCEPTED = "accepted"
    """They count."""
    DISCARDED = "discarded"
    """They are kept, and never count."""


def list_suspects(
    session: Session,
    window: Window,
    meter_id: int | None = None,
    *,
    site_id: int | None = None,
    organisation_id: int | None = None,
) -> Page[SuspectSpan]:
    """List what waits for judgement, oldest note first.

    Of one meter, of one site, or of an organisation and those below it, when so asked.
    """
    # By way of their meters, whose rows say whose they are.
    query = select(SuspectSpan).join(Meter, Meter.id == SuspectSpan.meter_id)
    query = query.where(SuspectSpan.resolved_at.is_(None), SuspectSpan.id > window.after_id)
    if organisation_id is not None:
        query = query.join(Organisation, Organisation.id == Meter.organisation_id)
        query = query.where(Organisation.lineage.contains([organisation_id]))
    wanted = ((Meter.id, meter_id), (Meter.site_id, site_id))
    query = query.where(*(column == value for column, value in wanted if value is not None))
    spans = session.scalars(query.order_by(SuspectSpan.id).limit(window.limit + 1)).all()
    return cut(spans, window, lambda span: span.id)


def resolve_suspect(session: Session, span_id: int, resolution: Resolution, *, who: str) -> SuspectSpan:
    """Say whether suspect readings count. The ledger is recomputed where they lie.

    Raises: NotFound, Conflict when somebody has judged already.
    """
    span = session.get(SuspectSpan, span_id, with_for_update=True)
    if span is None:
        raise NotFound(f"there are no suspect readings {span_id}")
    if span.resolved_at is not None:
        raise Conflict(f"suspect readings {span_id} were {span.resolution} already, by {span.resolved_by}")
    span.resolution, span.resolved_at, span.resolved_by = resolution.value, datetime.now(UTC), who
    session.flush()
    meter = get_meter(session, span.meter_id)
    now_ms = ms_of_instant(span.resolved_at)
    # The finding goes now; what is ahead still is looked at when its time has come.
    dirty.mark(session.connection(), [(meter.id, at_ms, at_ms) for at_ms in (now_ms, *span.instants_ms)])
    detail = {"resolution": resolution.value, "from": instant_text(span.from_at), "to": instant_text(span.to_at)}
    note_deed(session, meter, who=who, action="suspect_resolved", subject=f"suspect:{span.id}", detail=detail)
    return span
