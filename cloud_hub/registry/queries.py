"""What is registered: sites, controllers, meters, points. Lists are ordered and bounded."""

from collections.abc import Collection

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from cloud_hub.errors import NotFound
from cloud_hub.registry.models import Controller, Meter, Point, Site
from cloud_hub.web.pagination import Page, Window, cut


class UnknownSite(NotFound):
    """No site has that slug."""


class UnknownMeter(NotFound):
    """No meter has that id."""


class UnknownPoint(NotFound):
    """No point has that id."""


class UnknownController(NotFound):
    """No controller has that id."""


def list_sites(session: Session, window: Window) -> Page[Site]:
    """List sites by slug."""
    query = select(Site).order_by(Site.slug).limit(window.limit + 1)
    if window.after is not None:
        query = query.where(Site.slug > window.after)
    return cut(session.scalars(query).all(), window, lambda site: site.slug)


def get_site(session: Session, slug: str) -> Site:
    """Return the site of that slug.

    Raises: UnknownSite.
    """
    site = session.scalars(select(Site).where(Site.slug == slug)).one_or_none()
    if site is None:
        raise UnknownSite(f"there is no site {slug!r}")
    return site


def get_site_by_id(session: Session, site_id: int) -> Site:
    """Return the site with that id.

    Raises: UnknownSite.
    """
    site = session.get(Site, site_id)
    if site is None:
        raise UnknownSite(f"there is no site {site_id}")
    return site


def map_site_slugs(session: Session, site_ids: Collection[int]) -> dict[int, str]:
    """Return the slugs of these sites by their ids."""
    rows = session.execute(select(Site.id, Site.slug).where(Site.id.in_(site_ids)))
    return {row.id: row.slug for row in rows}


def list_controllers(session: Session, window: Window, site_id: int | None = None) -> Page[Controller]:
    """List controllers by id; of one site, when one is named."""
    query = select(Controller).order_by(Controller.id).limit(window.limit + 1)
    if window.after is not None:
        query = query.where(Controller.id > window.after)
    if site_id is not None:
        query = query.where(Controller.site_id == site_id)
    return cut(session.scalars(query).all(), window, lambda controller: controller.id)


def get_controller(session: Session, controller_id: str) -> Controller:
    """Return the controller with that id.

    Raises: UnknownController.
    """
    controller = session.get(Controller, controller_id)
    if controller is None:
        raise UnknownController(f"there is no controller {controller_id!r}")
    return controller


def list_controllers_of_sites(session: Session, site_ids: Collection[int], *, per_site: int) -> list[Controller]:
    """List the first controllers of each of these sites, by id."""
    rank = func.row_number().over(partition_by=Controller.site_id, order_by=Controller.id).label("rank")
    ranked = select(Controller, rank).where(Controller.site_id.in_(site_ids)).subquery()
    first = aliased(Controller, ranked)
    return list(session.scalars(select(first).where(ranked.c.rank <= per_site).order_by(first.id)))


def list_meters(session: Session, window: Window, site_id: int | None = None) -> Page[Meter]:
    """List meters by id; of one site, when one is named."""
    query = select(Meter).where(Meter.id > window.after_id).order_by(Meter.id).limit(window.limit + 1)
    if site_id is not None:
        query = query.where(Meter.site_id == site_id)
    return cut(session.scalars(query).all(), window, lambda meter: meter.id)


def list_meters_of_sites(session: Session, site_ids: Collection[int], *, per_site: int) -> list[Meter]:
    """List the first meters of each of these sites, in the order in which they were first seen."""
    rank = func.row_number().over(partition_by=Meter.site_id, order_by=Meter.id).label("rank")
    ranked = select(Meter, rank).where(Meter.site_id.in_(site_ids)).subquery()
    first = aliased(Meter, ranked)
    return list(session.scalars(select(first).where(ranked.c.rank <= per_site).order_by(first.id)))


def get_meter(session: Session, meter_id: int) -> Meter:
    """Return the meter with that id.

    Raises: UnknownMeter.
    """
    meter = session.get(Meter, meter_id)
    if meter is None:
        raise UnknownMeter(f"there is no meter {meter_id}")
    return meter


def map_meter_zones(session: Session) -> dict[int, str]:
    """Return the time zones of all meters' sites, by the meters' ids."""
    query = select(Meter.id, Site.time_zone).join(Site, Site.id == Meter.site_id)
    return {row.id: row.time_zone for row in session.execute(query)}


def list_points(session: Session, meter_ids: Collection[int]) -> list[Point]:
    """List all points of these meters, in the order in which they were first seen."""
    return list(session.scalars(select(Point).where(Point.meter_id.in_(meter_ids)).order_by(Point.id)))


def get_point(session: Session, point_id: int) -> Point:
    """Return the point with that id.

    Raises: UnknownPoint.
    """
    point = session.get(Point, point_id)
    if point is None:
        raise UnknownPoint(f"there is no point {point_id}")
    return point
