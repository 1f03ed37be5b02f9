"""The typed schema of a meter profile: one device model's registers, as data.

`scale` multiplies the raw number. `address` is zero-based, as on the wire. Units are canonical
(`protocol.quantities`), so that a reading needs no conversion after it has been decoded.
"""

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from protocol.identifiers import PointName, ProfileId
from protocol.manifest import PointKind
from protocol.quantities import get_quantity


class Table(StrEnum):
    """The four tables of the Modbus data model; each is read with a function code of its own."""

    COIL = "coil"
    DISCRETE_INPUT = "discrete_input"
    HOLDING_REGISTER = "holding_register"
    INPUT_REGISTER = "input_register"

    @property
    def read_function_code(self) -> int:
        """The function code that reads this table."""
        return _READ_FUNCTION_CODES[self]

    @property
    def holds_bits(self) -> bool:
        """Say whether the table's entries are single bits rather than 16-bit registers."""
        return self in (Table.COIL, Table.DISCRETE_INPUT)


_READ_FUNCTION_CODES = {
    Table.COIL: 1,
    Table.DISCRETE_INPUT: 2,
    Table.HOLDING_REGISTER: 3,
    Table.INPUT_REGISTER: 4,
}


class RegisterType(StrEnum):
    """How the words of a point become a number or a text."""

    BOOL = "bool"
    UINT16 = "uint16"
    INT16 = "int16"
    UINT32 = "uint32"
    INT32 = "int32"
    UINT64 = "uint64"
    INT64 = "int64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    BITFIELD16 = "bitfield16"
    BITFIELD32 = "bitfield32"
    ENUM16 = "enum16"
    STRING = "string"
    IPV4 = "ipv4"
    ISKRA_T5 = "iskra_t5"
    """Unsigned: a signed 8-bit decimal exponent, then a 24-bit mantissa."""
    ISKRA_T6 = "iskra_t6"
    """Signed: a signed 8-bit decimal exponent, then a signed 24-bit mantissa."""
    ISKRA_T7 = "iskra_t7"
    """Power factor: a byte import/export, a byte inductive/capacitive, then the ratio times 10000."""


TEXT_TYPES = frozenset({RegisterType.STRING, RegisterType.IPV4})
"""Types whose value is a text: shown when asked for, never part of a scan."""

WORDS = {
    RegisterType.BOOL: 1,
    RegisterType.UINT16: 1,
    RegisterType.INT16: 1,
    RegisterType.UINT32: 2,
    RegisterType.INT32: 2,
    RegisterType.UINT64: 4,
    RegisterType.INT64: 4,
    RegisterType.FLOAT32: 2,
    RegisterType.FLOAT64: 4,
    RegisterType.BITFIELD16: 1,
    RegisterType.BITFIELD32: 2,
    RegisterType.ENUM16: 1,
    RegisterType.IPV4: 2,
    RegisterType.ISKRA_T5: 2,
    RegisterType.ISKRA_T6: 2,
    RegisterType.ISKRA_T7: 2,
}
"""Registers that each type takes; only a string's length is its profile's choice."""

_STATE_TYPES = frozenset(
    {RegisterType.BOOL, RegisterType.BITFIELD16, RegisterType.BITFIELD32, RegisterType.ENUM16} | TEXT_TYPES
)


class Order(StrEnum):
    """`big`: most significant first. Of bytes inside a register, or of words inside a value."""

    BIG = "big"
    LITTLE = "little"


class Access(StrEnum):
    """What a client may do with a point."""

    READ = "r"
    WRITE = "w"
    READ_WRITE = "rw"


