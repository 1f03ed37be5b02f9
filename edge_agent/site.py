"""From the site configuration to what the agent does: which requests, decoded how, into which columns.

Pure but for reading the file. All faults a person can make here name the file and the key.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from edge_agent.config_files import did_you_mean, explain, key_text, read_json, read_toml
from edge_agent.domain.read_plan import ReadRequest, plan_reads
from edge_agent.errors import SettingsError
from protocol.errors import UnknownProfile
from protocol.library import default_points, get_profile
from protocol.manifest import Layout, Manifest, ManifestPoint
from protocol.profile import ModbusSettings, Point, Profile
from protocol.registers import Decoder, decoder_for
from protocol.site_config import BusConfig, MeterConfig, SiteConfig

_REMEDY = "write the site configuration there, or name it by 'site' in agent.toml"


class Column(NamedTuple):
    """Where one point's value stands in an answer, and where it goes."""

    slot: int
    """Index into the meter's points, then its exponents."""
    start: int
    stop: int
    decode: Decoder


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """One request, and the values that its answer holds."""

    request: ReadRequest
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class MeterPlan:
    """All that is needed to poll one meter."""

    config: MeterConfig
    profile: Profile
    layout: int
    """Index into the manifest's layouts."""
    points: tuple[Point, ...]
    """In the layout's order."""
    exponents: tuple[Point, ...]
    """Read along because points need them; not part of a scan."""
    requests: tuple[RequestPlan, ...]

    @property
    def period_ms(self) -> int:
        """Return the time between polls in milliseconds."""
        return round(self.config.period_s * 1000)

    @property
    def readings_per_day(self) -> float:
        """Return how many values a day of polling gives."""
        return len(self.points) * 86_400 / self.config.period_s


@dataclass(frozen=True, slots=True)
class BusPlan:
    """One bus and its meters, in the order in which they are asked."""

    config: BusConfig
    meters: tuple[MeterPlan, ...]

    @property
    def pause_s(self) -> float:
        """Return the silence between requests that the bus or its slowest meter asks for."""
        delays_ms = [settings.inter_frame_delay_ms for meter in self.meters if (settings := meter.profile.modbus)]
        return max(self.config.pause_between_requests_s, max(delays_ms, default=0) / 1000)


@dataclass(frozen=True, slots=True)
class SitePlan:
    """A compiled site configuration."""

    config: SiteConfig
    buses: tuple[BusPlan, ...]
    manifest: Manifest

    @property
    def meters(self) -> tuple[MeterPlan, ...]:
        """Return the meters of all buses, in the order of the manifest's layouts."""
        return tuple(meter for bus in self.buses for meter in bus.meters)


def load_site(path: Path) -> SitePlan:
    """Read a site configuration (TOML, or JSON by its suffix) and compile it.

    Raises: SettingsError naming file, key, value and remedy.
    """
    read = read_json if path.suffix == ".json" else read_toml
    try:
        config = SiteConfig.model_validate(read(path, remedy=_REMEDY))
    except ValidationError as error:
        raise SettingsError(explain(path, error)) from None
    return compile_site(config, str(path))


def compile_site(config: SiteConfig, where: str) -> SitePlan:
    """Compile a site configuration; `where` names its file in messages.

    Raises: SettingsError.
    """
    buses: list[BusPlan] = []
    layouts: list[Layout] = []
    for bus_index, bus in enumerate(config.buses):
        meters: list[MeterPlan] = []
        for meter_index, meter in enumerate(bus.meters):
            place = f"{where}: {key_text(('buses', bus_index, 'meters', meter_index))}"
            plan = _compile_meter(config, meter, layout=len(layouts), place=place)
            meters.append(plan)
            layouts.append(_layout(plan))
        buses.append(BusPlan(bus, tuple(meters)))
    return SitePlan(config, tuple(buses), Manifest(layouts=tuple(layouts)))


