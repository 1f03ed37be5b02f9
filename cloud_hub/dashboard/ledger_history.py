"""What a register's intervals were known to be before, and whether a change is still to be worked in."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.calendar.days import ms_of_instant
from cloud_hub.ledger.models import Dirty, ledger_superseded


@dataclass(frozen=True, slots=True)
class OlderVersion:
    """What an interval was known to be for a while."""

    amount_micro: int
    quality: int
    causes: int
    known_from: datetime
    known_until: datetime


def read_older(session: Session, point_id: int, start: datetime, end: datetime) -> dict[int, list[OlderVersion]]:
    """Return the older versions of the intervals that begin in `[start, end)`, by their start in milliseconds.

    The newest of each comes first.
    """
    kept = ledger_superseded.c
    query = (
        select(kept.start_at, kept.amount_micro, kept.quality, kept.causes, kept.known_from, kept.known_until)
        .where(kept.point_id == point_id, kept.start_at >= start, kept.start_at < end)
        .order_by(kept.start_at, kept.known_from.desc())
    )
    found: defaultdict[int, list[OlderVersion]] = defaultdict(list)
    for row in session.execute(query):
        older = OlderVersion(row.amount_micro, row.quality, row.causes, row.known_from, row.known_until)
        found[ms_of_instant(row.start_at)].append(older)
    return dict(found)


def is_waiting(session: Session, meter_id: int) -> bool:
    """Say whether something of a meter has changed that the ledger does not show yet."""
    query = select(Dirty.id).where(Dirty.meter_id == meter_id, Dirty.is_silence.is_(False)).limit(1)
    return session.execute(query).first() is not None
