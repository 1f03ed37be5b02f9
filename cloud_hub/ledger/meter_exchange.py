"""A meter's device is exchanged for another: its registers, its serial number, perhaps its model. Callers commit."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy.orm import Session

from cloud_hub.errors import Invalid
from cloud_hub.ledger.exchanges import record_exchange
from cloud_hub.ledger.models import MeterExchange
from cloud_hub.ledger.registers import ensure_registers, list_registers
from cloud_hub.registry.history_models import MeterDevice
from cloud_hub.registry.models import Meter
from cloud_hub.registry.places import at as at_key
from cloud_hub.registry.queries import list_points
from cloud_hub.registry.replacement import exchange_device
from protocol.manifest import PointKind


@dataclass(frozen=True, slots=True)
class RegisterReadings:
    """What one register ended with, and the next one began with, as read."""

    point_id: int
    closing: Decimal
    opening: Decimal


@dataclass(frozen=True, slots=True)
class NewDevice:
    """The device that measures from now on."""

    at: datetime
    serial_number: str
    profile: str | None = None
    """None: the same model as before."""


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What came of an exchange."""

    before: MeterDevice
    registers: list[MeterExchange]
    unread: list[int]
    """Ids of points whose registers stand for the meter and were not read: there the ledger finds the jump itself."""


def exchange_meter(
    session: Session, meter: Meter, device: NewDevice, readings: Sequence[RegisterReadings], *, who: str, why: str = ""
) -> Exchanged:
    """Let another device measure for a meter, its row locked; what was counted before stays, and goes on from here.

    Raises: Invalid naming the register, Conflict, NotThere.
    """
    counters = [point.id for point in list_points(session, [meter.id]) if point.kind == PointKind.COUNTER.value]
    before = exchange_device(
        session, meter, at=device.at, serial_number=device.serial_number, profile=device.profile, who=who, why=why
    )
    exchanges = []
    for index, one in enumerate(readings):
        with at_key("registers", index):
            if one.point_id not in counters:
                raise Invalid(f"point_id: point {one.point_id} is no counter of meter {meter.id}: name one of its own")
            exchanges.append(
                record_exchange(
                    session, one.point_id, at=device.at, closing=one.closing, opening=one.opening, who=who, why=why
                )
            )
    ensure_registers(session, [meter])
    totals = {record.point_id for record in list_registers(session, counters) if record.is_total}
    return Exchanged(before, exchanges, sorted(totals - {one.point_id for one in readings}))
