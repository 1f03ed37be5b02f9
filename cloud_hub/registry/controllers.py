"""Write controllers: register, edit, move to another site. Callers commit."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud_hub.errors import Conflict
from cloud_hub.registry.answers import controller_out
from cloud_hub.registry.changes import tell_days_changed
from cloud_hub.registry.kinship import refuse_torn_apart
from cloud_hub.registry.life_cycle import begin_life
from cloud_hub.registry.models import Controller, LifeCycle, Meter, Site
from cloud_hub.registry.queries import UnknownController
from cloud_hub.registry.sites import leave_organisation
from cloud_hub.registry.trail import note, note_edit, where


class ControllerExists(Conflict):
    """The hub has a controller of that id already, perhaps of somebody else."""


class SiteRetired(Conflict):
    """Nothing can be added to a site that is retired."""


def create_controller(
    session: Session, site: Site, controller_id: str, *, label: str = "", state: LifeCycle, who: str
) -> Controller:
    """Register a controller at a site; its id is unique in the whole hub, whosever it is.

    Raises: ControllerExists, SiteRetired.
    """
    refuse_retired(site)
    # Those of other tenants are out of sight, so the database is asked to refuse.
    made = session.execute(
        insert(Controller)
        .values(id=controller_id, site_id=site.id, label=label, state=state)
        .on_conflict_do_nothing()
        .returning(Controller.id)
    )
    if made.scalar_one_or_none() is None:
        raise ControllerExists(
            f"id: there is a controller {controller_id!r} already: ids are unique in the whole hub, choose another one"
        )
    controller = session.get_one(Controller, controller_id)
    begin_life(session, controller, who=who)
    said = controller_out(session, controller).model_dump(mode="json", exclude={"created_at"})
    note(session, where(controller), who=who, kind="controller.created", detail={"after": said}, data=said)
    return controller


def lock_controller(session: Session, controller_id: str) -> Controller:
    """Return a controller, its row locked against manifests and other changes.

    Raises: UnknownController.
    """
    query = select(Controller).where(Controller.id == controller_id).with_for_update(key_share=True)
    controller = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if controller is None:
        raise UnknownController(f"there is no controller {controller_id!r}")
    return controller


def edit_controller(session: Session, controller: Controller, given: Mapping[str, Any], *, who: str) -> None:
    """Change what `given` has, of a controller whose row is locked."""
    before = controller_out(session, controller).model_dump(mode="json")
    if "label" in given:
        controller.label = given["label"]
    session.flush()
    after = controller_out(session, controller).model_dump(mode="json")
    note_edit(session, where(controller), who=who, kind="controller.changed", before=before, after=after)


def move_controller(
    session: Session, controller: Controller, site: Site, *, with_meters: bool, who: str, why: str = ""
) -> None:
    """Let a controller, its row locked, belong to another site; its meters of the present site go along if wanted.

    Raises: SiteRetired, TornApart when a meter that goes hangs on one that stays, or the other way round.
    """
    if site.id == controller.site_id:
        return
    refuse_retired(site)
    old, old_site_id = where(controller), controller.site_id
    meters: list[Meter] = []
    if with_meters:
        ours = select(Meter).where(Meter.controller_id == controller.id, Meter.site_id == old_site_id)
        meters = list(session.scalars(ours.order_by(Meter.id).with_for_update(key_share=True)))
        refuse_torn_apart(session, [meter.id for meter in meters])
    controller.site_id = site.id
    move_meters(session, meters, site)
    said = {"controller": controller.id, "meters": [meter.id for meter in meters], "why": why}
    places = [where(controller)] if old.organisation_id == site.organisation_id else [old, where(controller)]
    for place in places:
        note(session, place, who=who, kind="controller.moved", detail=said, data=said)


def move_meters(session: Session, meters: list[Meter], site: Site) -> None:
    """Let meters, their rows locked, belong to a site; what its zone or organisation makes different is done anew."""
    before = {meter.id: (meter.organisation_id, meter.site_id) for meter in meters}
    rows = session.execute(select(Site.id, Site.time_zone).where(Site.id.in_({at for _, at in before.values()})))
    zones = {row.id: row.time_zone for row in rows}
    for meter in meters:
        meter.site_id = site.id
    session.flush()
    for meter in meters:
        session.refresh(meter, ["organisation_id"])
    handed_over = [meter_id for meter_id, (owner, _) in before.items() if owner != site.organisation_id]
    if handed_over:
        leave_organisation(session, handed_over, site.organisation_id)
    others = [
        meter_id
        for meter_id, (owner, at) in before.items()
        if owner != site.organisation_id or zones[at] != site.time_zone
    ]
    tell_days_changed(session, others)


def refuse_retired(site: Site) -> None:
    """Refuse to add to a site that is retired.

    Raises: SiteRetired.
    """
    if site.state == LifeCycle.RETIRED:
        raise SiteRetired(f"site {site.slug!r} is retired: nothing can be added to it")
