"""What a simulated site is made of, as a TOML file says it."""

import tomllib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from protocol.identifiers import BusId, MeterId, PointName, ProfileId
from protocol.line_config import Parity, Transport
from simulator.errors import SiteDescriptionError
from simulator.faults import FaultKind, ScheduledFault
from simulator.links import Direct, Gateway, Link, SerialServer
from simulator.loads import Role
from simulator.replay import Circuit
from simulator.rtu import LineSettings
from simulator.serial_line import UNFIT


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MeterDescription(_Frozen):
    """One simulated meter: a load by its role, a circuit of the recorded data, or any device with plausible values."""

    id: MeterId
    profile: ProfileId
    label: str = ""
    role: Role | None = None
    replays: Circuit | None = None
    plausible: bool = False
    """Such a device has no `scan_serial`, and the ledger does not note what it serves."""
    rated_w: float | None = Field(default=None, gt=0)
    bus: BusId | None = None
    """Meters that name the same bus share one address, as behind a gateway; left out, the meter has its own."""
    unit_id: int = Field(default=1, ge=1, le=247)
    points: tuple[PointName, ...] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if sum((self.role is not None, self.replays is not None, self.plausible)) != 1:
            message = f"meter {self.id!r}: set exactly one of 'role' and 'replays', or 'plausible = true'"
            raise ValueError(message)
        return self


class BusDescription(_Frozen):
    """A bus that is more than an address of its own for each meter."""

    id: BusId
    transport: Transport = Transport.TCP
    baud: int | None = Field(default=None, ge=300, le=4_000_000)
    """Left out: 9600 on a serial line; the line behind a TCP port then takes no time."""
    parity: Parity = Parity.NONE
    stop_bits: int = Field(default=1, ge=1, le=2)
    strict: bool = False
    """A serial line ignores requests that do not keep the silence between two frames."""
    device: Path | None = None
    """Where a serial line's end is found; left out, wherever the system puts it."""
    gateway_timeout_s: float | None = Field(default=None, gt=0, le=60)
    """Set: the meters are behind a gateway, which waits so long for each."""
    max_sessions: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _fits_its_transport(self) -> Self:
        is_serial = self.transport is Transport.RTU
        faults = {
            "'tls' is not simulated from a file": self.transport is Transport.TLS,
            "'device' and 'strict' belong to transport 'rtu'": (self.device is not None or self.strict)
            and not is_serial,
            "'gateway_timeout_s' belongs to transport 'tcp'": self.gateway_timeout_s is not None
            and self.transport is not Transport.TCP,
            "'max_sessions' does not fit transport 'rtu'": self.max_sessions is not None and is_serial,
            "'baud' needs 'gateway_timeout_s', or another transport": self.baud is not None
            and self.gateway_timeout_s is None
            and self.transport is Transport.TCP,
        }
        for fault, is_so in faults.items():
            if is_so:
                message = f"bus {self.id!r}: {fault}"
                raise ValueError(message)
        return self

    @property
    def settings(self) -> LineSettings | None:
        """How characters look on the serial line; None where there is none that takes time."""
        if self.baud is None and self.transport is not Transport.RTU:
            return None
        return LineSettings(self.baud or LineSettings().baud, self.parity.value, self.stop_bits)

    @property
    def link(self) -> Link:
        """What lies between a TCP port and the meters."""
        if self.transport is Transport.RTU_OVER_TCP:
            return SerialServer(settings=self.settings)
        if self.gateway_timeout_s is not None:
            return Gateway(timeout_s=self.gateway_timeout_s, settings=self.settings)
        return Direct()

    @property
    def unfit(self) -> frozenset[FaultKind]:
        """Faults that cannot happen on this bus."""
        return UNFIT if self.transport is Transport.RTU else self.link.unfit


class SiteDescription(_Frozen):
    """What `simulate meters --site` names."""

    meters: tuple[MeterDescription, ...] = Field(min_length=1)
    buses: tuple[BusDescription, ...] = ()
    faults: tuple[ScheduledFault, ...] = ()

    def bus_of(self, meter: MeterDescription) -> BusDescription:
        """Return the bus that a meter is on: described, or plain."""
        bus_id = meter.bus or meter.id
        return next((bus for bus in self.buses if bus.id == bus_id), BusDescription(id=bus_id))


def load_site(name: str, faults: Sequence[ScheduledFault] = ()) -> SiteDescription:
    """Load a site that comes with the simulator (`demo`, `replay`), or a TOML file by its path.

    Raises: SiteDescriptionError.
    """
    shipped = files("simulator") / "sites" / f"{name}.toml"
    source = shipped if shipped.is_file() else Path(name)
    try:
        given = tomllib.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise SiteDescriptionError(
            f"site {name!r} is neither 'demo' nor 'replay', nor a readable file: {error.strerror}"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise SiteDescriptionError(f"{name} is not TOML: {error}") from error
    try:
        site = SiteDescription.model_validate(given)
    except ValidationError as error:
        raise SiteDescriptionError(f"{name}: {first_fault(error)}") from error
    site = site.model_copy(update={"faults": (*site.faults, *faults)})
    _check(name, site)
    return site


def first_fault(error: ValidationError) -> str:
    """Put the first of the faults into one clause: where, and what."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    return f"{key + ': ' if key else ''}{first['msg'].removeprefix('Value error, ')}"


def _check(name: str, site: SiteDescription) -> None:
    ids = [meter.id for meter in site.meters]
    addresses = [(meter.bus or meter.id, meter.unit_id) for meter in site.meters]
    for meter in site.meters:
        if ids.count(meter.id) > 1:
            raise SiteDescriptionError(f"{name}: meter id {meter.id!r} is used twice")
        if addresses.count((meter.bus or meter.id, meter.unit_id)) > 1:
            raise SiteDescriptionError(f"{name}: unit id {meter.unit_id} is used twice on bus {meter.bus!r}")
    for bus in site.buses:
        if not any(site.bus_of(meter) is bus for meter in site.meters):
            raise SiteDescriptionError(f"{name}: bus {bus.id!r} has no meter; name it as 'bus' of one, or remove it")
    for fault in site.faults:
        if fault.meter not in ids:
            raise SiteDescriptionError(f"{name}: a fault names the meter {fault.meter!r}; there are {', '.join(ids)}")
        bus = next(site.bus_of(meter) for meter in site.meters if meter.id == fault.meter)
        if fault.kind in bus.unfit:
            raise SiteDescriptionError(
                f"{name}: the fault {fault.kind.value!r} of meter {fault.meter!r} cannot happen on a bus of "
                f"transport {bus.transport.value!r}"
            )
