"""What an export is about: which points, which time; and one view of the database for as long as it takes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, select, text
from sqlalchemy.orm import Session

from cloud_hub.calendar.days import ms_of_instant, start_of_day
from cloud_hub.errors import Invalid, NotFound
from cloud_hub.organisations.models import Organisation
from cloud_hub.registry import queries
from cloud_hub.registry.models import Meter, Point, Site
from protocol.manifest import PointKind


class NothingSelected(NotFound):
    """No point answers to all that was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which points; what is None chooses nothing out."""

    organisation: str | None = None
    """Its slug."""
    site: str | None = None
    """Its slug, or `organisation:slug`."""
    meter_id: int | None = None
    meter: str | None = None
    """Its id at its controller."""
    point_id: int | None = None
    point: str | None = None
    """Its name, alike at many meters."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A point, and all that a file says of where it is."""

    point_id: int
    meter_id: int
    organisation: str
    site: str
    zone: ZoneInfo
    interval_s: int
    controller: str
    meter: str
    meter_label: str
    point: str
    quantity: str
    unit: str
    period_s: float
    """Of its meter."""


@dataclass(frozen=True, slots=True)
class Range:
    """A stretch of time without its end. A date is the local midnight that it begins with, at each site its own."""

    start: date | datetime
    end: date | datetime

    def bounds_ms(self, zone: ZoneInfo) -> tuple[int, int]:
        """Return it in UTC milliseconds since 1970, for a site of that zone."""
        return _edge_ms(self.start, zone), _edge_ms(self.end, zone)


def make_range(start: date | datetime, end: date | datetime) -> Range:
    """Make a range.

    Raises: Invalid when it ends before it begins.
    """
    utc = ZoneInfo("UTC")
    if _edge_ms(end, utc) <= _edge_ms(start, utc):
        raise Invalid(f"to ({end}) is not after from ({start}): a range begins at from and ends before to")
    return Range(start, end)


def _edge_ms(edge: date | datetime, zone: ZoneInfo) -> int:
    return ms_of_instant(edge if isinstance(edge, datetime) else start_of_day(edge, zone))


def open_snapshot(session: Session) -> None:
    """Let the session see the database as it is now, however long it reads. It must not have changed anything.

    An export of many parts so fits together: no interval changes between the first page and the last.
    """
    session.rollback()
    session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    session.execute(text("SET TRANSACTION READ ONLY"))


def choose_points(session: Session, selection: Selection, *, counters_only: bool = False) -> list[Chosen]:
    """List the points of a selection by site, controller, meter and name.

    Raises: NotFound when what is named does not exist, NothingSelected when nothing is left.
    """
    query = (
        select(Point, Meter, Site, Organisation)
        .join(Meter, Meter.id == Point.meter_id)
        .join(Site, Site.id == Meter.site_id)
        .join(Organisation, Organisation.id == Site.organisation_id)
        .where(*_conditions(session, selection))
        .order_by(Organisation.slug, Site.slug, Meter.controller_id, Meter.slug, Point.name)
    )
    if counters_only:
        query = query.where(Point.kind == PointKind.COUNTER.value)
    chosen = [_chosen(point, meter, site, organisation) for point, meter, site, organisation in session.execute(query)]
    if not chosen:
        what = "counter" if counters_only else "point"
        raise NothingSelected(f"no {what} answers to all that was asked for: ask for less at once")
    return chosen


def _conditions(session: Session, selection: Selection) -> Iterator[ColumnElement[bool]]:
    if selection.organisation is not None:
        known = session.scalars(
            select(Organisation.id).where(Organisation.slug == selection.organisation)
        ).one_or_none()
        if known is None:
            raise NotFound(f"there is no organisation {selection.organisation!r}")
        yield Organisation.id == known
    if selection.site is not None:
        yield Site.id == queries.get_site(session, selection.site).id
    if selection.meter_id is not None:
        yield Meter.id == queries.get_meter(session, selection.meter_id).id
    if selection.meter is not None:
        yield Meter.slug == selection.meter
    if selection.point_id is not None:
        yield Point.id == queries.get_point(session, selection.point_id).id
    if selection.point is not None:
        yield Point.name == selection.point


def _chosen(point: Point, meter: Meter, site: Site, organisation: Organisation) -> Chosen:
    return Chosen(
        point_id=point.id,
        meter_id=meter.id,
        organisation=organisation.slug,
        site=site.slug,
        zone=ZoneInfo(site.time_zone),
        interval_s=organisation.interval_s,
        controller=meter.controller_id,
        meter=meter.slug,
        meter_label=meter.label,
        point=point.name,
        quantity=point.quantity,
        unit=point.unit,
        period_s=meter.period_s,
    )


def by_meter(chosen: Sequence[Chosen]) -> list[list[Chosen]]:
    """Put the points of each meter together; they stand side by side already."""
    groups: list[list[Chosen]] = []
    for one in chosen:
        if not groups or groups[-1][0].meter_id != one.meter_id:
            groups.append([])
        groups[-1].append(one)
    return groups
