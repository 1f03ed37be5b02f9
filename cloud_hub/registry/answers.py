"""What is registered as the shapes that the API answers, a whole list with a few queries."""

from collections import defaultdict
from collections.abc import Collection, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.registry import queries
from cloud_hub.registry.models import Bus, Controller, Meter, MeterGroup, MeterGroupMember, MeterOwner, Site
from cloud_hub.registry.schemas import (
    Address,
    BusOut,
    ControllerRegistrationOut,
    GroupOut,
    MeterOut,
    Position,
    SiteOut,
)
from protocol.line_config import LineConfig


def sites_out(session: Session, sites: Sequence[Site]) -> list[SiteOut]:
    """Show sites; one query."""
    organisations = queries.map_organisation_slugs(session, {site.organisation_id for site in sites})
    return [_site_out(site, organisations.get(site.organisation_id, "")) for site in sites]


def site_out(session: Session, site: Site) -> SiteOut:
    """Show one site."""
    return sites_out(session, [site])[0]


def controllers_out(session: Session, controllers: Sequence[Controller]) -> list[ControllerRegistrationOut]:
    """Show controllers as they were registered; two queries."""
    sites = queries.map_site_slugs(session, {controller.site_id for controller in controllers})
    organisations = queries.map_organisation_slugs(session, {controller.organisation_id for controller in controllers})
    return [
        ControllerRegistrationOut(
            id=controller.id,
            site=sites[controller.site_id],
            organisation=organisations.get(controller.organisation_id, ""),
            label=controller.label,
            state=controller.state,
            created_at=controller.created_at,
        )
        for controller in controllers
    ]


def controller_out(session: Session, controller: Controller) -> ControllerRegistrationOut:
    """Show one controller as it was registered."""
    return controllers_out(session, [controller])[0]


def meters_out(session: Session, meters: Sequence[Meter]) -> list[MeterOut]:
    """Show meters; four queries at most."""
    sites = queries.map_site_slugs(session, {meter.site_id for meter in meters})
    organisations = queries.map_organisation_slugs(session, {meter.organisation_id for meter in meters})
    owners = _map_owners(session, [meter.id for meter in meters])
    buses = _map_bus_slugs(session, {meter.bus_id for meter in meters if meter.bus_id is not None})
    return [
        MeterOut(
            id=meter.id,
            slug=meter.slug,
            controller_id=meter.controller_id,
            site=sites[meter.site_id],
            organisation=organisations.get(meter.organisation_id, ""),
            label=meter.label,
            profile=meter.profile,
            period_s=meter.period_s,
            role=meter.role,
            serial_number=meter.serial_number,
            parent_id=meter.parent_id,
            bus=None if meter.bus_id is None else buses[meter.bus_id],
            unit_id=meter.unit_id,
            owners=owners[meter.id],
            state=meter.state,
            commissioned_at=meter.commissioned_at,
            replaced_by_id=meter.replaced_by_id,
            created_at=meter.created_at,
        )
        for meter in meters
    ]


def meter_out(session: Session, meter: Meter) -> MeterOut:
    """Show one meter."""
    return meters_out(session, [meter])[0]


def bus_out(bus: Bus) -> BusOut:
    """Show a bus, with what its line has as usual filled in."""
    line = LineConfig.model_validate({"id": bus.slug, **bus.line}).model_dump(mode="json")
    if line["host"] is None:  # a serial line has no port
        line["port"] = None
    return BusOut(bus_id=bus.id, controller=bus.controller_id, **line)


def group_out(session: Session, group: MeterGroup) -> GroupOut:
    """Show one group with those of its members that are in sight."""
    query = select(MeterGroupMember.meter_id).where(MeterGroupMember.group_id == group.id)
    members = session.scalars(query.order_by(MeterGroupMember.meter_id)).all()
    organisation = queries.map_organisation_slugs(session, [group.organisation_id]).get(group.organisation_id, "")
    return GroupOut(id=group.id, organisation=organisation, slug=group.slug, name=group.name, meters=list(members))


def _site_out(site: Site, organisation: str) -> SiteOut:
    is_placed = site.latitude is not None and site.longitude is not None
    return SiteOut(
        slug=site.slug,
        organisation=organisation,
        name=site.name,
        time_zone=site.time_zone,
        address=Address.model_validate(site.address),
        position=Position(latitude=site.latitude, longitude=site.longitude) if is_placed else None,
        tags=site.tags,
        state=site.state,
        created_at=site.created_at,
    )


def _map_owners(session: Session, meter_ids: Collection[int]) -> dict[int, list[int]]:
    owners: defaultdict[int, list[int]] = defaultdict(list)
    query = select(MeterOwner.meter_id, MeterOwner.user_id).where(MeterOwner.meter_id.in_(meter_ids))
    for row in session.execute(query.order_by(MeterOwner.user_id)):
        owners[row.meter_id].append(row.user_id)
    return owners


def _map_bus_slugs(session: Session, bus_ids: Collection[int]) -> dict[int, str]:
    if not bus_ids:
        return {}
    rows = session.execute(select(Bus.id, Bus.slug).where(Bus.id.in_(bus_ids)))
    return {row.id: row.slug for row in rows}
