"""The order in which events are told: after their commits, one after another, so that no reader overtakes one.

Ids are given before the commit: an event with a lower id may appear after one with a higher id was read.
Positions are given afterwards, by one transaction at a time; whoever has read up to a position has read all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine, text

CHANNEL: Final = "meterhaul_events"
"""PostgreSQL's channel on which each batch of new positions is told; the payload is a `Notice`."""

BATCH: Final = 500
KEPT = timedelta(days=30)
_LOCK = 0x6D657476  # any number, as long as everybody who gives positions takes the same
_PAYLOAD_MAX = 7000  # PostgreSQL allows 8000 bytes

_PLACE = text("""
    WITH waiting AS (SELECT id FROM events WHERE position IS NULL ORDER BY id LIMIT :batch),
         placed AS (SELECT id, nextval('events_position_seq') AS position
                    FROM (SELECT id FROM waiting ORDER BY id) AS ordered)
    UPDATE events e SET position = placed.position
    FROM placed, organisations o
    WHERE e.id = placed.id AND o.id = e.organisation_id
    RETURNING e.id, e.at, e.organisation_id, o.lineage, e.site_id, e.kind, e.subject, e.data, e.position
""")


@dataclass(frozen=True, slots=True)
class Placed:
    """An event that has just got its place."""

    id: int
    lineage: tuple[int, ...]
    site_id: int | None
    position: int
    document: dict[str, Any]
    """As subscribers read it."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Whose events have come: those who see none of these organisations and sites need not look."""

    organisations: frozenset[int] = frozenset()
    sites: frozenset[int] = frozenset()
    is_for_all: bool = False

    def payload(self) -> str:
        """Write it as it is told; nothing when it is too long, which means everybody."""
        written = ";".join(",".join(map(str, sorted(ids))) for ids in (self.organisations, self.sites))
        return "" if self.is_for_all or len(written) > _PAYLOAD_MAX else written


def parse_notice(payload: str) -> Notice:
    """Read what was told; everybody is meant by what cannot be read."""
    try:
        organisations, sites = payload.split(";")
        return Notice(_ids(organisations), _ids(sites))
    except ValueError:
        return Notice(is_for_all=True)


def place_events(connection: Connection) -> Sequence[Placed]:
    """Give places to committed events that have none, and tell listeners of it at the commit; the caller commits soon.

    Returns nothing while another process is at it.
    """
    if not connection.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _LOCK}):
        return []
    rows = sorted(connection.execute(_PLACE, {"batch": BATCH}), key=lambda row: int(row.position))
    placed = [Placed(row.id, tuple(row.lineage), row.site_id, row.position, describe(row)) for row in rows]
    if placed:
        notice = Notice(
            frozenset(organisation for one in placed for organisation in one.lineage),
            frozenset(one.site_id for one in placed if one.site_id is not None),
        )
        connection.execute(
            text("SELECT pg_notify(:channel, :payload)"), {"channel": CHANNEL, "payload": notice.payload()}
        )
    return placed


def describe(event: Any) -> dict[str, Any]:  # noqa: ANN401 - a row of the table, mapped or not
    """Write an event as JSON can hold it."""
    return {
        "id": event.id,
        "kind": event.kind,
        "at": event.at.isoformat(),
        "organisation_id": event.organisation_id,
        "site_id": event.site_id,
        "subject": event.subject,
        "data": event.data,
    }


def purge_events(engine: Engine) -> int:
    """Drop events that nobody can ask for any more; answer how many."""
    with engine.begin() as connection:
        return connection.execute(
            text("DELETE FROM events WHERE at < now() - CAST(:kept AS interval) AND position IS NOT NULL"),
            {"kept": KEPT},
        ).rowcount


def _ids(text_: str) -> frozenset[int]:
    return frozenset(int(one) for one in text_.split(",") if one)
