"""From when on a meter's readings count. Callers commit."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.calendar.days import ms_of_instant
from cloud_hub.ledger import dirty
from cloud_hub.ledger.trail import instant_text, note_deed
from cloud_hub.readings.service import first_reading
from cloud_hub.registry.models import Meter, Point
from cloud_hub.registry.queries import get_meter
from protocol.manifest import PointKind


def set_commissioned(session: Session, meter_id: int, at: datetime | None, *, who: str) -> Meter:
    """Say from when on a meter's readings count; None: all do. Those from before are kept.

    Raises: UnknownMeter.
    """
    meter = get_meter(session, meter_id)
    before, meter.commissioned_at = meter.commissioned_at, at
    session.flush()
    counters = session.scalars(
        select(Point.id).where(Point.meter_id == meter_id, Point.kind == PointKind.COUNTER.value)
    ).all()
    first = min(first_reading(session, counters).values(), default=None)
    if first is not None:
        changed = sorted(max(first, instant or first) for instant in (before, at))
        dirty.mark(session.connection(), [(meter_id, ms_of_instant(first), ms_of_instant(changed[-1]))])
    detail = {"at": instant_text(at), "before": instant_text(before)}
    note_deed(session, meter, who=who, action="meter_commissioned", subject=f"meter:{meter_id}", detail=detail)
    return meter
