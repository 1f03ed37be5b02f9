"""Reads of events and of the newest values, each within what the session sees."""

import json
from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from cloud_hub.events.kinds import EVERY, IS_WANTED_SQL
from cloud_hub.events.models import Event
from cloud_hub.readings.models import ScanLatest, point_latest
from cloud_hub.registry.models import Meter
from cloud_hub.web.pagination import Page, Window, cut

_IS_WANTED = text(IS_WANTED_SQL.format(patterns="CAST(:patterns AS text[])", kind="events.kind"))


def list_events(session: Session, window: Window, kinds: Sequence[str], site_id: int | None = None) -> Page[Event]:
    """List events in the order in which they are told, the oldest first."""
    query = select(Event).where(Event.position > window.after_id)
    if EVERY not in kinds:
        query = query.where(_IS_WANTED.bindparams(patterns=list(kinds)))
    if site_id is not None:
        query = query.where(Event.site_id == site_id)
    rows = session.scalars(query.order_by(Event.position).limit(window.limit + 1)).all()
    return cut(rows, window, lambda event: event.position)


def read_after(session: Session, position: int, limit: int) -> Sequence[Event]:
    """Return the next events after a position."""
    return session.scalars(select(Event).where(Event.position > position).order_by(Event.position).limit(limit)).all()


def last_position(session: Session) -> int:
    """Return the position of the newest event; 0 when there is none."""
    return session.scalar(select(func.max(Event.position))) or 0


def meters_of_sites(session: Session, site_ids: Collection[int]) -> frozenset[int]:
    """Return the ids of all meters of the sites."""
    return frozenset(session.scalars(select(Meter.id).where(Meter.site_id.in_(site_ids))))


def newest_scans(session: Session, meter_ids: Collection[int]) -> dict[int, datetime]:
    """Return when each meter was read last, of those that were."""
    query = (
        select(ScanLatest.meter_id, func.max(ScanLatest.observed_at).label("at"))
        .where(ScanLatest.meter_id.in_(meter_ids))
        .group_by(ScanLatest.meter_id)
    )
    return {row.meter_id: row.at for row in session.execute(query)}


def newest_values(session: Session, meter_ids: Collection[int]) -> dict[int, str]:
    """Return the newest values of each meter as JSON, ready to be told to anybody who sees the same."""
    known: dict[int, list[dict[str, object]]] = {}
    query = select(point_latest).where(point_latest.c.meter_id.in_(meter_ids)).order_by(point_latest.c.point_id)
    for row in session.execute(query):
        known.setdefault(row.meter_id, []).append(
            {
                "point_id": row.point_id,
                "observed_at": row.observed_at.isoformat(),
                "value": row.value,
                "quality": row.quality,
            }
        )
    return {
        meter_id: json.dumps({"meter_id": meter_id, "points": points}, separators=(",", ":"), allow_nan=False)
        for meter_id, points in known.items()
    }
