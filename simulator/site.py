"""A simulated site: the meters and servers that are made of its description."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from protocol.line_config import SerialLine, Transport
from protocol.site_config import BusConfig, MeterConfig, SiteConfig
from simulator.errors import SiteDescriptionError
from simulator.faults import Fault, ScheduledFault
from simulator.ledger import Ledger
from simulator.loads import Load, LoadSource, Role
from simulator.meter import SimulatedMeter, Source
from simulator.plausible import PlausibleSource
from simulator.replay import AtEnd, Pace, ReplaySource, load_rows
from simulator.rtu import LineSettings
from simulator.serial_line import SimulatedLine
from simulator.server import MeterServer
from simulator.site_description import BusDescription, MeterDescription, SiteDescription
from simulator.site_profiles import Played, choose_profiles
from simulator.tcp import LoopThread


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
    """Meters of a description, served on ports of 127.0.0.1 and on pseudo-terminals, by threads of their own."""

    def __init__(self, description: SiteDescription, playing: Playing, ledger: Ledger, *, now_ms: int) -> None:
        """Make the meters; nothing listens yet.

        Time-based sources begin at the ledger's first frame, so that counters go on after a restart, else
        at `now_ms` (UTC). Raises: SiteDescriptionError.
        """
        self._description = description
        self._playing = playing
        self._started_ms = ledger.first_served_at_ms or now_ms
        self._played = choose_profiles(description.meters)
        self._meters = {meter.id: self._make_meter(meter, ledger) for meter in description.meters}
        self._loop: LoopThread | None = None
        self.servers: dict[str, MeterServer | SimulatedLine] = {}
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
            for number, (bus_id, meters) in enumerate(buses.items()):
                port = self._playing.port_base + number if self._playing.port_base else 0
                server = self._make_server(self._bus(bus_id), meters, loop, port)
                server.start()
                self.servers[bus_id] = server
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
            buses=tuple(self._bus_config(bus_id, server) for bus_id, server in self.servers.items()),
            profiles=tuple({played.profile.id: played.profile for played in self._simulated()}.values()),
        )

    def describe(self) -> list[dict[str, str | int]]:
        """Describe each meter for people and programs."""
        return [
            {
                "meter": meter.id,
                "plays": str(meter.role or meter.replays or "plausible"),
                "profile": meter.profile,
                **_address(self._server_of(meter.id)),
                "unit_id": meter.unit_id,
                "points": len(self._played[meter.id].points),
            }
            for meter in self._description.meters
        ]

    def _simulated(self) -> list[Played]:
        """List what agents cannot find in the library."""
        return [played for played in self._played.values() if not played.is_of_library]

    def _bus(self, bus_id: str) -> BusDescription:
        return next(
            self._description.bus_of(meter) for meter in self._description.meters if bus_id == (meter.bus or meter.id)
        )

    def _make_server(
        self, bus: BusDescription, meters: list[SimulatedMeter], loop: LoopThread, port: int
    ) -> MeterServer | SimulatedLine:
        if bus.transport is Transport.RTU:
            return SimulatedLine(meters, settings=bus.settings, is_strict=bus.strict, link=bus.device)
        return MeterServer(meters, loop=loop, port=port, link=bus.link, max_sessions=bus.max_sessions)

    def _bus_config(self, bus_id: str, server: MeterServer | SimulatedLine) -> BusConfig:
        bus, meters = self._bus(bus_id), tuple(self._meter_configs(server))
        if isinstance(server, MeterServer):
            return BusConfig(id=bus_id, transport=bus.transport, host=server.host, port=server.port, meters=meters)
        settings = bus.settings or LineSettings()
        serial = SerialLine(
            device=str(Path(server.path).absolute()),
            baud=settings.baud,
            parity=bus.parity,
            stop_bits=settings.stop_bits,
        )
        return BusConfig(id=bus_id, transport=bus.transport, serial=serial, meters=meters)

    def _meter_configs(self, server: MeterServer | SimulatedLine) -> list[MeterConfig]:
        return [
            MeterConfig(
                id=meter.id,
                profile=self._played[meter.id].profile.id,
                unit_id=meter.unit_id,
                label=meter.label,
                period_s=self._playing.period_s,
                points=self._played[meter.id].points,
            )
            for meter in self._description.meters
            if meter.id in server.meters
        ]

    def _make_meter(self, meter: MeterDescription, ledger: Ledger) -> SimulatedMeter:
        played = self._played[meter.id]
        return SimulatedMeter(
            meter_id=meter.id,
            profile=played.profile,
            source=self._make_source(meter, played),
            unit_id=meter.unit_id,
            points=played.points,
            ledger=ledger,
        )

    def _make_source(self, meter: MeterDescription, played: Played) -> Source:
        playing = self._playing
        if meter.plausible:
            return PlausibleSource(played.profile, seed=playing.seed)
        if meter.replays is not None:
            return ReplaySource(
                load_rows(meter.replays),
                pace=playing.pace,
                at_end=playing.at_end,
                started_ms=self._started_ms,
                speed=playing.speed,
            )
        load = Load(
            meter.role or Role.SERVER,
            playing.seed,
            rated_w=meter.rated_w,
            phases=min(max(played.profile.phases or 1, 1), 3),
        )
        return LoadSource(load, started_ms=self._started_ms, speed=playing.speed)

    def _server_of(self, meter_id: str) -> MeterServer | SimulatedLine:
        return next(server for server in self.servers.values() if meter_id in server.meters)

    def _schedule(self, scheduled: ScheduledFault) -> None:
        server = self._server_of(scheduled.meter)
        server.set_fault_later(scheduled.after_s, scheduled.meter, scheduled.fault)
        if scheduled.for_s is not None:
            server.set_fault_later(scheduled.after_s + scheduled.for_s, scheduled.meter, None)


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


def _address(server: MeterServer | SimulatedLine) -> dict[str, str | int]:
    if isinstance(server, MeterServer):
        return {"host": server.host, "port": server.port}
    return {"device": server.path}
