"""What the agent does on a site: which requests, decoded how, into which columns. Made by `edge_agent.site.compile`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from protocol.manifest import Manifest, PointKind
from protocol.profile import ModbusSettings, Point, Profile
from protocol.registers import Decoder, decoder_for
from protocol.report_policy import Report
from protocol.site.read_plan import ReadRequest, plan_requests
from protocol.site.timing import Timing
from protocol.site_config import BusConfig, MeterConfig, SiteConfig

QUESTIONS_PER_VISIT = 16
"""How many requests a visit may spend on finding out which points a device refuses; the rest waits for the next one."""
_DAY_MS = 86_400_000
_NOT_REPORTED = -1


class Column(NamedTuple):
    """Where one point's value stands in an answer, and where it goes."""

    slot: int
    """Index into the group's points, then its exponents."""
    start: int
    stop: int
    decode: Decoder


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """One request, and the values that its answer holds."""

    request: ReadRequest
    columns: tuple[Column, ...]
    """In the order of the request's points."""


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """Points of a meter that are sampled together and reported alike."""

    layout: int
    """Index into the manifest's layouts: what is reported."""
    live_layout: int | None
    """What each sample is recorded as while somebody looks; None where `layout` takes each sample anyway."""
    points: tuple[Point, ...]
    """What is sampled. With the policies `every` and `on_change` this is the layout's order."""
    exponents: tuple[Point, ...]
    """Read along because points need them; not part of a scan."""
    requests: tuple[RequestPlan, ...]
    period_ms: int
    offset_ms: int
    """How far inside each slot of the wall-clock grid the sample is taken."""
    report: Report

    @property
    def has_counters(self) -> bool:
        """Say whether some point is a counter: then samples fall on the half hours."""
        return any(point.kind is PointKind.COUNTER for point in self.points)

    @property
    def has_gauges(self) -> bool:
        """Say whether some point is no counter."""
        return any(point.kind is not PointKind.COUNTER for point in self.points)

    @property
    def samples_per_day(self) -> float:
        """Return how often the group is read."""
        return _DAY_MS / self.period_ms


@dataclass(frozen=True, slots=True)
class MeterPlan:
    """All that is needed to poll one meter."""

    config: MeterConfig
    profile: Profile
    groups: tuple[GroupPlan, ...]
    timing: Timing
    texts: tuple[RequestPlan, ...]
    """What the device says of itself, read now and then; a column's slot is the point's place among them."""

    @property
    def modbus(self) -> ModbusSettings:
        """Return how the device likes to be asked."""
        if self.profile.modbus is None:
            raise ValueError(f"profile {self.profile.id!r} is not read by Modbus")
        return self.profile.modbus

    @property
    def points(self) -> tuple[Point, ...]:
        """Return every point that is read, once, in the order of the groups."""
        return tuple({point.name: point for group in self.groups for point in group.points}.values())

    @property
    def requests(self) -> tuple[RequestPlan, ...]:
        """Return the requests of all groups."""
        return tuple(request for group in self.groups for request in group.requests)

    @property
    def readings_per_day(self) -> float:
        """Return how many values a day of sampling reads, reported or not."""
        return sum(len(group.points) * group.samples_per_day for group in self.groups)


@dataclass(frozen=True)
class BusPlan:
    """One bus and its meters, in the order in which they are asked."""

    config: BusConfig
    meters: tuple[MeterPlan, ...]

    @property
    def extra_pause_s(self) -> float:
        """Return the silence between requests that the slowest meter's profile asks for."""
        return max(meter.modbus.inter_frame_delay_ms for meter in self.meters) / 1000

    @cached_property
    def longest_visit_s(self) -> float:
        """Return how long a visit to all groups of a meter may take when every answer comes at the last moment."""
        return max(_longest_visit_s(self, meter) for meter in self.meters)


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


def compile_requests(
    requests: Iterable[ReadRequest], points: Sequence[Point], settings: ModbusSettings
) -> tuple[RequestPlan, ...]:
    """Add to each request where its values go: to the slots of `points`, in that order."""
    slots = {point.name: slot for slot, point in enumerate(points)}
    return tuple(
        RequestPlan(
            request,
            tuple(
                Column(
                    slot=slots[planned.point.name],
                    start=planned.offset,
                    stop=planned.offset + planned.point.words,
                    decode=decoder_for(planned.point, settings),
                )
                for planned in request.points
            ),
        )
        for request in requests
    )


def whole_meter(meter: MeterPlan) -> GroupPlan:
    """Return one group of all points of a meter, to be read once and reported nowhere."""
    points = meter.points
    wanted = meter.profile.with_exponents(points)
    requests = plan_requests(wanted, meter.modbus, meter.config.unit_id)
    return GroupPlan(
        layout=_NOT_REPORTED,
        live_layout=None,
        points=points,
        exponents=wanted[len(points) :],
        requests=compile_requests(requests, wanted, meter.modbus),
        period_ms=meter.groups[0].period_ms,
        offset_ms=0,
        report=Report(),
    )


def _longest_visit_s(bus: BusPlan, meter: MeterPlan) -> float:
    timing = meter.timing
    requests = len(meter.requests) + len(meter.texts) + QUESTIONS_PER_VISIT * (len(meter.groups) + 1)
    request_s = (1 + timing.retries) * (timing.timeout_s + max(timing.pause_between_requests_s, bus.extra_pause_s))
    return timing.timeout_s + bus.config.pause_after_connect_s + requests * request_s
