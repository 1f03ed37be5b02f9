"""Write the registry: sites, controllers, and what their manifests say of meters and points. Callers commit."""

import re
from collections.abc import Iterable
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.errors import Conflict, Invalid, NotFound
from cloud_hub.registry.models import Controller, ManifestLayout, Meter, Point, Site, StoredLayout, StoredManifest
from protocol.errors import InvalidIdentifier
from protocol.identifiers import parse_slug
from protocol.manifest import Layout, manifest_hash, parse_manifest

log = structlog.get_logger(__name__)

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class UnknownController(NotFound):
    """No controller of that id is registered."""


class UnknownSite(NotFound):
    """No site of that slug is registered."""


def register_site(session: Session, slug: str, name: str, *, time_zone: str = "UTC") -> Site:
    """Add a site, or give the one of that slug this name and time zone.

    Raises: Invalid for a slug, name or time zone that cannot be.
    """
    _check_slug("site", slug)
    if not name.strip() or _CONTROL.search(name):
        raise Invalid(f"site {slug!r} needs a name in printable letters")
    try:
        ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Invalid(f"{time_zone!r} is no time zone: use a name such as 'Europe/Berlin'") from error
    site = session.scalars(select(Site).where(Site.slug == slug).with_for_update()).one_or_none()
    if site is None:
        site = Site(slug=slug)
        session.add(site)
    site.name, site.time_zone = name.strip(), time_zone
    session.flush()
    return site


def register_controller(session: Session, controller_id: str, *, site_slug: str) -> Controller:
    """Add a controller to a site; one that is there already stays as it is.

    Raises: Invalid, UnknownSite, Conflict when it belongs to another site.
    """
    _check_slug("controller", controller_id)
    site = session.scalars(select(Site).where(Site.slug == site_slug)).one_or_none()
    if site is None:
        raise UnknownSite(f"there is no site {site_slug!r}: register it first")
    controller = session.get(Controller, controller_id)
    if controller is None:
        controller = Controller(id=controller_id, site_id=site.id)
        session.add(controller)
        session.flush()
    elif controller.site_id != site.id:
        raise Conflict(f"controller {controller_id!r} belongs to another site than {site_slug!r}")
    return controller


def register_manifest(session: Session, controller_id: str, body: bytes) -> bytes:
    """Take in a controller's manifest and return its hash; one that is known changes nothing.

    Meters that nobody registered are added under the controller's site: no reading is lost for want
    of a registration. Raises: UnknownController, MalformedMessage.
    """
    # The lock keeps two processes from adding the same meter, point or layout twice.
    controller = session.scalars(
        select(Controller).where(Controller.id == controller_id).with_for_update()
    ).one_or_none()
    if controller is None:
        raise UnknownController(f"there is no controller {controller_id!r}: register it first")
    digest = manifest_hash(body)
    if session.get(StoredManifest, (controller_id, digest)) is not None:
        return digest
    manifest = parse_manifest(body)
    session.add(StoredManifest(controller_id=controller_id, hash=digest, body=body))
    session.flush()
    meters = _register_meters(session, controller, manifest.layouts)
    points = _register_points(session, controller_id, meters, manifest.layouts)
    layout_ids = _register_layouts(
        session,
        controller_id,
        [
            (meters[layout.meter].id, tuple(points[layout.meter, point.name].id for point in layout.points))
            for layout in manifest.layouts
        ],
    )
    session.add_all(
        ManifestLayout(controller_id=controller_id, manifest_hash=digest, index=index, layout_id=layout_id)
        for index, layout_id in enumerate(layout_ids)
    )
    session.flush()
    return digest


def _register_meters(session: Session, controller: Controller, layouts: Iterable[Layout]) -> dict[str, Meter]:
    known = session.scalars(select(Meter).where(Meter.controller_id == controller.id))
    meters = {meter.slug: meter for meter in known}
    periods: dict[str, float] = {}
    for layout in layouts:
        periods[layout.meter] = min(layout.period_s, periods.get(layout.meter, layout.period_s))
        meter = meters.get(layout.meter)
        if meter is None:
            meter = Meter(
                controller_id=controller.id, slug=layout.meter, site_id=controller.site_id, label=layout.label
            )
            meters[layout.meter] = meter
            session.add(meter)
        meter.profile, meter.period_s = layout.profile, periods[layout.meter]
    session.flush()
    return meters


def _register_points(
    session: Session, controller_id: str, meters: dict[str, Meter], layouts: Iterable[Layout]
) -> dict[tuple[str, str], Point]:
    """Return every point of the layouts by meter slug and name, adding those that are new."""
    known = {
        (slug, point.name): point
        for slug, point in session.execute(
            select(Meter.slug, Point)
            .join(Point, Point.meter_id == Meter.id)
            .where(Meter.controller_id == controller_id)
        )
    }
    for layout in layouts:
        for said in layout.points:
            point = known.get((layout.meter, said.name))
            if point is None:
                point = Point(meter_id=meters[layout.meter].id, name=said.name)
                known[layout.meter, said.name] = point
                session.add(point)
            elif (point.quantity, point.unit, point.kind) != (said.quantity, said.unit, said.kind):
                # The newest manifest wins. It should never happen: older values keep their unit.
                log.warning("point_redefined", meter=layout.meter, point=said.name, before=point.unit, now=said.unit)
            point.quantity, point.unit, point.kind = said.quantity, said.unit, said.kind.value
    session.flush()
    return known


def _register_layouts(session: Session, controller_id: str, wanted: list[tuple[int, tuple[int, ...]]]) -> list[int]:
    """Return the id of each layout, given as meter and ordered points, adding those that are new."""
    rows = session.scalars(
        select(StoredLayout).join(Meter, Meter.id == StoredLayout.meter_id).where(Meter.controller_id == controller_id)
    )
    known = {(layout.meter_id, tuple(layout.point_ids)): layout for layout in rows}
    for meter_id, point_ids in wanted:
        if (meter_id, point_ids) not in known:
            layout = StoredLayout(meter_id=meter_id, point_ids=list(point_ids))
            known[meter_id, point_ids] = layout
            session.add(layout)
    session.flush()
    return [known[key].id for key in wanted]


def _check_slug(what: str, slug: str) -> None:
    try:
        parse_slug(slug)
    except InvalidIdentifier as error:
        raise Invalid(f"the {what} id {error}") from error
