"""Find what is to be looked at: a meter, group, site or organisation, and the registers that count for it."""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.analysis.counting import (
    MeterFact,
    RegisterFact,
    count_group,
    count_meter,
    count_site,
    measures_of,
    without_heat_volumes,
)
from cloud_hub.analysis.model import Counted, Measure, Scope, ScopeKind, SitePart
from cloud_hub.calendar.days import ms_of_instant
from cloud_hub.energy.model import Direction
from cloud_hub.errors import Invalid, NotFound
from cloud_hub.ledger.models import RegisterRecord
from cloud_hub.organisations.models import Organisation
from cloud_hub.registry import queries
from cloud_hub.registry.models import Meter, MeterGroup, MeterGroupMember, Point, Site
from protocol.errors import UnknownQuantity
from protocol.quantities import get_quantity

DEFAULT_QUANTITY = "active_energy"


class UnknownGroup(NotFound):
    """No group has that id."""


class UnknownOrganisation(NotFound):
    """No organisation has that slug."""


_Count = Callable[[Sequence[MeterFact], Sequence[RegisterFact]], tuple[Counted, ...]]


def find_site(session: Session, slug: str, quantity: str | None = None) -> Scope:
    """Look at a site; `quantity` left out is electricity where there is any, else the first that it has.

    Raises: UnknownSite, Invalid for a quantity that the site does not count.
    """
    site = queries.get_site(session, slug)
    return _find(session, (ScopeKind.SITE, site.slug, site.name), [site.id], quantity, _count_whole)


def find_organisation(session: Session, slug: str, quantity: str | None = None) -> Scope:
    """Look at all sites of an organisation.

    Raises: UnknownOrganisation, Invalid for a quantity that it does not count.
    """
    organisation = session.scalars(select(Organisation).where(Organisation.slug == slug)).one_or_none()
    if organisation is None:
        raise UnknownOrganisation(f"there is no organisation {slug!r}")
    site_ids = session.scalars(select(Site.id).where(Site.organisation_id == organisation.id)).all()
    named = (ScopeKind.ORGANISATION, organisation.slug, organisation.name)
    return _find(session, named, site_ids, quantity, _count_whole)


def find_meter(session: Session, meter_id: int, quantity: str | None = None) -> Scope:
    """Look at one meter.

    Raises: UnknownMeter, Invalid for a quantity that it does not count.
    """
    meter = queries.get_meter(session, meter_id)
    named = (ScopeKind.METER, str(meter.id), meter.label or meter.slug)
    count: _Count = lambda meters, registers: count_meter(meter.id, meters, registers)  # noqa: E731 - closes over the id
    return _find(session, named, [meter.site_id], quantity, count, chosen={meter.id})


def find_group(session: Session, group_id: int, quantity: str | None = None) -> Scope:
    """Look at a group of meters.

    Raises: UnknownGroup, Invalid for a quantity that none of its meters counts.
    """
    group = session.get(MeterGroup, group_id)
    if group is None:
        raise UnknownGroup(f"there is no group {group_id}")
    members = select(Meter.id, Meter.site_id).join(MeterGroupMember, MeterGroupMember.meter_id == Meter.id)
    rows = session.execute(members.where(MeterGroupMember.group_id == group.id)).all()
    chosen = {row.id for row in rows}
    named = (ScopeKind.GROUP, str(group.id), group.name)
    count: _Count = lambda meters, registers: count_group(chosen, meters, registers)  # noqa: E731 - closes over the ids
    return _find(session, named, {row.site_id for row in rows}, quantity, count, chosen=chosen)


def _count_whole(meters: Sequence[MeterFact], registers: Sequence[RegisterFact]) -> tuple[Counted, ...]:
    return count_site(meters, registers)


