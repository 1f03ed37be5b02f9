"""A simulated site: its description in TOML, and the meters and servers that are made of it."""

import json
import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from protocol.errors import UnknownProfile
from protocol.identifiers import BusId, MeterId, PointName, ProfileId
from protocol.library import default_points, get_profile
from protocol.profile import Profile
from protocol.site_config import BusConfig, MeterConfig, SiteConfig
from simulator.electricity import OFFERED_POINTS
from simulator.errors import SiteDescriptionError
from simulator.faults import Fault, ScheduledFault
from simulator.identity import SERIAL_POINT, with_identity
from simulator.ledger import Ledger
from simulator.loads import Load, LoadSource, Role
from simulator.meter import SimulatedMeter, Source
from simulator.replay import AtEnd, Circuit, Pace, ReplaySource, load_rows
from simulator.server import MeterServer
from simulator.tcp import LoopThread

_POINTS_PER_METER = 20
"""How many points a meter is read for where its description names none, `scan_serial` included."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MeterDescription(_Frozen):
    """One simulated meter: a load by its role, or a circuit of the recorded data."""

    id: MeterId
    profile: ProfileId
    label: str = ""
    role: Role | None = None
    replays: Circuit | None = None
    rated_w: float | None = Field(default=None, gt=0)
    bus: BusId | None = None
    """Meters that name the same bus share one address, as behind a gateway; left out, the meter has its own."""
    unit_id: int = Field(default=1, ge=1, le=247)
    points: tuple[PointName, ...] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.role is None) == (self.replays is None):
            message = f"meter {self.id!r}: set exactly one of 'role' and 'replays'"
            raise ValueError(message)
        return self


class SiteDescription(_Frozen):
    """What `simulate meters --site` names."""

    meters: tuple[MeterDescription, ...] = Field(min_length=1)
    faults: tuple[ScheduledFault, ...] = ()


@dataclass(frozen=True, slots=True)
class Playing:
    """How the site is played."""

    seed: int = 1
    speed: float = 1.0
    pace: Pace = Pace.TIME
    at_end: AtEnd = AtEnd.LOOP
    period_s: float = 60.0
    port_base: int = 0
    """The port of the first address, the others follow; 0 takes free ones."""


class SimulatedSite:
    """Meters of a description, served on ports of 127.0.0.1 by a thread of their own."""

    def __init__(self, description: SiteDescription, playing: Playing, ledger: Ledger, *, now_ms: int) -> None:
        """Make the meters; nothing listens yet.

        Time-based sources begin at the ledger's first frame, so that counters go on after a restart, else
        at `now_ms` (UTC). Raises: SiteDescriptionError.
        """
        self._description = description
        self._playing = playing
        self._started_ms = ledger.first_served_at_ms or now_ms
        self._profiles = _simulated_profiles(description.meters)
        self._meters = {meter.id: self._make_meter(meter, ledger) for meter in description.meters}
        self._loop: LoopThread | None = None
        self.servers: dict[str, MeterServer] = {}
        """By bus."""

    def start(self) -> None:
        """Listen, and let the scripted faults begin to count.

        Raises: SimulatorError when a port is in use.
        """
        loop = self._loop = LoopThread("simulated meters")
        buses: dict[str, list[SimulatedMeter]] = {}
        for meter in self._description.meters:
            buses.setdefault(meter.bus or meter.id, []).append(self._meters[meter.id])
        try:
            for number, (bus, meters) in enumerate(buses.items()):
                port = self._playing.port_base + number if self._playing.port_base else 0
                server = MeterServer(meters, loop=loop, port=port)
                server.start()
                self.servers[bus] = server
        except BaseException:
            self.stop()
            raise
        for fault in self._description.faults:
            self._schedule(fault)

    def stop(self) -> None:
        """Reset all connections and stop listening."""
        for server in self.servers.values():
            server.stop()
        self.servers.clear()
        if self._loop is not None:
            self._loop.stop()
            self._loop = None

    @property
    def has_ended(self) -> bool:
        """Say whether the data of every meter has ended."""
        return all(meter.has_ended for meter in self._meters.values())

    def set_fault(self, meter_id: str, fault: Fault | None) -> None:
        """Let something go wrong with a meter from now on; None ends it."""
        self._server_of(meter_id).set_fault(meter_id, fault)

    def site_config(self) -> SiteConfig:
        """Build the agent's configuration for this site."""
        return SiteConfig(
            buses=tuple(
                BusConfig(id=bus, host=server.host, port=server.port, meters=tuple(self._meter_configs(server)))
                for bus, server in self.servers.items()
            ),
            profiles=tuple({profile.id: profile for profile, _ in self._profiles.values()}.values()),
        )

    def describe(self) -> list[dict[str, str | int]]:
        """Describe each meter for people and programs."""
        return [
            {
                "meter": meter.id,
                "plays": str(meter.role or meter.replays),
                "profile": meter.profile,
                "host": self._server_of(meter.id).host,
                "port": self._server_of(meter.id).port,
                "unit_id": meter.unit_id,
                "points": len(self._profiles[meter.id][1]),
            }
            for meter in self._description.meters
        ]

    def _meter_configs(self, server: MeterServer) -> list[MeterConfig]:
        return [
            MeterConfig(
                id=meter.id,
                profile=self._profiles[meter.id][0].id,
                unit_id=meter.unit_id,
                label=meter.label,
                period_s=self._playing.period_s,
                points=self._profiles[meter.id][1],
            )
            for meter in self._description.meters
            if meter.id in server.meters
        ]

    def _make_meter(self, meter: MeterDescription, ledger: Ledger) -> SimulatedMeter:
        profile, points = self._profiles[meter.id]
        return SimulatedMeter(
            meter_id=meter.id,
            profile=profile,
            source=self._make_source(meter, profile),
            unit_id=meter.unit_id,
            points=points,
            ledger=ledger,
        )

    def _make_source(self, meter: MeterDescription, profile: Profile) -> Source:
        playing = self._playing
        if meter.replays is not None:
            return ReplaySource(
                load_rows(meter.replays),
                pace=playing.pace,
                at_end=playing.at_end,
                started_ms=self._started_ms,
                speed=playing.speed,
            )
        load = Load(
            meter.role or Role.SERVER, playing.seed, rated_w=meter.rated_w, phases=min(max(profile.phases or 1, 1), 3)
        )
        return LoadSource(load, started_ms=self._started_ms, speed=playing.speed)

    def _server_of(self, meter_id: str) -> MeterServer:
        return next(server for server in self.servers.values() if meter_id in server.meters)

    def _schedule(self, scheduled: ScheduledFault) -> None:
        server = self._server_of(scheduled.meter)
        server.set_fault_later(scheduled.after_s, scheduled.meter, scheduled.fault)
        if scheduled.for_s is not None:
            server.set_fault_later(scheduled.after_s + scheduled.for_s, scheduled.meter, None)


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


