"""The buses of controllers: the lines that a configuration is made of. Callers commit."""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud_hub.errors import Conflict, NotFound
from cloud_hub.registry.answers import bus_out
from cloud_hub.registry.controllers import lock_controller
from cloud_hub.registry.models import Bus, Controller, Meter
from cloud_hub.registry.trail import Where, note, note_edit
from protocol.line_config import LineConfig


class UnknownBus(NotFound):
    """No bus has that id, or the controller has none of that name."""


class BusExists(Conflict):
    """The controller has a bus of that name, or on that address, already."""


class BusInUse(Conflict):
    """Meters are on this bus."""


def list_buses(session: Session, controller_id: str) -> list[Bus]:
    """List the buses of a controller by their names; `read_line` reads one."""
    return list(session.scalars(select(Bus).where(Bus.controller_id == controller_id).order_by(Bus.slug)))


def read_line(bus: Bus) -> LineConfig:
    """Return a bus as its controller's configuration describes it."""
    return LineConfig.model_validate({"id": bus.slug, **bus.line})


def get_bus(session: Session, bus_id: int) -> Bus:
    """Return the bus with that id.

    Raises: UnknownBus.
    """
    bus = session.get(Bus, bus_id)
    if bus is None:
        raise UnknownBus(f"there is no bus {bus_id}")
    return bus


def lock_bus(session: Session, bus_id: int) -> tuple[Controller, Bus]:
    """Return a bus and its controller, whose row is locked: two buses cannot change at once.

    Raises: UnknownBus.
    """
    controller = lock_controller(session, get_bus(session, bus_id).controller_id)
    query = select(Bus).where(Bus.id == bus_id).execution_options(populate_existing=True)
    bus = session.scalars(query).one_or_none()
    if bus is None:
        raise UnknownBus(f"there is no bus {bus_id}")
    return controller, bus


def get_bus_of(session: Session, controller_id: str, slug: str) -> Bus:
    """Return the bus of that name of a controller.

    Raises: UnknownBus.
    """
    found = session.scalars(select(Bus).where(Bus.controller_id == controller_id, Bus.slug == slug)).one_or_none()
    if found is None:
        raise UnknownBus(f"bus: controller {controller_id!r} has no bus {slug!r}: add it first, or correct the name")
    return found


def create_bus(session: Session, controller: Controller, line: LineConfig, *, who: str) -> Bus:
    """Add a bus to a controller whose row is locked.

    Raises: BusExists.
    """
    _refuse_twice(session, controller, line, None)
    bus = Bus(controller_id=controller.id, slug=line.id, line=_stored(line))
    session.add(bus)
    session.flush()
    said = bus_out(bus).model_dump(mode="json")
    note(session, _where(controller, bus), who=who, kind="bus.created", detail={"after": said}, data=_told(bus))
    return bus


def edit_bus(session: Session, controller: Controller, bus: Bus, line: LineConfig, *, who: str) -> None:
    """Describe a bus anew; its controller's row is locked.

    Raises: BusExists.
    """
    _refuse_twice(session, controller, line, bus)
    before = bus_out(bus).model_dump(mode="json")
    bus.slug, bus.line = line.id, _stored(line)
    session.flush()
    after = bus_out(bus).model_dump(mode="json")
    note_edit(session, _where(controller, bus), who=who, kind="bus.changed", before=before, after=after)


def delete_bus(session: Session, controller: Controller, bus: Bus, *, who: str) -> None:
    """Remove a bus that no meter is on; its controller's row is locked.

    Raises: BusInUse.
    """
    meters = session.scalar(select(func.count()).select_from(Meter).where(Meter.bus_id == bus.id))
    if meters:
        raise BusInUse(f"{meters} meters are on bus {bus.slug!r}: put them on another bus first")
    place, said, told = _where(controller, bus), bus_out(bus).model_dump(mode="json"), _told(bus)
    session.delete(bus)
    session.flush()
    note(session, place, who=who, kind="bus.removed", detail={"before": said}, data=told)


def _refuse_twice(session: Session, controller: Controller, line: LineConfig, own: Bus | None) -> None:
    """Refuse a name or an address that another bus of the controller has.

    Raises: BusExists.
    """
    for other in list_buses(session, controller.id):
        if own is not None and other.id == own.id:
            continue
        if other.slug == line.id:
            raise BusExists(f"id: controller {controller.id!r} has a bus {line.id!r} already: choose another name")
        if read_line(other).address == line.address:
            raise BusExists(
                f"{'host' if line.serial is None else 'serial'}: the address {line.address} is that of bus "
                f"{other.slug!r} already: one bus per address, with all its meters"
            )


def _stored(line: LineConfig) -> dict[str, Any]:
    return line.model_dump(mode="json", exclude={"id"}, exclude_defaults=True)


def _where(controller: Controller, bus: Bus) -> Where:
    return Where(controller.organisation_id, controller.site_id, f"bus:{bus.id}")


def _told(bus: Bus) -> dict[str, str]:
    return {"controller": bus.controller_id, "bus": bus.slug}
