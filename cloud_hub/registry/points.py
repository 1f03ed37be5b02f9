"""Write points, which a controller's manifest makes: people give them labels. Callers commit."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.registry.models import Point
from cloud_hub.registry.queries import UnknownPoint, get_meter
from cloud_hub.registry.trail import Where, note_edit


def lock_point(session: Session, point_id: int) -> Point:
    """Return a point, its row locked.

    Raises: UnknownPoint.
    """
    query = select(Point).where(Point.id == point_id).with_for_update(key_share=True)
    point = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if point is None:
        raise UnknownPoint(f"there is no point {point_id}")
    return point


def edit_point(session: Session, point: Point, given: Mapping[str, Any], *, who: str) -> None:
    """Change what `given` has, of a point whose row is locked."""
    before = {"label": point.label}
    if "label" in given:
        point.label = given["label"]
    session.flush()
    meter = get_meter(session, point.meter_id)
    place = Where(meter.organisation_id, meter.site_id, f"point:{point.id}")
    note_edit(session, place, who=who, kind="point.changed", before=before, after={"label": point.label})