class Confidence(StrEnum):
    """How well a profile is backed: two independent sources, one good one, or a partial one."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _leave_default_out(schema: dict[str, Any]) -> None:
    """Keep out of a published schema the default that stands for "left out" and is no valid value itself."""
    schema.pop("default")


class Point(_Frozen):
    """One value that a Modbus device offers."""

    name: PointName
    address: int = Field(ge=0, le=0xFFFF)
    table: Table
    type: RegisterType
    words: int = Field(default=0, ge=1, le=125, validate_default=True, json_schema_extra=_leave_default_out)
    """Registers (or, in the bit tables, bits) that the value takes; left out, what the type says."""
    quantity: str
    """A name of `protocol.quantities`."""
    unit: str = ""
    """The quantity's unit; left out, it is filled in."""
    kind: PointKind = PointKind.GAUGE
    """Left out, what is usual for the quantity."""
    scale: Decimal = Decimal(1)
    resolution: Decimal | None = Field(default=None, gt=0)
    """The step, in `unit`, to which a value is rounded when it is read; None keeps all the meter sent."""
    rollover: Decimal | None = Field(default=None, gt=0)
    """The value, in `unit`, at which a counter starts again at 0; None when not known."""
    resettable: bool = False
    exponent_point: PointName | None = None
    """A point of the same profile: the value is multiplied by ten to its power."""
    not_available: tuple[int, ...] = ()
    """Raw patterns, as unsigned numbers of the point's width, that mean "no value"."""
    unit_id: int | None = Field(default=None, ge=0, le=255)
    """Set where the device answers for this point under a unit id of its own."""
    access: Access = Access.READ
    sign: str | None = None
    service: str | None = None
    """The part of the device that answers, under a unit id that only the site knows."""
    models: tuple[str, ...] = ()
    values: str | None = None
    note: str | None = None
    verify: str | None = None
    """What to check on a real device before relying on this point."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:  # noqa: ANN401 - pydantic hands over whatever the caller gave
        if not isinstance(given, dict):
            return given
        filled = dict(given)
        if isinstance(given.get("quantity"), str):
            quantity = get_quantity(given["quantity"])
            filled.setdefault("unit", quantity.unit)
            filled.setdefault("kind", quantity.kind)
        if given.get("type") in WORDS:
            filled.setdefault("words", WORDS[given["type"]])
        return filled

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        for fault in self._faults():
            message = f"point {self.name!r}: {fault}"
            raise ValueError(message)
        return self

    def _faults(self) -> Iterable[str]:
        if self.unit != (unit := get_quantity(self.quantity).unit):
            yield f"quantity {self.quantity!r} has the unit {unit!r}, not {self.unit!r}; put the factor into 'scale'"
        if self.words != WORDS.get(self.type, self.words):
            yield f"type {self.type} takes {WORDS[self.type]} words, not {self.words}"
        if self.address + self.words > 0x10000:
            yield f"{self.words} words at address {self.address} end beyond 65535"
        if self.table.holds_bits and self.type is not RegisterType.BOOL:
            yield f"the table {self.table} holds bits, so the type is bool, not {self.type}"
        if not self.scale:
            yield "'scale' is 0"
        if self.is_text and self.quantity not in ("text", "identity"):
            yield f"type {self.type} is text, so the quantity is 'text' or 'identity', not {self.quantity!r}"
        if self.type in _STATE_TYPES and self.kind is not PointKind.STATE:
            yield f"type {self.type} is of kind state, not {self.kind}"
        if self.kind is not PointKind.COUNTER and (self.rollover is not None or self.resettable):
            yield "only a counter has 'rollover' or is 'resettable'"
        if any(not 0 <= pattern < 1 << (16 * self.words) for pattern in self.not_available):
            yield f"a pattern of 'not_available' does not fit {self.words} words"

    @property
    def is_text(self) -> bool:
        """Say whether the value is a text rather than a number."""
        return self.type in TEXT_TYPES

    @property
    def is_readable(self) -> bool:
        """Say whether the device lets the value be read."""
        return self.access is not Access.WRITE


class ModbusSettings(_Frozen):
    """What holds for every point of a device, and how it likes to be asked."""

    transports: tuple[str, ...]
    function_codes: tuple[int, ...] = ()
    byte_order: Order = Order.BIG
    word_order: Order = Order.BIG
    default_unit_id: int | None = Field(default=None, ge=0, le=255)
    default_tcp_port: int | None = Field(default=None, ge=1, le=0xFFFF)
    default_baud: int | None = None
    default_parity: str | None = Field(default=None, pattern="^[NEO]$")
    stop_bits: int | None = Field(default=None, ge=1, le=2)
    defaults_confirmed: bool = False
    max_registers_per_read: int = Field(default=125, ge=1, le=125)
    max_bits_per_read: int = Field(default=2000, ge=1, le=2000)
    max_hole: int = Field(default=16, ge=0, le=124)
    """Registers or bits between two points that may be read along, rather than asked around."""
    forbidden_ranges: tuple[tuple[int, int], ...] = ()
    """Addresses (first, last) that no request may touch: the device refuses or misbehaves."""
    inter_frame_delay_ms: int = Field(default=0, ge=0)
    manual_numbering: str | None = None
    identify: str | None = None


class SnmpObject(_Frozen):
    """One value that an SNMP device offers."""

    name: PointName
    oid: str = Field(pattern=r"^\d+(\.(\d+|N))+$")
    type: str
    unit: str = ""
    note: str | None = None


class SnmpSettings(_Frozen):
    """How an SNMP device is asked."""

    versions: tuple[str, ...]
    udp_port: int = 161


class Profile(_Frozen):
    """One device model. Exactly one of `modbus` and `snmp` is set."""

    id: ProfileId
    manufacturer: str
    model: str
    category: str
    phases: int | None = None
    confidence: Confidence
    sources: tuple[str, ...] = Field(min_length=1)
    cross_checked_with: tuple[str, ...] = ()
    quirks: tuple[str, ...] = ()
    modbus: ModbusSettings | None = None
    snmp: SnmpSettings | None = None
    points: tuple[Point, ...] = ()
    objects: tuple[SnmpObject, ...] = ()

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        for fault in self._faults():
            message = f"profile {self.id!r}: {fault}"
            raise ValueError(message)
        return self

    def _faults(self) -> Iterable[str]:
        if (self.modbus is None) == (self.snmp is None):
            yield "set exactly one of 'modbus' and 'snmp'"
        if (self.points and self.modbus is None) or (self.objects and self.snmp is None):
            yield "'points' belong to 'modbus' and 'objects' to 'snmp'"
        names = Counter([point.name for point in self.points] + [item.name for item in self.objects])
        for name, times in names.items():
            if times > 1:
                yield f"point {name!r} is named {times} times"
        for point in self.points:
            if point.exponent_point is not None:
                yield from self._exponent_faults(point.name, point.exponent_point)

    def _exponent_faults(self, name: str, exponent_point: str) -> Iterable[str]:
        exponent = next((point for point in self.points if point.name == exponent_point), None)
        if exponent is None:
            yield f"point {name!r} names the unknown exponent_point {exponent_point!r}"
        elif exponent.quantity != "exponent" or exponent.is_text or not exponent.is_readable:
            yield f"point {name!r} names {exponent_point!r}, which is no readable point of quantity 'exponent'"

    def get_point(self, name: str) -> Point:
        """Return the point of that name.

        Raises: KeyError.
        """
        for point in self.points:
            if point.name == name:
                return point
        raise KeyError(name)

    def with_exponents(self, points: Iterable[Point]) -> tuple[Point, ...]:
        """Return `points`, followed by the exponent points that they need and do not hold yet."""
        chosen = tuple(points)
        names = {point.name for point in chosen}
        needed = {point.exponent_point for point in chosen if point.exponent_point is not None} - names
        return chosen + tuple(point for point in self.points if point.name in needed)
