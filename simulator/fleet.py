"""Many sites in one process, each an address of the loopback network with a few meters behind it."""

import resource
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from protocol.errors import UnknownProfile
from protocol.library import get_profile
from protocol.profile import Profile
from protocol.site_config import BusConfig, MeterConfig, SiteConfig
from simulator.errors import SimulatorError, SiteDescriptionError
from simulator.faults import Fault, FaultKind
from simulator.identity import SERIAL_POINT, with_identity
from simulator.layout import Layout
from simulator.ledger import Ledger
from simulator.links import Gateway
from simulator.loads import Load, LoadSource, Role
from simulator.meter import SimulatedMeter
from simulator.server import MeterServer
from simulator.site_profiles import usual_points
from simulator.tcp import LoopThread

_UNIT_IDS = 247
_TIMEOUT_S = 5.0
"""What cellular routers need now and then."""
_ROUTER = Gateway(answers_for_silent=False)
"""One line, one request at a time, and nobody who answers for a silent meter."""
_AHEAD_S = 3_661.0
"""How far each site is ahead of the one before it: they share their loads, and yet differ in what they show."""
_FILES_BESIDE_SOCKETS = 64
_FIRST_ADDRESS = IPv4Address("127.16.0.1")
_LOOPBACK_LAST = IPv4Address("127.255.255.254")


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetDescription:
    """How many sites, and what is at each."""

    sites: int
    meters: int = 6
    """Per site, under the unit ids 1, 2, 3, …"""
    profile: str = "eastron-sdm630"
    points: int = 20
    """At most so many per meter, `scan_serial` included."""
    period_s: float = 1_800.0
    seed: int = 1
    first_address: IPv4Address | None = _FIRST_ADDRESS
    """Each site has the next address and the same port; None: each has the next port of 127.0.0.1."""
    port: int = 15_020
    dead: int = 0
    """The last so many sites take connections and requests, and never answer."""
    latency_s: float = 0.0
    """How long every answer takes, as over a cellular line; less than a second."""

    def addresses(self) -> Iterator[tuple[str, int]]:
        """List host and port of each site."""
        for number in range(self.sites):
            if self.first_address is None:
                yield "127.0.0.1", self.port + number
            else:
                yield str(self.first_address + number), self.port


