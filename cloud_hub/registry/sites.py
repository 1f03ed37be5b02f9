"""Write sites: register, edit, hand over to another organisation. Callers commit."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud_hub.access.models import Membership, MembershipSite
from cloud_hub.errors import Conflict
from cloud_hub.organisations.models import Organisation
from cloud_hub.registry.answers import site_out
from cloud_hub.registry.bodies import SitePart
from cloud_hub.registry.changes import tell_days_changed
from cloud_hub.registry.life_cycle import begin_life
from cloud_hub.registry.models import Meter, MeterGroup, MeterGroupMember, MeterOwner, Site
from cloud_hub.registry.queries import UnknownSite, get_site
from cloud_hub.registry.schemas import Address, Position
from cloud_hub.registry.trail import note, note_edit, where


class SiteExists(Conflict):
    """The organisation has a site of that slug already."""


def create_site(session: Session, organisation: Organisation, given: SitePart, *, who: str) -> Site:
    """Register a site.

    Raises: SiteExists.
    """
    said = given.model_dump(include={"slug", "name", "time_zone", "state"})
    placed = _place(given.address, given.position, given.tags)
    adding = insert(Site).values(organisation_id=organisation.id, **said, **placed)
    made = adding.on_conflict_do_nothing(index_elements=["organisation_id", "slug"]).returning(Site)
    site = session.scalars(made).one_or_none()
    if site is None:
        raise _taken(organisation, given.slug)
    begin_life(session, site, who=who)
    told = {"organisation": organisation.slug, "site": given.slug}
    after = told | given.model_dump(mode="json", include=set(SitePart.model_fields))
    note(session, where(site), who=who, kind="site.created", detail={"after": after}, data=told)
    return site


def lock_site(session: Session, ref: str) -> Site:
    """Return a site, its row locked; meters may be added meanwhile.

    Raises: UnknownSite, AmbiguousSite.
    """
    found = get_site(session, ref)
    query = select(Site).where(Site.id == found.id).with_for_update(key_share=True)
    site = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if site is None:
        raise UnknownSite(f"there is no site {ref!r}")
    return site


def edit_site(session: Session, site: Site, given: Mapping[str, Any], *, who: str) -> None:
    """Change what `given` has, of a site whose row is locked; with another zone its ledger is laid out anew."""
    before, zone = site_out(session, site).model_dump(mode="json"), site.time_zone
    for name in ("name", "time_zone"):
        if name in given:
            setattr(site, name, given[name])
    now = site_out(session, site)
    placed = _place(
        given.get("address", now.address),
        given.get("position", now.position),
        given.get("tags", now.tags),
    )
    for name, value in placed.items():
        setattr(site, name, value)
    session.flush()
    if site.time_zone != zone:
        tell_days_changed(session, list_meter_ids(session, site))
    after = site_out(session, site).model_dump(mode="json")
    note_edit(session, where(site), who=who, kind="site.changed", before=before, after=after)


def move_site(session: Session, site: Site, organisation: Organisation, *, who: str, why: str = "") -> None:
    """Let a site, its row locked, belong to another organisation, with all that is there.

    Groups, owners and grants of the organisation before end; the ledger is laid out anew, because intervals may be
    others. Raises: SiteExists.
    """
    if organisation.id == site.organisation_id:
        return
    known = select(Site.id).where(Site.organisation_id == organisation.id, Site.slug == site.slug)
    if session.scalars(known).one_or_none() is not None:
        raise _taken(organisation, site.slug)
    old = where(site)
    meter_ids = list_meter_ids(session, site)
    site.organisation_id = organisation.id
    session.flush()
    session.expire_all()  # the database has changed controllers and meters along with it
    leave_organisation(session, meter_ids, organisation.id)
    strangers = select(Membership.id).where(Membership.organisation_id.not_in(organisation.lineage))
    session.execute(
        delete(MembershipSite).where(MembershipSite.site_id == site.id, MembershipSite.membership_id.in_(strangers))
    )
    tell_days_changed(session, meter_ids)
    said = {"site": site.slug, "why": why}
    # The organisation before learns that it went, the one now that it came.
    for place in (old._replace(site_id=None), where(site)):
        note(session, place, who=who, kind="site.moved", detail=said, data=said)


def leave_organisation(session: Session, meter_ids: Collection[int], organisation_id: int) -> None:
    """Take meters that now belong to an organisation out of groups of another, and from owners who are no members."""
    foreign = select(MeterGroup.id).where(MeterGroup.organisation_id != organisation_id)
    session.execute(
        delete(MeterGroupMember).where(MeterGroupMember.meter_id.in_(meter_ids), MeterGroupMember.group_id.in_(foreign))
    )
    members = select(Membership.user_id).where(Membership.organisation_id == organisation_id)
    session.execute(delete(MeterOwner).where(MeterOwner.meter_id.in_(meter_ids), MeterOwner.user_id.not_in(members)))


def list_meter_ids(session: Session, site: Site) -> list[int]:
    """List the ids of all meters of a site."""
    return list(session.scalars(select(Meter.id).where(Meter.site_id == site.id).order_by(Meter.id)))


def _taken(organisation: Organisation, slug: str) -> SiteExists:
    return SiteExists(
        f"slug: organisation {organisation.slug!r} has a site {slug!r} already: choose another slug, or edit that site"
    )


def _place(address: Address, position: Position | None, tags: Collection[str]) -> dict[str, Any]:
    return {
        "address": address.model_dump(exclude_defaults=True),
        "latitude": None if position is None else position.latitude,
        "longitude": None if position is None else position.longitude,
        "tags": list(tags),
    }