def _compile_meter(config: SiteConfig, meter: MeterConfig, *, layout: int, place: str) -> MeterPlan:
    profile = _find_profile(config, meter, place)
    settings = profile.modbus
    if settings is None:
        raise SettingsError(f"{place}.profile: {profile.id!r} is read by SNMP, not Modbus; choose a Modbus profile")
    points = _choose_points(profile, meter, place)
    wanted = profile.with_exponents(points)
    try:
        requests = plan_reads(wanted, settings, meter.unit_id)
    except ValueError as error:
        raise SettingsError(f"{place}.points: {error}; remove it") from None
    slots = {point.name: slot for slot, point in enumerate(wanted)}
    return MeterPlan(
        config=meter,
        profile=profile,
        layout=layout,
        points=points,
        exponents=wanted[len(points) :],
        requests=tuple(_compile_request(request, slots, settings) for request in requests),
    )


def _compile_request(request: ReadRequest, slots: dict[str, int], settings: ModbusSettings) -> RequestPlan:
    columns = tuple(
        Column(
            slot=slots[planned.point.name],
            start=planned.offset,
            stop=planned.offset + planned.point.words,
            decode=decoder_for(planned.point, settings),
        )
        for planned in request.points
    )
    return RequestPlan(request, columns)


def _find_profile(config: SiteConfig, meter: MeterConfig, place: str) -> Profile:
    for profile in config.profiles:
        if profile.id == meter.profile:
            return profile
    try:
        return get_profile(meter.profile)
    except UnknownProfile as error:
        own = did_you_mean(meter.profile, [profile.id for profile in config.profiles])
        raise SettingsError(f"{place}.profile: {error}{own}") from None


def _choose_points(profile: Profile, meter: MeterConfig, place: str) -> tuple[Point, ...]:
    if meter.points is None:
        points = default_points(profile)
        if not points:
            raise SettingsError(
                f"{place}: profile {profile.id!r} has no points that are read unasked; choose some with 'points'"
            )
        return points
    repeated = [name for name, times in Counter(meter.points).items() if times > 1]
    if repeated:
        raise SettingsError(f"{place}.points: {repeated[0]!r} is named twice; name it once")
    return tuple(_choose_point(profile, name, f"{place}.points") for name in meter.points)


def _choose_point(profile: Profile, name: str, place: str) -> Point:
    try:
        point = profile.get_point(name)
    except KeyError:
        near = did_you_mean(name, [point.name for point in profile.points if _reading_fault(point) is None])
        raise SettingsError(
            f"{place}: {name!r} is no point of profile {profile.id!r}{near}; correct or remove it"
        ) from None
    fault = _reading_fault(point)
    if fault is not None:
        raise SettingsError(f"{place}: {name!r} of profile {profile.id!r} {fault}; remove it")
    return point


def _reading_fault(point: Point) -> str | None:
    if point.is_text:
        return "is a text, and scans hold numbers"
    return None if point.is_readable else "can only be written"


def _layout(plan: MeterPlan) -> Layout:
    return Layout(
        meter=plan.config.id,
        label=plan.config.label,
        profile=plan.profile.id,
        period_s=plan.config.period_s,
        points=tuple(_manifest_point(point) for point in plan.points),
    )


def _manifest_point(point: Point) -> ManifestPoint:
    return ManifestPoint(name=point.name, quantity=point.quantity, unit=point.unit, kind=point.kind)


def find_meter(plan: SitePlan, meter_id: str) -> tuple[BusPlan, MeterPlan]:
    """Return a meter and its bus.

    Raises: SettingsError naming the meters that look alike.
    """
    for bus in plan.buses:
        for meter in bus.meters:
            if meter.config.id == meter_id:
                return bus, meter
    known = [meter.config.id for meter in plan.meters]
    raise SettingsError(f"meter {meter_id!r} is not in the site configuration{did_you_mean(meter_id, known)}")
