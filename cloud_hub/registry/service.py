"""Write the registry: sites, controllers, and what their manifests say of meters and points. Callers commit."""

import re
from collections.abc import Iterable
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.errors import Conflict, Invalid
from cloud_hub.registry.layout_rows import register_layouts
from cloud_hub.registry.life_cycle import advance, put_in_service
from cloud_hub.registry.models import Controller, LifeCycle, Meter, Site, StoredManifest
from cloud_hub.registry.queries import UnknownController, UnknownSite, get_organisation, get_site
from protocol.errors import InvalidIdentifier
from protocol.identifiers import parse_slug
from protocol.manifest import Layout, manifest_hash, parse_manifest

MAIN = "main"
"""The organisation that `hub init` makes."""

_REPORTED = "it reported what it reads"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def register_site(session: Session, slug: str, name: str, *, time_zone: str = "UTC", organisation: str = MAIN) -> Site:
    """Add a site to an organisation, or give its site of that slug this name and time zone.

    Raises: UnknownOrganisation; Invalid for a slug, name or time zone that cannot be.
    """
    _check_slug("site", slug)
    if not name.strip() or _CONTROL.search(name):
        raise Invalid(f"site {slug!r} needs a name in printable letters")
    try:
        ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Invalid(f"{time_zone!r} is no time zone: use a name such as 'Europe/Berlin'") from error
    organisation_id = get_organisation(session, organisation).id
    known = select(Site).where(Site.organisation_id == organisation_id, Site.slug == slug)
    site = session.scalars(known.with_for_update()).one_or_none()
    if site is None:
        site = Site(organisation_id=organisation_id, slug=slug)
        session.add(site)
    site.name, site.time_zone = name.strip(), time_zone
    session.flush()
    return site


def register_controller(session: Session, controller_id: str, *, site_slug: str) -> Controller:
    """Add a controller to a site, named as `get_site` takes it; one that is there already stays as it is.

    Raises: Invalid, UnknownSite, AmbiguousSite, Conflict when it belongs to another site.
    """
    _check_slug("controller", controller_id)
    try:
        site = get_site(session, site_slug)
    except UnknownSite as error:
        raise UnknownSite(f"{error}: register it first") from error
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
    of a registration. The controller is in service then, and so are its meters that were commissioned; one that is
    only planned stays so until somebody says from when on it counts. Raises: UnknownController, MalformedMessage.
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
    meter_ids = {slug: meter.id for slug, meter in meters.items()}
    register_layouts(session, controller_id, digest, manifest.layouts, meter_ids)
    _begin_service(session, controller, [meters[layout.meter] for layout in manifest.layouts])
    return digest


def _begin_service(session: Session, controller: Controller, meters: Iterable[Meter]) -> None:
    who = f"controller:{controller.id}"
    put_in_service(session, controller, who=who, why=_REPORTED)
    for meter in meters:
        if meter.state == LifeCycle.COMMISSIONED:
            advance(session, meter, LifeCycle.IN_SERVICE, who=who, why=_REPORTED)


def _register_meters(session: Session, controller: Controller, layouts: Iterable[Layout]) -> dict[str, Meter]:
    known = session.scalars(select(Meter).where(Meter.controller_id == controller.id))
    meters = {meter.slug: meter for meter in known}
    periods: dict[str, float] = {}
    # What comes on demand only says nothing of the cadence, but a meter needs one from its first layout on.
    for layout in sorted(layouts, key=lambda layout: layout.on_demand):
        if not layout.on_demand or layout.meter not in periods:
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


def _check_slug(what: str, slug: str) -> None:
    try:
        parse_slug(slug)
    except InvalidIdentifier as error:
        raise Invalid(f"the {what} id {error}") from error