def write_site_config(config: SiteConfig, path: Path) -> None:
    """Write the agent's configuration as JSON, in one step: whoever sees the file sees all of it.

    Raises: SiteDescriptionError.
    """
    if path.suffix != ".json":
        raise SiteDescriptionError(f"--write-config {path}: the configuration is written as JSON, name it *.json")
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(
            json.dumps(json.loads(config.model_dump_json(exclude_defaults=True)), indent=1), encoding="utf-8"
        )
        unfinished.replace(path)
    except OSError as error:
        raise SiteDescriptionError(f"--write-config {path} cannot be written: {error.strerror}") from error


def _check(name: str, site: SiteDescription) -> None:
    ids = [meter.id for meter in site.meters]
    addresses = [(meter.bus or meter.id, meter.unit_id) for meter in site.meters]
    for meter in site.meters:
        if ids.count(meter.id) > 1:
            raise SiteDescriptionError(f"{name}: meter id {meter.id!r} is used twice")
        if addresses.count((meter.bus or meter.id, meter.unit_id)) > 1:
            raise SiteDescriptionError(f"{name}: unit id {meter.unit_id} is used twice on bus {meter.bus!r}")
    for fault in site.faults:
        if fault.meter not in ids:
            raise SiteDescriptionError(f"{name}: a fault names the meter {fault.meter!r}; there are {', '.join(ids)}")


def _simulated_profiles(meters: Sequence[MeterDescription]) -> dict[str, tuple[Profile, tuple[str, ...]]]:
    """Give each meter its profile and points, the identity included; equal ones share a profile id."""
    given: dict[str, Profile] = {}
    result = {}
    for meter in meters:
        try:
            library = get_profile(meter.profile)
            points = meter.points or usual_points(library)
            profile = with_identity(library, points)
        except UnknownProfile as error:
            raise SiteDescriptionError(f"meter {meter.id!r}: {error}") from error
        except KeyError as error:
            raise SiteDescriptionError(f"meter {meter.id!r}: profile {meter.profile!r} has no point {error}") from error
        except ValueError as error:
            raise SiteDescriptionError(f"meter {meter.id!r}: {error}") from error
        profile = _under_free_id(profile, given)
        result[meter.id] = (profile, (*points, SERIAL_POINT))
    return result


def _under_free_id(profile: Profile, given: dict[str, Profile]) -> Profile:
    """Give the profile a number where another of its id has the identity elsewhere."""
    number, candidate = 1, profile
    while given.setdefault(candidate.id, candidate) != candidate:
        number += 1
        candidate = profile.model_copy(update={"id": f"{profile.id}-{number}"})
    return candidate


def usual_points(profile: Profile) -> tuple[str, ...]:
    """Choose the points that the simulation plays, of the table that has most of them; totals come first."""
    played = [point for point in default_points(profile) if point.name in OFFERED_POINTS]
    if not played:
        raise ValueError(f"of profile {profile.id} the simulation plays no point: choose an electricity meter")
    tables = [point.table for point in played]
    table = max(dict.fromkeys(tables), key=tables.count)
    names = [point.name for point in played if point.table is table]
    chosen = set(sorted(names, key=lambda name: not name.endswith(("_total", "frequency")))[: _POINTS_PER_METER - 1])
    return tuple(name for name in names if name in chosen)
