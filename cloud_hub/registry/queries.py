"""What is registered: sites, controllers, meters, points. Lists are ordered and bounded."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, select, tuple_
from sqlalchemy.orm import Session, aliased

from cloud_hub.errors import Conflict, Invalid, NotFound
from cloud_hub.organisations.models import Organisation
from cloud_hub.registry.models import (
    Controller,
    LifeCycle,
    Meter,
    MeterGroupMember,
    MeterOwner,
    MeterRole,
    Point,
    Site,
)
from cloud_hub.web.pagination import Page, Window, cut

_DIGITS_MAX = 18


class UnknownSite(NotFound):
    """No site has that slug."""


class AmbiguousSite(Conflict):
    """Several sites have that slug."""


class UnknownMeter(NotFound):
    """No meter has that id."""


class UnknownPoint(NotFound):
    """No point has that id."""


class UnknownController(NotFound):
    """No controller has that id."""


class UnknownOrganisation(NotFound):
    """No organisation has that slug."""


@dataclass(frozen=True, slots=True)
class SiteFilter:
    """Which sites are wanted; None and empty are no condition."""

    organisation: str | None = None
    """A slug: of this organisation and of those below it."""
    tags: tuple[str, ...] = ()
    """With all of them."""
    text: str | None = None
    state: LifeCycle | None = None


@dataclass(frozen=True, slots=True)
class MeterFilter:
    """Which meters are wanted; None is no condition."""

    site_id: int | None = None
    controller_id: str | None = None
    organisation: str | None = None
    """A slug: of this organisation and of those below it."""
    group_id: int | None = None
    parent_id: int | None = None
    owner_id: int | None = None
    role: MeterRole | None = None
    state: LifeCycle | None = None
    text: str | None = None


def list_sites(session: Session, window: Window, wanted: SiteFilter | None = None) -> Page[Site]:
    """List sites by slug; several organisations may have one of the same."""
    query = select(Site).order_by(Site.slug, Site.id).limit(window.limit + 1)
    if window.after is not None:
        query = query.where(tuple_(Site.slug, Site.id) > tuple_(*_slug_and_id(window.after)))
    if wanted is not None:
        query = query.where(*_conditions_of_sites(session, wanted))
    return cut(session.scalars(query).all(), window, lambda site: f"{site.slug} {site.id}")


def get_site(session: Session, ref: str) -> Site:
    """Return the site of that slug, or of `organisation:slug`.

    Raises: UnknownSite; AmbiguousSite when several organisations in sight have a site of that slug.
    """
    organisation, colon, slug = ref.rpartition(":")
    query = select(Site).where(Site.slug == slug).limit(2)
    if colon:
        query = query.join(Organisation, Organisation.id == Site.organisation_id).where(
            Organisation.slug == organisation
        )
    sites = session.scalars(query).all()
    if not sites:
        raise UnknownSite(f"there is no site {ref!r}")
    if len(sites) > 1:
        raise AmbiguousSite(f"several organisations have a site {ref!r}: name it as ORGANISATION:{ref}")
    return sites[0]


def get_site_by_id(session: Session, site_id: int) -> Site:
    """Return the site with that id.

    Raises: UnknownSite.
    """
    site = session.get(Site, site_id)
    if site is None:
        raise UnknownSite(f"there is no site {site_id}")
    return site


def get_organisation(session: Session, slug: str) -> Organisation:
    """Return the organisation of that slug.

    Raises: UnknownOrganisation.
    """
    found = session.scalars(select(Organisation).where(Organisation.slug == slug)).one_or_none()
    if found is None:
        raise UnknownOrganisation(f"there is no organisation {slug!r}")
    return found


def map_organisation_slugs(session: Session, organisation_ids: Collection[int]) -> dict[int, str]:
    """Return the slugs of these organisations by their ids."""
    rows = session.execute(select(Organisation.id, Organisation.slug).where(Organisation.id.in_(organisation_ids)))
    return {row.id: row.slug for row in rows}


def map_site_refs(session: Session, sites: Sequence[Site]) -> dict[int, str]:
    """Return how links name these sites, by their ids: with the organisation where several in sight have the slug."""
    query = select(Site.slug).where(Site.slug.in_({site.slug for site in sites}))
    shared = set(session.scalars(query.group_by(Site.slug).having(func.count() > 1)))
    if not shared:
        return {site.id: site.slug for site in sites}
    organisations = map_organisation_slugs(session, {site.organisation_id for site in sites})
    return {
        site.id: f"{organisations[site.organisation_id]}:{site.slug}"
        if site.slug in shared and site.organisation_id in organisations
        else site.slug
        for site in sites
    }


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


def list_meters(session: Session, window: Window, wanted: MeterFilter | None = None) -> Page[Meter]:
    """List meters by id."""
    query = select(Meter).where(Meter.id > window.after_id).order_by(Meter.id).limit(window.limit + 1)
    if wanted is not None:
        query = query.where(*_conditions_of_meters(session, wanted))
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


def _conditions_of_sites(session: Session, wanted: SiteFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.organisation is not None:
        conditions.append(_is_in(session, Site.organisation_id, wanted.organisation))
    if wanted.tags:
        conditions.append(Site.tags.contains(list(wanted.tags)))
    if wanted.text is not None:
        address = (Site.address[key].astext for key in ("street", "postal_code", "city", "region"))
        conditions.append(func.concat_ws(" ", Site.slug, Site.name, *address).icontains(wanted.text, autoescape=True))
    if wanted.state is not None:
        conditions.append(Site.state == wanted.state)
    return conditions


def _conditions_of_meters(session: Session, wanted: MeterFilter) -> list[ColumnElement[bool]]:
    plain = {
        Meter.site_id: wanted.site_id,
        Meter.controller_id: wanted.controller_id,
        Meter.parent_id: wanted.parent_id,
        Meter.role: wanted.role,
        Meter.state: wanted.state,
    }
    conditions: list[ColumnElement[bool]] = [column == value for column, value in plain.items() if value is not None]
    if wanted.organisation is not None:
        conditions.append(_is_in(session, Meter.organisation_id, wanted.organisation))
    if wanted.group_id is not None:
        members = select(MeterGroupMember.meter_id).where(MeterGroupMember.group_id == wanted.group_id)
        conditions.append(Meter.id.in_(members))
    if wanted.owner_id is not None:
        conditions.append(Meter.id.in_(select(MeterOwner.meter_id).where(MeterOwner.user_id == wanted.owner_id)))
    if wanted.text is not None:
        said = func.concat_ws(" ", Meter.slug, Meter.label, Meter.serial_number)
        conditions.append(said.icontains(wanted.text, autoescape=True))
    return conditions


def _is_in(session: Session, column: Any, slug: str) -> ColumnElement[bool]:  # noqa: ANN401 - any table's column
    organisation = get_organisation(session, slug)
    below: ColumnElement[bool] = column.in_(
        select(Organisation.id).where(Organisation.lineage.contains([organisation.id]))
    )
    return below


def _slug_and_id(key: str) -> tuple[str, int]:
    slug, _, site_id = key.rpartition(" ")
    if not site_id.isdecimal() or not site_id.isascii() or len(site_id) > _DIGITS_MAX:
        raise Invalid("cursor is not one that this list gave out: begin without it")
    return slug, int(site_id)
