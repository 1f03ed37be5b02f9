"""Write meters: register, edit, let users own them. Callers commit."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud_hub.access.models import Membership
from cloud_hub.errors import Conflict, Invalid
from cloud_hub.registry.answers import meter_out
from cloud_hub.registry.bodies import MeterPart
from cloud_hub.registry.buses import get_bus_of
from cloud_hub.registry.changes import tell_commissioned
from cloud_hub.registry.controllers import move_meters, refuse_retired
from cloud_hub.registry.kinship import refuse_torn_apart, set_parent
from cloud_hub.registry.life_cycle import begin_life
from cloud_hub.registry.meter_profiles import require_profile
from cloud_hub.registry.models import Bus, Controller, LifeCycle, Meter, MeterOwner, Site
from cloud_hub.registry.queries import UnknownMeter, get_meter
from cloud_hub.registry.trail import note, note_edit, where


class MeterExists(Conflict):
    """The controller has a meter of that slug already."""


class ControllerRetired(Conflict):
    """Nothing can be added to a controller that is retired."""


class NoMember(Invalid):
    """A meter's owners are members of its organisation."""


def create_meter(
    session: Session,
    controller: Controller,
    site: Site,
    slug: str,
    given: MeterPart,
    *,
    who: str,
    parent: Meter | None = None,
    bus: Bus | None = None,
) -> Meter:
    """Register a meter behind a controller whose row is locked; its manifest finds it by its slug.

    Raises: MeterExists, ControllerRetired, SiteRetired, NoProfile, NoParent, NoMember.
    """
    if controller.state == LifeCycle.RETIRED:
        raise ControllerRetired(f"controller {controller.id!r} is retired: nothing can be added to it")
    refuse_retired(site)
    require_profile(session, site.organisation_id, given.profile)
    said = given.model_dump(include=set(MeterPart.model_fields) - {"owners"})
    keys = {"controller_id": controller.id, "slug": slug, "site_id": site.id, "bus_id": None if bus is None else bus.id}
    adding = insert(Meter).values(**keys, **said).on_conflict_do_nothing(index_elements=["controller_id", "slug"])
    meter = session.scalars(adding.returning(Meter)).one_or_none()
    if meter is None:
        raise MeterExists(
            f"slug: controller {controller.id!r} has a meter {slug!r} already: choose another slug, or edit that meter"
        )
    if parent is not None:
        set_parent(session, meter, parent)
    if given.owners:
        set_owners(session, meter, given.owners)
    life = begin_life(session, meter, who=who)
    if given.state == LifeCycle.COMMISSIONED:
        tell_commissioned(session, meter, life.at, who)
    told = {"controller": controller.id, "meter": slug, "site": site.slug}
    after = told | given.model_dump(mode="json", include=set(MeterPart.model_fields)) | {"parent_id": meter.parent_id}
    note(session, where(meter), who=who, kind="meter.created", detail={"after": after}, data=told)
    return meter


def find_meter(session: Session, controller_id: str, slug: str) -> Meter | None:
    """Return the meter of that slug behind a controller."""
    return session.scalars(select(Meter).where(Meter.controller_id == controller_id, Meter.slug == slug)).one_or_none()


def get_meter_of(session: Session, controller_id: str, slug: str) -> Meter:
    """Return the meter of that slug behind a controller, as the parent of another.

    Raises: UnknownMeter.
    """
    meter = find_meter(session, controller_id, slug)
    if meter is None:
        raise UnknownMeter(
            f"parent: controller {controller_id!r} has no meter {slug!r}: register it first, or earlier in the same list"
        )
    return meter


def lock_meter(session: Session, meter_id: int) -> Meter:
    """Return a meter, its row locked; readings may come meanwhile.

    Raises: UnknownMeter.
    """
    query = select(Meter).where(Meter.id == meter_id).with_for_update(key_share=True)
    meter = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if meter is None:
        raise UnknownMeter(f"there is no meter {meter_id}")
    return meter


def edit_meter(session: Session, meter: Meter, given: Mapping[str, Any], *, who: str, site: Site | None = None) -> None:
    """Change what `given` has, of a meter whose row is locked; `site` is the one that `given` names.

    Raises: NoProfile, NoParent, UnknownBus, NoMember, TornApart, SiteRetired.
    """
    before, old = meter_out(session, meter).model_dump(mode="json"), where(meter)
    if given.get("profile", meter.profile) != meter.profile:
        require_profile(session, meter.organisation_id, given["profile"])
    for name in ("label", "profile", "serial_number", "role", "unit_id", "period_s"):
        if name in given:
            setattr(meter, name, given[name])
    if "bus" in given:
        meter.bus_id = None if given["bus"] is None else get_bus_of(session, meter.controller_id, given["bus"]).id
    moves = site is not None and site.id != meter.site_id
    if "parent_id" in given and (moves or given["parent_id"] is None):
        set_parent(session, meter, None)
    if site is not None and moves:
        refuse_retired(site)
        refuse_torn_apart(session, [meter.id])
        move_meters(session, [meter], site)
    if given.get("parent_id") is not None:
        set_parent(session, meter, get_meter(session, given["parent_id"]))
    if "owners" in given:
        set_owners(session, meter, given["owners"])
    session.flush()
    after = meter_out(session, meter).model_dump(mode="json")
    kind = "meter.moved" if moves else "meter.changed"
    note_edit(session, where(meter), who=who, kind=kind, before=before, after=after)
    if old.organisation_id != meter.organisation_id:
        said = {"controller": meter.controller_id, "meter": meter.slug}
        note(session, old, who=who, kind=kind, detail=said, data=said)


def set_owners(session: Session, meter: Meter, user_ids: Collection[int]) -> None:
    """Let exactly these users own a meter.

    Raises: NoMember.
    """
    members = select(Membership.user_id).where(
        Membership.user_id.in_(user_ids), Membership.organisation_id == meter.organisation_id
    )
    strangers = set(user_ids) - set(session.scalars(members))
    if strangers:
        raise NoMember(
            f"owners: there is no user {min(strangers)} in the meter's organisation: invite them first, or leave them out"
        )
    session.execute(delete(MeterOwner).where(MeterOwner.meter_id == meter.id))
    if user_ids:
        session.execute(insert(MeterOwner), [{"meter_id": meter.id, "user_id": user_id} for user_id in user_ids])
