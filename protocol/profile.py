"""The typed schema of a meter profile: one device model's registers, as data.

`scale` multiplies the raw number. `address` is zero-based, as on the wire. Units are canonical
(`protocol.quantities`), so that a reading needs no conversion after it has been decoded.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from protocol.identifiers import PointName, ProfileId
from protocol.manifest import PointKind


class Table(StrEnum):
    """The four tables of the Modbus data model; each is read with a function code of its own."""

    COIL = "coil"
    DISCRETE_INPUT = "discrete_input"
    HOLDING_REGISTER = "holding_register"
    INPUT_REGISTER = "input_register"


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
    ISKRA_T6 = "iskra_t6"
    ISKRA_T7 = "iskra_t7"


TEXT_TYPES = frozenset({RegisterType.STRING, RegisterType.IPV4})
"""Types whose value is a text: shown when asked for, never part of a scan."""


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


class Point(_Frozen):
    """One value that a Modbus device offers."""

    name: PointName
    address: int = Field(ge=0, le=0xFFFF)
    table: Table
    type: RegisterType
    words: int = Field(ge=1, le=125)
    """Registers (or, in the bit tables, bits) that the value takes."""
    quantity: str
    """A name of `protocol.quantities`."""
    unit: str = ""
    kind: PointKind = PointKind.GAUGE
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
    models: tuple[str, ...] = ()
    values: str | None = None
    note: str | None = None
    verify: str | None = None
    """What to check on a real device before relying on this point."""

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
    max_hole: int = Field(default=16, ge=0, le=124)
    """Registers between two points that may be read along, rather than asked around."""
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
        if (self.modbus is None) == (self.snmp is None):
            message = f"profile {self.id}: set exactly one of 'modbus' and 'snmp'"
            raise ValueError(message)
        names = [point.name for point in self.points] + [item.name for item in self.objects]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            message = f"profile {self.id}: point {twice[0]!r} is named twice"
            raise ValueError(message)
        for point in self.points:
            if point.exponent_point is not None and point.exponent_point not in names:
                message = (
                    f"profile {self.id}: point {point.name!r} names the unknown exponent_point {point.exponent_point!r}"
                )
                raise ValueError(message)
        return self

    def get_point(self, name: str) -> Point:
        """Return the point of that name.

        Raises: KeyError.
        """
        for point in self.points:
            if point.name == name:
                return point
        raise KeyError(name)