class Fleet:
    """The sites of a description, served by a thread of its own."""

    def __init__(self, description: FleetDescription, ledger: Ledger) -> None:
        """Make the meters; nothing listens yet.

        Raises: SiteDescriptionError.
        """
        _check(description)
        self.description = description
        self._ledger = ledger
        self._profile = _fleet_profile(description)
        self._loads = [
            Load(list(Role)[number % len(Role)], description.seed, phases=min(self._profile.phases or 1, 3))
            for number in range(description.meters)
        ]
        self._layouts = [Layout(self._profile, unit_id=unit_id) for unit_id in range(1, description.meters + 1)]
        self._loop: LoopThread | None = None
        self.servers: list[MeterServer] = []
        """One per site, once they listen."""

    def start(self) -> None:
        """Listen on all addresses.

        Raises: SimulatorError when the system allows too few open files, or an address is taken.
        """
        allow_open_files(2 * self.description.sites + _FILES_BESIDE_SOCKETS)
        loop = self._loop = LoopThread("simulated fleet")
        try:
            for number, (host, port) in enumerate(self.description.addresses()):
                server = MeterServer(self._meters(number), loop=loop, host=host, port=port, link=_ROUTER)
                server.start()
                self.servers.append(server)
                fault = self._fault(number)
                if fault is not None:
                    for meter_id in server.meters:
                        server.set_fault(meter_id, fault)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Reset all connections and stop listening."""
        for server in self.servers:
            server.stop()
        self.servers.clear()
        if self._loop is not None:
            self._loop.stop()
            self._loop = None

    def site_config(self) -> SiteConfig:
        """Build the configuration of an agent that polls all sites: one bus per site."""
        buses = (
            BusConfig(
                id=_site_id(number),
                host=host,
                port=port,
                timeout_s=_TIMEOUT_S,
                close_after_poll=True,
                meters=tuple(
                    MeterConfig(
                        id=_meter_id(number, unit_id),
                        profile=self._profile.id,
                        unit_id=unit_id,
                        period_s=self.description.period_s,
                    )
                    for unit_id in range(1, self.description.meters + 1)
                ),
            )
            for number, (host, port) in enumerate(self.description.addresses())
        )
        return SiteConfig(buses=tuple(buses), profiles=(self._profile,))

    def describe(self) -> dict[str, str | int | float]:
        """Describe the fleet for people and programs."""
        addresses = [f"{host}:{port}" for host, port in self.description.addresses()]
        return {
            "sites": self.description.sites,
            "meters": self.description.sites * self.description.meters,
            "points": len(self._profile.points),
            "profile": self.description.profile,
            "period_s": self.description.period_s,
            "first": addresses[0],
            "last": addresses[-1],
        }

    def _fault(self, number: int) -> Fault | None:
        if number >= self.description.sites - self.description.dead:
            return Fault(FaultKind.DEAD)
        return Fault(FaultKind.SLOW, delay_s=self.description.latency_s) if self.description.latency_s else None

    def _meters(self, number: int) -> Iterator[SimulatedMeter]:
        for index, (load, layout) in enumerate(zip(self._loads, self._layouts, strict=True)):
            yield SimulatedMeter(
                meter_id=_meter_id(number, index + 1),
                profile=layout,
                source=LoadSource(load, ahead_s=number * _AHEAD_S),
                unit_id=index + 1,
                ledger=self._ledger,
            )


def allow_open_files(needed: int) -> None:
    """Raise the number of open files to what the system lets this process have.

    Raises: SimulatorError when that is less than `needed`.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SimulatorError(
            f"{needed} open files are needed and the system allows {hard}: simulate fewer sites, "
            "or raise the limit (ulimit -Hn)"
        )


def _fleet_profile(description: FleetDescription) -> Profile:
    """Cut the profile down to the points that are played, so that a configuration need not name them."""
    try:
        library = get_profile(description.profile)
        points = usual_points(library, description.points)
        profile = with_identity(library, points)
    except UnknownProfile as error:
        raise SiteDescriptionError(f"--profile: {error}") from error
    except ValueError as error:
        raise SiteDescriptionError(f"--profile {description.profile}: {error}") from error
    chosen = profile.with_exponents(profile.get_point(name) for name in (*points, SERIAL_POINT))
    return profile.model_copy(update={"id": f"{library.id}-fleet", "points": chosen})


def _check(description: FleetDescription) -> None:
    if description.meters > _UNIT_IDS:
        raise SiteDescriptionError(f"--meters {description.meters}: a site has at most {_UNIT_IDS} unit ids")
    first = description.first_address
    if first is not None and not (first.is_loopback and first + (description.sites - 1) <= _LOOPBACK_LAST):
        raise SiteDescriptionError(
            f"--first-address {first}: {description.sites} addresses from there leave the loopback network 127.0.0.0/8"
        )
    if description.dead > description.sites:
        raise SiteDescriptionError(f"--dead {description.dead}: there are only {description.sites} sites")
    if description.latency_s >= _ROUTER.timeout_s:
        raise SiteDescriptionError(f"--latency {description.latency_s:g}: it must be less than {_ROUTER.timeout_s:g} s")
    if first is None and description.port + description.sites > 0x10000:
        raise SiteDescriptionError(f"--port {description.port}: {description.sites} ports from there end beyond 65535")


def _site_id(number: int) -> str:
    return f"site-{number + 1:05}"


def _meter_id(number: int, unit_id: int) -> str:
    return f"{_site_id(number)}-meter-{unit_id}"
