"""Write one point of a meter on the hub's command: only what profile and site allow, and read back."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, Protocol, TypeVar

import structlog

from edge_agent.bus.bus import ModbusBus
from edge_agent.control.commands import Deed, parse_arguments
from edge_agent.control.signatures import OrderRefused
from edge_agent.errors import AgentError, MeterGarbled, MeterUnreachable, SettingsError
from edge_agent.site.compile import find_meter
from protocol.command_arguments import WriteArguments
from protocol.control import Command
from protocol.manifest import PointKind
from protocol.profile import Access, Point
from protocol.registers import apply_exponents, decode, encode
from protocol.site.plan import MeterPlan, SitePlan
from protocol.site_config import WritablePoint

_EXPONENT_MAX = 10
"""A scale beyond this is a fault of the device."""

T = TypeVar("T")

log = structlog.get_logger()


class PointNotWritten(AgentError):
    """The meter did not take a value, or whether it did is not known."""


class Buses(Protocol):
    """Who owns the lines; `edge_agent.polling.supervisor` does."""

    async def on_bus(self, meter_id: str, deed: Callable[[ModbusBus, MeterPlan], Awaitable[T]]) -> T:
        """Do something on the line of a meter between two visits."""


@dataclass(frozen=True, slots=True)
class _Target:
    """A point that may be written, and how."""

    meter: MeterPlan
    point: Point
    exponent: Point | None
    limits: WritablePoint

    def words_of(self, value: float, exponent: float | None) -> tuple[int, ...]:
        """Encode a value, and see that what the meter then understands is within the limits.

        Raises: OrderRefused.
        """
        modbus = self.meter.modbus
        raw = value if exponent is None else float(Decimal(repr(value)).scaleb(-int(exponent)))
        try:
            words = encode(self.point, raw, modbus.byte_order, modbus.word_order)
        except ValueError as error:
            raise OrderRefused(str(error)) from None
        understood = self.value_of(words, exponent)
        is_rounded_state = self.point.kind is PointKind.STATE and understood != value
        if understood is None or is_rounded_state or not self._allows(understood):
            raise OrderRefused(
                f"the meter would understand {understood} instead of {value:g}; the site configuration allows "
                f"{self.limits.lowest:g}..{self.limits.highest:g}, and states are never rounded"
            )
        return words

    def value_of(self, words: Sequence[int], exponent: float | None) -> float | None:
        """Decode what the meter holds; None when it says that it has no value."""
        modbus = self.meter.modbus
        values = {self.point.name: decode(self.point, words, modbus.byte_order, modbus.word_order)}
        if self.exponent is not None:
            values = apply_exponents([self.point], {**values, self.exponent.name: exponent})
        value = values[self.point.name]
        return value if isinstance(value, float) else None

    def require_allowed(self, value: float) -> None:
        """Raise OrderRefused when the site does not allow the value."""
        if not self._allows(value):
            raise OrderRefused(
                f"{value:g} is outside {self.limits.lowest:g}..{self.limits.highest:g}, which is what the site "
                f"configuration allows for point {self.point.name!r} of meter {self.meter.config.id!r}"
            )

    def _allows(self, value: float) -> bool:
        return self.limits.lowest <= value <= self.limits.highest


def prepare_write(command: Command, *, plan: Callable[[], SitePlan], buses: Buses) -> Deed:
    """Check everything but the meter's own mind.

    Raises: OrderRefused.
    """
    arguments = parse_arguments(WriteArguments, command)
    target = _find_target(plan(), arguments)
    target.require_allowed(arguments.value)
    if target.exponent is None:
        target.words_of(arguments.value, None)
    return partial(_write_and_log, command.id, target, arguments.value, buses)


def _find_target(plan: SitePlan, arguments: WriteArguments) -> _Target:
    try:
        _, meter = find_meter(plan, arguments.meter)
    except SettingsError as error:
        raise OrderRefused(str(error)) from None
    name, who = arguments.point, f"meter {arguments.meter!r}"
    limits = next((writable for writable in meter.config.writable if writable.point == name), None)
    if limits is None:
        raise OrderRefused(f"the site configuration does not open point {name!r} of {who} for writing")
    # As the site reads it, with its own factor, where it is read.
    point = next((point for point in meter.points if point.name == name), None) or meter.profile.get_point(name)
    if point.access is Access.READ or point.is_text:
        raise OrderRefused(f"the profile {meter.profile.id!r} of {who} does not open point {name!r} for writing")
    exponent = None if point.exponent_point is None else meter.profile.get_point(point.exponent_point)
    return _Target(meter, point, exponent, limits)


async def _write_and_log(command_id: str, target: _Target, value: float, buses: Buses) -> dict[str, Any]:
    fields = {"command": command_id, "meter_id": target.meter.config.id, "point": target.point.name}
    try:
        done = await buses.on_bus(target.meter.config.id, lambda bus, _: _Writing(target, bus).write(value))
    except Exception as error:
        log.error("point_write_failed", **fields, new=value, error=str(error))  # noqa: TRY400 - one line, no traceback
        raise
    log.warning("point_written", **fields, old=done["old"], new=done["new"])
    return {"meter": target.meter.config.id, "point": target.point.name, "unit": target.point.unit, **done}


class _Writing:
    """One value on its way into one meter."""

    def __init__(self, target: _Target, bus: ModbusBus) -> None:
        self._target, self._bus = target, bus

    async def write(self, value: float) -> dict[str, Any]:
        """Read, write, read back.

        Raises: AgentError.
        """
        target = self._target
        exponent = await self._read_exponent()
        words = target.words_of(value, exponent)
        if not target.point.is_readable:
            await self._send(words)
            return {"old": None, "new": target.value_of(words, exponent), "read_back": False}
        old = target.value_of(await self._read(target.point), exponent)
        doubt = await self._send_in_doubt(words)
        now = await self._read_back(doubt)
        found = target.value_of(now, exponent)
        if tuple(now) != words and found != target.value_of(words, exponent):
            why = "" if doubt is None else f" ({doubt})"
            raise PointNotWritten(
                f"point {target.point.name!r} of meter {target.meter.config.id!r} was {old}, {value:g} was written, "
                f"and it reads back {found}{why}: the meter may have limits of its own"
            )
        return {"old": old, "new": found, "read_back": True}

    async def _send_in_doubt(self, words: Sequence[int]) -> AgentError | None:
        """Write; return the fault after which the meter may have done it all the same."""
        try:
            await self._send(words)
        except (MeterUnreachable, MeterGarbled) as doubt:
            return doubt
        return None

    async def _read_back(self, doubt: AgentError | None) -> Sequence[int]:
        try:
            return await self._read(self._target.point)
        except (MeterUnreachable, MeterGarbled) as error:
            raise PointNotWritten(
                f"whether meter {self._target.meter.config.id!r} took the value is not known, because it could not be "
                f"read back: {doubt or error}"
            ) from error

    async def _read_exponent(self) -> float | None:
        point = self._target.exponent
        if point is None:
            return None
        modbus = self._target.meter.modbus
        exponent = decode(point, await self._read(point), modbus.byte_order, modbus.word_order)
        if not isinstance(exponent, float) or abs(exponent) > _EXPONENT_MAX:
            raise PointNotWritten(f"the meter does not say the scale of point {self._target.point.name!r}")
        return exponent

    async def _read(self, point: Point) -> Sequence[int]:
        return await self._bus.read(
            unit_id=self._unit_id(point),
            table=point.table,
            address=point.address,
            count=point.words,
            timing=self._target.meter.timing,
        )

    async def _send(self, words: Sequence[int]) -> None:
        point = self._target.point
        await self._bus.write(
            unit_id=self._unit_id(point),
            table=point.table,
            address=point.address,
            words=words,
            timing=self._target.meter.timing,
        )

    def _unit_id(self, point: Point) -> int:
        return self._target.meter.config.unit_id if point.unit_id is None else point.unit_id
