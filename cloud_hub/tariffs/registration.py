"""Register a whole site at once: site, controllers, buses, meters, groups, hours, tariff. Callers commit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from cloud_hub.access.permissions import Permission
from cloud_hub.errors import Invalid
from cloud_hub.organisations.models import Organisation
from cloud_hub.registry.buses import create_bus
from cloud_hub.registry.controllers import create_controller
from cloud_hub.registry.groups import create_group
from cloud_hub.registry.meters import create_meter
from cloud_hub.registry.models import Bus, Controller, Meter, MeterGroup, Site
from cloud_hub.registry.places import at
from cloud_hub.registry.sites import create_site
from cloud_hub.tariffs.registration_schemas import LocalMeter, RegistrationIn
from cloud_hub.tariffs.service import assign_tariff
from cloud_hub.tariffs.site_hours import put_hours


@dataclass(frozen=True, slots=True)
class Registered:
    """What was made so far."""

    site: Site
    controllers: dict[str, Controller] = field(default_factory=dict)
    """By their ids."""
    buses: dict[tuple[str, str], Bus] = field(default_factory=dict)
    """By their controllers' ids and their names."""
    meters: dict[str, Meter] = field(default_factory=dict)
    """By their names in the request."""
    groups: list[MeterGroup] = field(default_factory=list)


def permissions_for(given: RegistrationIn) -> tuple[Permission, ...]:
    """Return what it takes, in the organisation, to register this, beside the permission to register sites."""
    needed = {
        Permission.CONTROLLERS_WRITE: bool(given.controllers),
        Permission.METERS_WRITE: bool(given.controllers or given.meters or given.groups),
        Permission.TARIFFS_WRITE: given.tariff is not None or given.operating_hours is not None,
    }
    return tuple(permission for permission, is_needed in needed.items() if is_needed)


def register_all(session: Session, organisation: Organisation, given: RegistrationIn, *, who: str) -> Registered:
    """Register a site with all that belongs to it; a refusal names the key at fault, and nothing shall be committed.

    Raises: Invalid, Conflict, NotFound.
    """
    order = _parents_first(given.meters)
    with at("site"):
        made = Registered(create_site(session, organisation, given.site, who=who))
    _register_controllers(session, made, given, who)
    for index in order:
        part = given.meters[index]
        owners = tuple(sorted({*part.owners, *given.owners}))
        with at("meters", index):
            made.meters[part.called] = _register_meter(session, made, part.model_copy(update={"owners": owners}), who)
    _register_groups(session, organisation, made, given, who)
    _put_hours_and_tariff(session, made.site, given, who)
    return made


def _register_controllers(session: Session, made: Registered, given: RegistrationIn, who: str) -> None:
    for index, part in enumerate(given.controllers):
        with at("controllers", index):
            controller = create_controller(session, made.site, part.id, label=part.label, state=part.state, who=who)
        made.controllers[part.id] = controller
        for number, line in enumerate(part.buses):
            with at("controllers", index, "buses", number):
                made.buses[part.id, line.id] = create_bus(session, controller, line, who=who)


def _register_meter(session: Session, made: Registered, part: LocalMeter, who: str) -> Meter:
    controller = _controller_of(part, made.controllers)
    bus = None if part.bus is None else made.buses.get((controller.id, part.bus))
    if part.bus is not None and bus is None:
        raise Invalid(f"bus: controller {controller.id!r} has no bus {part.bus!r} in this request: add it to its buses")
    parent = None if part.parent is None else made.meters[part.parent]
    return create_meter(session, controller, made.site, part.slug, part, who=who, parent=parent, bus=bus)


def _controller_of(part: LocalMeter, controllers: Mapping[str, Controller]) -> Controller:
    if part.controller is None:
        if len(controllers) > 1:
            raise Invalid("controller: is missing, and the site has several: say which one reads the meter")
        return next(iter(controllers.values()))
    if part.controller not in controllers:
        raise Invalid(f"controller: there is no controller {part.controller!r} in this request: add it, or correct it")
    return controllers[part.controller]


def _register_groups(
    session: Session, organisation: Organisation, made: Registered, given: RegistrationIn, who: str
) -> None:
    for index, part in enumerate(given.groups):
        with at("groups", index):
            unknown = [name for name in part.meters if name not in made.meters]
            if unknown:
                raise Invalid(f"meters: there is no meter {unknown[0]!r} in this request: add it, or correct the name")
            members = [made.meters[name].id for name in part.meters]
            made.groups.append(create_group(session, organisation, part.slug, part.name, members, who=who))


def _put_hours_and_tariff(session: Session, site: Site, given: RegistrationIn, who: str) -> None:
    if given.operating_hours is not None:
        hours = given.operating_hours
        put_hours(session, site, hours.hours, first_day=hours.first_day, who=who, why=given.why)
    if given.tariff is not None:
        tariff = given.tariff
        with at("tariff"):
            assign_tariff(session, site, tariff.tariff_id, valid_from=tariff.valid_from, who=who, why=given.why)


def _parents_first(meters: Sequence[LocalMeter]) -> list[int]:
    """Return the places of meters in an order in which each comes after the one upstream.

    Raises: Invalid for a name that is there twice, a parent that is not there, or a circle.
    """
    places: dict[str, int] = {}
    for index, meter in enumerate(meters):
        with at("meters", index):
            if meter.called in places:
                raise Invalid(
                    f"name: there is a meter {meter.called!r} in this request already: give one of them another name"
                )
        places[meter.called] = index
    order: dict[int, None] = {}
    for index in range(len(meters)):
        _add_with_parents(meters, places, index, order)
    return list(order)


def _add_with_parents(
    meters: Sequence[LocalMeter], places: Mapping[str, int], index: int, order: dict[int, None]
) -> None:
    line: dict[int, None] = {}
    here: int | None = index
    while here is not None and here not in order:
        with at("meters", here):
            if here in line:
                raise Invalid("parent: the meter is upstream of itself, by way of its parents: break the circle")
            line[here] = None
            parent = meters[here].parent
            if parent is not None and parent not in places:
                raise Invalid(f"parent: there is no meter {parent!r} in this request: add it, or correct the name")
        here = None if parent is None else places[parent]
    order.update(dict.fromkeys(reversed(line)))
