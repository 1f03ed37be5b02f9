"""Events to messages: each event that gets its place becomes a message to every webhook that wants it."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, text

from cloud_hub.events.kinds import IS_WANTED_SQL
from cloud_hub.events.order import Placed, place_events

# An organisation sees those below it: its webhooks are told of them too.
_WANTED = text(
    "SELECT e.id AS event_id, w.id AS webhook_id "  # noqa: S608 - constants of ours
    "FROM events e JOIN organisations o ON o.id = e.organisation_id "
    "JOIN webhooks w ON w.organisation_id = ANY (o.lineage) "
    f"WHERE e.id = ANY (:events) AND w.is_active AND {IS_WANTED_SQL.format(patterns='w.kinds', kind='e.kind')} "
    "AND (NOT EXISTS (SELECT FROM webhook_sites s WHERE s.webhook_id = w.id) "
    "OR EXISTS (SELECT FROM webhook_sites s WHERE s.webhook_id = w.id AND s.site_id = e.site_id)) "
    "ORDER BY e.position, w.id"
)
_ADD = text("""
    INSERT INTO webhook_deliveries (webhook_id, event_id, kind, body)
    VALUES (:webhook_id, :event_id, :kind, :body) ON CONFLICT (webhook_id, event_id) DO NOTHING
""")


def fan_out(engine: Engine) -> int:
    """Give events that were committed since their places, and queue messages of them; answer how many events.

    One transaction: an event has its place if and only if its messages are queued.
    """
    with engine.begin() as connection:
        placed = place_events(connection)
        if placed:
            _queue(connection, placed)
    return len(placed)


def message_body(kind: str, at: datetime, data: dict[str, Any]) -> str:
    """Write a message as Standard Webhooks has it: a type, a time, and what there is to say."""
    return json.dumps({"type": kind, "timestamp": at.astimezone(UTC).isoformat(), "data": data}, separators=(",", ":"))


def _queue(connection: Connection, placed: Sequence[Placed]) -> None:
    documents = {one.id: one.document for one in placed}
    wanted = connection.execute(_WANTED, {"events": list(documents)}).all()
    if wanted:
        bodies = {event_id: _body(documents[event_id]) for event_id in {row.event_id for row in wanted}}
        connection.execute(
            _ADD,
            [
                {
                    "webhook_id": row.webhook_id,
                    "event_id": row.event_id,
                    "kind": documents[row.event_id]["kind"],
                    "body": bodies[row.event_id],
                }
                for row in wanted
            ],
        )


def _body(document: dict[str, Any]) -> str:
    return message_body(document["kind"], datetime.fromisoformat(document["at"]), document)
