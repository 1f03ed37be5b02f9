"""How far the delivery of each controller's scans is: what is committed, still out there, missing, set aside."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import RowMapping, select, text
from sqlalchemy.orm import Session

from cloud_hub.organisations.models import Organisation
from cloud_hub.readings.models import Stream
from cloud_hub.registry.models import Controller, Site
from cloud_hub.web.pagination import Page, Window, cut
from protocol.messages import Presence
from protocol.scans import GapReason

# Set arithmetic is PostgreSQL's: what an agent announced, less what arrived in whatever form, waits.
_PER_STREAM = """
SELECT
    streams.id, streams.controller_id, streams.stream_id, streams.announced_next, streams.lowest_held,
    streams.first_seen_at, streams.last_seen_at, streams.closed_at,
    (SELECT coalesce(sum(upper(r) - lower(r)), 0)::int8 FROM unnest(streams.committed) AS r) AS committed,
    (SELECT coalesce(sum(upper(r) - lower(r)), 0)::int8 FROM unnest(streams.gaps) AS r) AS gaps,
    (SELECT coalesce(sum(upper(r) - lower(r)), 0)::int8 FROM unnest(streams.quarantined) AS r) AS quarantined,
    (SELECT coalesce(sum(upper(r) - lower(r)), 0)::int8 FROM unnest(lost.ranges) AS r) AS never_arrived,
    (SELECT coalesce(sum(upper(r) - lower(r)), 0)::int8 FROM unnest(
        int8multirange(int8range(1, greatest(1, streams.announced_next)))
        - streams.committed - streams.gaps - streams.quarantined - coalesce(lost.ranges, '{}')
    ) AS r) AS waiting
FROM streams
LEFT JOIN LATERAL (
    SELECT range_agg(sequences) AS ranges FROM gap_records
    WHERE gap_records.stream_pk = streams.id AND gap_records.reason = :never_arrived
) AS lost ON true
"""

_STREAMS = text(f"{_PER_STREAM} WHERE streams.id = ANY(:ids) ORDER BY streams.id")

_COUNTS = text(f"""
SELECT controller_id, sum(committed)::int8 AS committed, sum(waiting)::int8 AS waiting, sum(gaps)::int8 AS gaps,
       sum(never_arrived)::int8 AS never_arrived, sum(quarantined)::int8 AS quarantined
FROM ({_PER_STREAM} WHERE streams.controller_id = ANY(:controller_ids)) AS per_stream
GROUP BY controller_id
""")  # noqa: S608 - both parts stand in this file; values are bound


@dataclass(frozen=True, slots=True)
class Delivery:
    """Counts of scans."""

    committed: int = 0
    """In the database."""
    waiting: int = 0
    """Announced by the agent, not yet here: still on the controller or on the way."""
    gaps: int = 0
    """Given up by the agent, which said why."""
    never_arrived: int = 0
    """Announced by an agent that no longer has them."""
    quarantined: int = 0
    """Kept raw, because they could not be put through."""


@dataclass(frozen=True, slots=True)
class PlacedController:
    """A controller and where it stands."""

    controller: Controller
    site: str
    organisation: str
    """Their slugs."""


@dataclass(frozen=True, slots=True)
class StreamDelivery:
    """One run of an agent and how far its delivery is."""

    id: int
    controller_id: str
    stream_id: str
    """In hexadecimal."""
    announced_next: int
    lowest_held: int
    first_seen_at: datetime
    last_seen_at: datetime
    closed_at: datetime | None
    delivery: Delivery


def count_deliveries(session: Session, controller_ids: Collection[str]) -> dict[str, Delivery]:
    """Add up the streams of each of these controllers; one that never said a word counts nothing."""
    parameters = {"controller_ids": list(controller_ids), "never_arrived": GapReason.NEVER_ARRIVED.value}
    known = {row["controller_id"]: _delivery(row) for row in session.execute(_COUNTS, parameters).mappings()}
    return {controller_id: known.get(controller_id, Delivery()) for controller_id in controller_ids}


def list_controllers(
    session: Session,
    window: Window,
    *,
    site_id: int | None = None,
    organisation_id: int | None = None,
    presence: Presence | None = None,
) -> Page[PlacedController]:
    """List controllers by id: of one site, of an organisation and those below it, of one presence, when so asked."""
    query = (
        select(Controller, Site.slug.label("site"), Organisation.slug.label("organisation"))
        .join(Site, Site.id == Controller.site_id)
        .join(Organisation, Organisation.id == Site.organisation_id)
        .order_by(Controller.id)
        .limit(window.limit + 1)
    )
    if window.after is not None:
        query = query.where(Controller.id > window.after)
    if organisation_id is not None:
        query = query.where(Organisation.lineage.contains([organisation_id]))
    wanted = ((Controller.site_id, site_id), (Controller.presence, presence))
    query = query.where(*(column == value for column, value in wanted if value is not None))
    placed = [PlacedController(row.Controller, row.site, row.organisation) for row in session.execute(query)]
    return cut(placed, window, lambda one: one.controller.id)


def list_streams(
    session: Session, window: Window, *, controller_id: str | None = None, site_id: int | None = None
) -> Page[StreamDelivery]:
    """List streams in the order in which they were first seen; of one controller or one site, when so asked."""
    # Which streams, is asked by way of their controllers, whose rows say whose they are.
    query = select(Stream.id).join(Controller, Controller.id == Stream.controller_id)
    wanted = ((Controller.id, controller_id), (Controller.site_id, site_id))
    query = query.where(
        Stream.id > window.after_id, *(column == value for column, value in wanted if value is not None)
    )
    ids = list(session.scalars(query.order_by(Stream.id).limit(window.limit + 1)))
    parameters = {"ids": ids, "never_arrived": GapReason.NEVER_ARRIVED.value}
    rows: Sequence[RowMapping] = session.execute(_STREAMS, parameters).mappings().all() if ids else []
    return cut([_stream(row) for row in rows], window, lambda stream: stream.id)


def _stream(row: RowMapping) -> StreamDelivery:
    return StreamDelivery(
        id=row["id"],
        controller_id=row["controller_id"],
        stream_id=bytes(row["stream_id"]).hex(),
        announced_next=row["announced_next"],
        lowest_held=row["lowest_held"],
        first_seen_at=row["first_seen_at"],
        last_seen_at=row["last_seen_at"],
        closed_at=row["closed_at"],
        delivery=_delivery(row),
    )


def _delivery(row: RowMapping) -> Delivery:
    return Delivery(row["committed"], row["waiting"], row["gaps"], row["never_arrived"], row["quarantined"])
