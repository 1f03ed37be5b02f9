"""The live tree as the database wants it: where each meter's readings stand, and what they say."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from cloud_hub.readings.service import LatestReading, list_latest
from protocol import topics
from protocol.errors import InvalidIdentifier
from protocol.live import LiveMeter, LiveValue, encode_live
from protocol.quality import Quality, quality_name
from protocol.topics import LiveTopic

_LOCK = 0x6C697665  # any number, as long as every publisher takes the same

# A meter's place: of two with one id on a site, the one that was there first has the plain name. What has ended has none.
_PLACES = """
    SELECT m.id AS meter_id, o.slug AS organisation, s.slug AS site,
           m.slug || CASE WHEN EXISTS (
               SELECT FROM meters first WHERE first.site_id = m.site_id AND first.slug = m.slug AND first.id < m.id
                   AND first.state NOT IN ('replaced', 'retired')
           ) THEN '~' || m.controller_id ELSE '' END AS meter
    FROM meters m JOIN sites s ON s.id = m.site_id JOIN organisations o ON o.id = m.organisation_id
    WHERE m.state NOT IN ('replaced', 'retired') AND s.state <> 'retired'
"""
_SAME = "(t.organisation, t.site, t.meter) = (p.organisation, p.site, p.meter)"

_TAKE_PLACES = text(f"""
    INSERT INTO live_topics (meter_id, organisation, site, meter)
    SELECT p.meter_id, p.organisation, p.site, p.meter FROM ({_PLACES}) p
    WHERE p.meter_id = ANY (:meter_ids) AND NOT EXISTS (SELECT FROM live_topics t WHERE t.meter_id = p.meter_id)
    ON CONFLICT DO NOTHING
""")  # noqa: S608 - constants of ours, as all below
_HELD_PLACES = text(f"""
    SELECT t.meter_id, t.organisation, t.site, t.meter FROM live_topics t
    JOIN ({_PLACES}) p ON p.meter_id = t.meter_id AND {_SAME}
    WHERE t.meter_id = ANY (:meter_ids)
""")  # noqa: S608
_LEFT_PLACES = text(f"""
    SELECT t.meter_id, t.organisation, t.site, t.meter FROM live_topics t
    LEFT JOIN ({_PLACES}) p ON p.meter_id = t.meter_id
    WHERE p.meter_id IS NULL OR NOT {_SAME}
    ORDER BY t.meter_id LIMIT :limit
""")  # noqa: S608
_WAITING = text(f"""
    SELECT p.meter_id FROM ({_PLACES}) p
    WHERE EXISTS (SELECT FROM scan_latest l WHERE l.meter_id = p.meter_id)
      AND NOT EXISTS (SELECT FROM live_topics t WHERE t.meter_id = p.meter_id)
    ORDER BY p.meter_id
""")  # noqa: S608
_FORGET = text("DELETE FROM live_topics WHERE meter_id = ANY (:meter_ids)")
_READ_METERS = text(f"""
    SELECT p.meter_id FROM ({_PLACES}) p
    WHERE EXISTS (SELECT FROM scan_latest l WHERE l.meter_id = p.meter_id) ORDER BY p.meter_id
""")  # noqa: S608
_POINTS = text("SELECT id, name, unit FROM points WHERE meter_id = ANY (:meter_ids)")


log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """A meter and where its readings stand."""

    meter_id: int
    topic: str


def take_turn(connection: Connection) -> None:
    """Wait until no other process says anything, until the transaction ends.

    Whoever holds it reads what is committed and says it before letting go: so the last to speak of a meter is never
    the one who knows less, however many processes there are.
    """
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def take_places(connection: Connection, meter_ids: Collection[int]) -> None:
    """Note where meters will stand that stand nowhere yet. Commit before anything is said there."""
    connection.execute(_TAKE_PLACES, {"meter_ids": list(meter_ids)})


def list_held(connection: Connection, meter_ids: Collection[int]) -> list[Place]:
    """List which of these meters stand where they should; the others wait until their old place is cleared."""
    return _places(connection.execute(_HELD_PLACES, {"meter_ids": list(meter_ids)}))


def list_left(connection: Connection, limit: int) -> list[Place]:
    """List places where a meter stands that was renamed, moved or deleted since."""
    return _places(connection.execute(_LEFT_PLACES, {"limit": limit}))


def forget(connection: Connection, meter_ids: Collection[int]) -> None:
    """Note that these meters stand nowhere any more."""
    connection.execute(_FORGET, {"meter_ids": list(meter_ids)})


def list_read_meters(connection: Connection) -> list[int]:
    """List the meters of which there are readings."""
    return list(connection.scalars(_READ_METERS))


def list_waiting(connection: Connection) -> list[int]:
    """List the meters of which there are readings, and which stand nowhere yet."""
    return list(connection.scalars(_WAITING))


def load_messages(session: Session, meter_ids: Collection[int]) -> dict[int, bytes]:
    """Return what stands for these meters: their newest readings. A meter without any is left out."""
    points = {row.id: (row.name, row.unit) for row in session.execute(_POINTS, {"meter_ids": list(meter_ids)})}
    readings: defaultdict[int, list[LatestReading]] = defaultdict(list)
    for reading in list_latest(session, meter_ids):
        if reading.point_id in points:
            readings[reading.meter_id].append(reading)
    return {meter_id: encode_live(_describe(some, points)) for meter_id, some in readings.items()}


def _describe(readings: Sequence[LatestReading], points: dict[int, tuple[str, str]]) -> LiveMeter:
    newest = max(reading.observed_at for reading in readings)
    values = {}
    for reading in readings:
        name, unit = points[reading.point_id]
        values[name] = LiveValue(
            value=reading.value,
            unit=unit,
            quality=None if reading.quality == Quality.GOOD else quality_name(reading.quality),
            observed_at=None if reading.observed_at == newest else reading.observed_at,
        )
    return LiveMeter(observed_at=newest, values=dict(sorted(values.items())))


def _places(rows: Iterable[tuple[int, str, str, str]]) -> list[Place]:
    places = []
    for meter_id, *names in rows:
        try:
            places.append(Place(meter_id, topics.live(LiveTopic(*names))))
        except InvalidIdentifier as error:
            # One name that no topic can have keeps no other from being said.
            log.warning("live_topic_impossible", meter_id=meter_id, error=str(error))
    return places