def _find(
    session: Session,
    named: tuple[ScopeKind, str, str],
    site_ids: Collection[int],
    quantity: str | None,
    count: _Count,
    *,
    chosen: Collection[int] | None = None,
) -> Scope:
    """Build the scope; `chosen` are the meters that are asked for, when it is not all of the sites'."""
    meters, registers = _read_meters(session, site_ids), _read_registers(session, site_ids)
    if chosen is None:
        registers = without_heat_volumes(registers)
    asked = [register for register in registers if chosen is None or register.meter_id in chosen]
    measures = measures_of(asked)
    measure = _choose(named, measures, quantity)
    counted_registers = defaultdict(list)
    site_of = {meter.id: meter.site_id for meter in meters}
    for register in registers:
        if register.measure == measure:
            counted_registers[site_of[register.meter_id]].append(register)
    meters_of = defaultdict(list)
    for meter in meters:
        meters_of[meter.site_id].append(meter)
    parts = tuple(
        SitePart(site.id, site.organisation_id, site.slug, site.name, ZoneInfo(site.time_zone), interval_s, counted)
        for site, interval_s in _read_sites(session, site_ids)
        if (counted := count(meters_of[site.id], counted_registers[site.id])) or len(site_ids) == 1
    )
    return Scope(*named, measure, measures, parts)


def _choose(named: tuple[ScopeKind, str, str], measures: Sequence[Measure], quantity: str | None) -> Measure:
    if quantity is None:
        usual = next((each for each in measures if each.quantity == DEFAULT_QUANTITY), None)
        return usual or (measures[0] if measures else Measure(DEFAULT_QUANTITY, get_quantity(DEFAULT_QUANTITY).unit))
    try:
        unit = get_quantity(quantity).unit
    except UnknownQuantity as error:
        raise Invalid(f"quantity is {quantity!r}, which no register counts: send one such as active_energy") from error
    having = [each for each in measures if each.quantity == quantity]
    if measures and not having:
        names = ", ".join(sorted({each.quantity for each in measures}))
        raise Invalid(f"{named[0].value} {named[1]!r} counts no {quantity}: ask for one of {names}")
    wanted = Measure(quantity, unit)
    return wanted if wanted in having or not having else having[0]


def _read_sites(session: Session, site_ids: Collection[int]) -> list[tuple[Site, int]]:
    query = (
        select(Site, Organisation.interval_s)
        .join(Organisation, Organisation.id == Site.organisation_id)
        .where(Site.id.in_(site_ids))
        .order_by(Site.slug)
    )
    return [(row.Site, row.interval_s) for row in session.execute(query)]


def _read_meters(session: Session, site_ids: Collection[int]) -> list[MeterFact]:
    query = select(Meter.id, Meter.site_id, Meter.role, Meter.parent_id).where(Meter.site_id.in_(site_ids))
    return [
        MeterFact(row.id, row.site_id, row.role, row.parent_id) for row in session.execute(query.order_by(Meter.id))
    ]


def _read_registers(session: Session, site_ids: Collection[int]) -> list[RegisterFact]:
    query = (
        select(
            Point.meter_id,
            Point.quantity,
            RegisterRecord.point_id,
            RegisterRecord.unit,
            RegisterRecord.direction,
            RegisterRecord.valid_from,
            RegisterRecord.valid_until,
        )
        .join(Point, Point.id == RegisterRecord.point_id)
        .join(Meter, Meter.id == Point.meter_id)
        .where(Meter.site_id.in_(site_ids), RegisterRecord.is_total, RegisterRecord.withdrawn_at.is_(None))
        .order_by(Point.meter_id, RegisterRecord.point_id, RegisterRecord.id)
    )
    return [
        RegisterFact(
            row.meter_id,
            row.point_id,
            Measure(row.quantity, row.unit),
            Direction(row.direction),
            _ms_or_none(row.valid_from),
            _ms_or_none(row.valid_until),
        )
        for row in session.execute(query)
    ]


def _ms_or_none(instant: datetime | None) -> int | None:
    return None if instant is None else ms_of_instant(instant)
