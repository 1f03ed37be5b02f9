"""From the site configuration to the plan of what the agent does: run by the agent, and by the hub before it publishes.

Pure. All faults a person can make here name the key.
"""

from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

from protocol.errors import InvalidSite, UnknownProfile
from protocol.library import get_profile
from protocol.manifest import Layout, Manifest
from protocol.profile import ModbusSettings, Point, Profile
from protocol.report_policy import Policy
from protocol.site.estimate import find_impossible
from protocol.site.grouping import GroupKey, Stagger, group_points
from protocol.site.layouts import LayoutBook, live_layout, report_layout
from protocol.site.plan import BusPlan, GroupPlan, MeterPlan, RequestPlan, SitePlan, compile_requests
from protocol.site.points import apply_factors, check_writable, describing_points
from protocol.site.read_plan import ReadRequest, plan_reads, plan_requests, readable
from protocol.site.timing import Timing
from protocol.site_config import BusConfig, MeterConfig, SiteConfig
from protocol.wording import did_you_mean, key_text


def compile_site(config: SiteConfig, where: str) -> SitePlan:
    """Compile a site configuration; `where` names it in messages.

    Raises: InvalidSite.
    """
    book, moulds = LayoutBook(), _Moulds()
    buses = tuple(_compile_bus(config, index, book, moulds, where) for index in range(len(config.buses)))
    plan = SitePlan(config, buses, Manifest(layouts=tuple(book.layouts)))
    reason = find_impossible(plan)
    if reason is not None:
        raise InvalidSite(f"{where}: {reason}")
    return plan


class _GroupMould(NamedTuple):
    key: GroupKey
    points: tuple[Point, ...]
    exponents: tuple[Point, ...]
    requests: tuple[RequestPlan, ...]
    report: Layout
    live: Layout | None
    """Both layouts are those of the first such meter."""


class _Mould(NamedTuple):
    """What meters have in common that are configured alike: thousands of a collector's meters come from a few."""

    groups: tuple[_GroupMould, ...]
    texts: tuple[RequestPlan, ...]


class _Moulds:
    """Makes each mould once."""

    def __init__(self) -> None:
        self._made: dict[tuple[Hashable, ...], _Mould] = {}

    def of(self, profile: Profile, settings: ModbusSettings, meter: MeterConfig, place: str) -> _Mould:
        """Return the mould of a meter; `place` names it in messages.

        Raises: InvalidSite.
        """
        alike = (profile.id, *(getattr(meter, name) for name in _FORMING))
        mould = self._made.get(alike)
        if mould is None:
            texts = readable(describing_points(profile), settings)
            mould = self._made[alike] = _Mould(
                groups=tuple(_mould_groups(profile, settings, meter, place)),
                texts=compile_requests(plan_requests(texts, settings, meter.unit_id), texts, settings),
            )
        return mould


_FORMING = ("unit_id", "period_s", "points", "report", "groups", "factors")
"""What of a meter's configuration forms its mould."""


def _compile_bus(config: SiteConfig, index: int, book: LayoutBook, moulds: _Moulds, where: str) -> BusPlan:
    bus = config.buses[index]
    meters = []
    for number, meter in enumerate(bus.meters):
        place = f"{where}: {key_text(('buses', index, 'meters', number))}"
        profile = _find_profile(config, meter, place)
        settings = profile.modbus
        if settings is None:
            raise InvalidSite(f"{place}.profile: {profile.id!r} is read by SNMP, not Modbus; choose a Modbus profile")
        check_writable(profile, meter, place)
        mould, stagger = moulds.of(profile, settings, meter, place), Stagger(number, len(bus.meters))
        meters.append(
            MeterPlan(
                config=meter,
                profile=profile,
                groups=tuple(_cast(group, meter, book, place, stagger=stagger) for group in mould.groups),
                timing=_timing(bus, meter),
                texts=mould.texts,
            )
        )
    return BusPlan(bus, tuple(meters))


def _mould_groups(profile: Profile, settings: ModbusSettings, meter: MeterConfig, place: str) -> Iterator[_GroupMould]:
    chosen = group_points(profile, meter, place)
    by_name = {point.name: point for points in chosen.values() for point in points}
    factored = apply_factors(meter, by_name, profile, place)
    aggregates = 0
    for key, chosen_points in chosen.items():
        points = tuple(factored[point.name] for point in chosen_points)
        wanted = profile.with_exponents(points)
        yield _GroupMould(
            key=key,
            points=points,
            exponents=wanted[len(points) :],
            requests=compile_requests(_plan(wanted, settings, meter, place), wanted, settings),
            report=report_layout(meter, key, points, place, aggregates_before=aggregates),
            live=None if key.report.policy is Policy.EVERY else live_layout(meter, key, points),
        )
        aggregates += key.report.policy is Policy.AGGREGATE


def _cast(mould: _GroupMould, meter: MeterConfig, book: LayoutBook, place: str, *, stagger: Stagger) -> GroupPlan:
    return GroupPlan(
        layout=book.add(_of_meter(mould.report, meter), place),
        live_layout=None if mould.live is None else book.add(_of_meter(mould.live, meter), place),
        points=mould.points,
        exponents=mould.exponents,
        requests=mould.requests,
        period_ms=mould.key.period_ms,
        offset_ms=stagger.offset_ms(mould.key, mould.points),
        report=mould.key.report,
    )


def _of_meter(layout: Layout, meter: MeterConfig) -> Layout:
    return layout.model_copy(update={"meter": meter.id, "label": meter.label})


def _plan(points: Sequence[Point], settings: ModbusSettings, meter: MeterConfig, place: str) -> tuple[ReadRequest, ...]:
    try:
        return plan_reads(points, settings, meter.unit_id)
    except ValueError as error:
        raise InvalidSite(f"{place}.points: {error}; remove it") from None


def _timing(bus: BusConfig, meter: MeterConfig) -> Timing:
    pause_s = meter.pause_between_requests_s
    return Timing(
        timeout_s=bus.timeout_s if meter.timeout_s is None else meter.timeout_s,
        retries=bus.retries if meter.retries is None else meter.retries,
        pause_between_requests_s=bus.pause_between_requests_s if pause_s is None else pause_s,
    )


def _find_profile(config: SiteConfig, meter: MeterConfig, place: str) -> Profile:
    for profile in config.profiles:
        if profile.id == meter.profile:
            return profile
    try:
        return get_profile(meter.profile)
    except UnknownProfile as error:
        own = did_you_mean(meter.profile, [profile.id for profile in config.profiles])
        raise InvalidSite(f"{place}.profile: {error}{own}") from None
