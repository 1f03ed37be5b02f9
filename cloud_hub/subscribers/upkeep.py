"""What keeps the live tree right beside the readings that come in: old places cleared, lost ones filled, events said."""

from collections.abc import Iterator, Sequence
from typing import Any

import structlog
from sqlalchemy import Engine, Row, text

from cloud_hub.settings import BrokerAddress
from cloud_hub.subscribers import tree
from cloud_hub.subscribers.link import IN_FLIGHT, Link, LinkLost, Saying
from cloud_hub.subscribers.publisher import say_meters
from protocol import topics
from protocol.errors import InvalidIdentifier
from protocol.live import LiveEvent, encode_live

_LEFT_AT_A_TIME = 5_000

# A number drawn earlier may be committed later, so it is not a last number that is remembered, but each that was
# said. A topic is no archive: what is older than an hour is not said any more.
_NEW_EVENTS = text("""
    SELECT e.id, e.at, e.kind, e.subject, e.data, o.slug AS organisation, s.slug AS site
    FROM events e JOIN organisations o ON o.id = e.organisation_id LEFT JOIN sites s ON s.id = e.site_id
    WHERE e.at > now() - interval '1 hour' AND NOT EXISTS (SELECT FROM said_events d WHERE d.event_id = e.id)
    ORDER BY e.id LIMIT :limit
""")
_NOTE_SAID = text("INSERT INTO said_events (event_id) SELECT unnest(CAST(:ids AS bigint[])) ON CONFLICT DO NOTHING")
_FORGET_SAID = text("DELETE FROM said_events WHERE said_at < now() - interval '1 day'")

log = structlog.get_logger(__name__)


class LiveUpkeep:
    """A duty: `do`, every few seconds, in one process or in several."""

    def __init__(self, address: BrokerAddress) -> None:
        """Describe the broker; it is connected to when there is something to say."""
        self._link = Link(address, "upkeep")
        self._waiting: list[int] = []
        """Meters to say since the broker was reached anew: it may have lost them."""
        self._is_failing = False

    def do(self, engine: Engine) -> None:
        """Do all that is due. A broker that is away is waited for."""
        try:
            if self._link.open():
                with engine.connect() as connection:
                    self._waiting = tree.list_read_meters(connection)
            self._waiting += clear_left(engine, self._link)
            while self._waiting:
                say_meters(engine, self._link, self._waiting[:IN_FLIGHT])
                del self._waiting[:IN_FLIGHT]
            while say_events(engine, self._link) == IN_FLIGHT:
                pass
        except LinkLost as error:
            if not self._is_failing:
                log.warning("live_topics_wait", error=str(error))
            self._is_failing = True
        else:
            self._is_failing = False

    def close(self) -> None:
        """End the connection."""
        self._link.close()


def clear_left(engine: Engine, link: Link) -> list[int]:
    """Clear the places that meters have left, and return those meters: they want to be said where they are now.

    All that can take a cleared place over are among them, or were waiting for it: who held it kept others out.
    Raises: LinkLost.
    """
    with engine.begin() as connection:
        if not tree.list_left(connection, 1):
            return []
        tree.take_turn(connection)
        left = tree.list_left(connection, _LEFT_AT_A_TIME)
        for some in _in_parts(left):
            link.say([Saying(place.topic, b"") for place in some])
        tree.forget(connection, [place.meter_id for place in left])
    log.info("live_topics_cleared", topics=len(left))
    with engine.connect() as connection:
        return tree.list_waiting(connection)


def say_events(engine: Engine, link: Link) -> int:
    """Say events that were not said yet; return how many. One may be said twice, when we are killed in between.

    Raises: LinkLost.
    """
    with engine.begin() as connection:
        if not connection.execute(_NEW_EVENTS, {"limit": 1}).first():
            return 0
        tree.take_turn(connection)
        rows = connection.execute(_NEW_EVENTS, {"limit": IN_FLIGHT}).all()
        link.say([saying for row in rows if (saying := _describe(row)) is not None])
        connection.execute(_NOTE_SAID, {"ids": [row.id for row in rows]})
        connection.execute(_FORGET_SAID)
    return len(rows)


def _describe(row: Row[Any]) -> Saying | None:
    event = LiveEvent(id=row.id, at=row.at, kind=row.kind, subject=row.subject, site=row.site, data=row.data)
    try:
        return Saying(topics.event(row.organisation, event.kind), encode_live(event), is_retained=False)
    except InvalidIdentifier as error:
        log.warning("event_topic_impossible", event_id=row.id, error=str(error))
        return None


def _in_parts(places: Sequence[tree.Place]) -> Iterator[Sequence[tree.Place]]:
    return (places[at : at + IN_FLIGHT] for at in range(0, len(places), IN_FLIGHT))
