"""The energy page of a site: headline figures, meters, days and half hours, each with what is known about it."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from cloud_hub.analysis import scopes
from cloud_hub.analysis.comparison import Reference, read_comparison
from cloud_hub.analysis.gathering import Span
from cloud_hub.analysis.model import Flow, Scope, SitePart, Step
from cloud_hub.analysis.results import Profile, Series
from cloud_hub.analysis.service import read_heat_map, read_profile, read_series
from cloud_hub.calendar.days import local_date
from cloud_hub.dashboard import energy_figures
from cloud_hub.dashboard.energy_bars import Bars, draw_bars
from cloud_hub.dashboard.energy_cost import CostView, view_cost
from cloud_hub.dashboard.energy_figures import Headline, MeterRow
from cloud_hub.dashboard.energy_heat import Heat, draw_heat_map
from cloud_hub.dashboard.energy_meters import list_meter_lines
from cloud_hub.dashboard.energy_period import Period
from cloud_hub.dashboard.energy_wording import Scale, describe_quantity, scale_of

DAYS_OF_BARS_MAX = 62
"""Longer periods have a bar for each month."""
DAYS_OF_HEAT_MAX = 62

_MAIN_FLOWS = (Flow.IMPORT, Flow.NET, Flow.GENERATION, Flow.EXPORT, Flow.CHARGE, Flow.DISCHARGE)
_TITLES = {
    Flow.IMPORT: "Consumption",
    Flow.NET: "Import less export",
    Flow.GENERATION: "Generation",
    Flow.EXPORT: "Export",
    Flow.CHARGE: "Into batteries",
    Flow.DISCHARGE: "Out of batteries",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """A quantity that the site counts."""

    quantity: str
    name: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class EnergyPage:
    """All that the page shows, in words and places."""

    slug: str
    name: str
    zone: str
    period: Period
    has_next: bool
    """False when the next period has not begun."""
    is_running: bool
    """True when the period is not over yet."""
    quantity: str
    """To be named in addresses; empty for the usual one."""
    choices: tuple[Choice, ...]
    title: str
    headlines: tuple[Headline, ...]
    cost: CostView
    rows: tuple[MeterRow, ...]
    bars: Bars | None
    """None when nothing is counted here."""
    bar_name: str
    """`day` or `month`."""
    heat: Heat | None
    interval_min: int

    def address(self, period: Period) -> dict[str, str]:
        """Return what the address of this page names for another period."""
        return period.query | ({"quantity": self.quantity} if self.quantity else {})


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the page is about."""

    scope: Scope
    series: Series
    period: Period
    scale: Scale
    now: datetime

    @property
    def part(self) -> SitePart:
        """The site."""
        return self.scope.parts[0]

    @property
    def flow(self) -> Flow | None:
        """What the page is mainly about: consumption, where there is any; None where nothing is counted."""
        return next((flow for flow in _MAIN_FLOWS if flow in self.series.flows), None)


def compose_energy(session: Session, slug: str, period: Period, quantity: str, now: datetime) -> EnergyPage:
    """Compose the page; the number of statements does not grow with the site.

    Raises: UnknownSite, Invalid for a quantity that the site does not count.
    """
    scope = scopes.find_site(session, slug, quantity or None)
    series = read_series(session, scope, period.first, period.last, _step(period), now=now)
    asked = _Asked(scope, series, period, scale_of(scope.measure.unit), now)
    part, flow = asked.part, asked.flow
    today = local_date(now, part.zone)
    cost = view_cost(session, scope, period.first, period.last, now=now)
    return EnergyPage(
        slug=part.slug,
        name=part.name,
        zone=part.zone.key,
        period=period,
        has_next=period.last < today,
        is_running=period.first <= today <= period.last,
        quantity=quantity,
        choices=_list_choices(scope),
        title=_TITLES[flow] if flow else "",
        headlines=_list_headlines(session, asked, flow, cost) if flow else (),
        cost=cost,
        rows=_list_rows(session, asked),
        bars=draw_bars(series.buckets, series.flows[flow], series.step, asked.scale) if flow else None,
        bar_name=series.step.value,
        heat=_draw_heat(session, asked, flow) if flow and period.days <= DAYS_OF_HEAT_MAX else None,
        interval_min=part.interval_s // 60,
    )


def _step(period: Period) -> Step:
    return Step.DAY if period.days <= DAYS_OF_BARS_MAX else Step.MONTH


def _list_choices(scope: Scope) -> tuple[Choice, ...]:
    if len(scope.measures) < 2:
        return ()
    return tuple(
        Choice(each.quantity, describe_quantity(each.quantity), each == scope.measure) for each in scope.measures
    )


def _list_headlines(session: Session, asked: _Asked, flow: Flow, cost: CostView) -> tuple[Headline, ...]:
    scope, first, last, now, scale = asked.scope, asked.series.first, asked.series.last, asked.now, asked.scale
    profile = read_profile(session, scope, first, last, now=now, flow=flow)
    previous = read_comparison(session, scope, first, last, Reference.PREVIOUS, now=now, flow=flow)
    weekdays = read_comparison(session, scope, first, last, Reference.SAME_WEEKDAYS, now=now, flow=flow)
    days = asked.period.days
    beside = f"in the {days} days before" if days > 1 else "on the day before"
    return (
        energy_figures.head_total(_TITLES[flow], flow, asked.series.totals, scale),
        *cost.headlines,
        energy_figures.head_peak(profile, scale, asked.part.zone),
        energy_figures.head_base(profile, scale),
        *_head_hours(profile, asked.part, scale),
        energy_figures.head_comparison("Beside the days before", beside, previous, scale),
        energy_figures.head_comparison(
            "Beside the same weekdays", "on the same weekdays before, on average", weekdays, scale
        ),
    )


def _head_hours(profile: Profile, part: SitePart, scale: Scale) -> tuple[Headline, ...]:
    if profile.inside is None or profile.outside is None:
        sentence = (
            "No operating hours are set for this site: send them to "
            f"/api/v1/sites/{part.slug}/operating-hours to see what is used outside them."
        )
        return (energy_figures.head_sentence("Operating hours", sentence),)
    return (
        energy_figures.head_hours("Inside operating hours", profile.inside, profile.total, scale),
        energy_figures.head_hours("Outside operating hours", profile.outside, profile.total, scale),
    )


def _list_rows(session: Session, asked: _Asked) -> tuple[MeterRow, ...]:
    series, scale = asked.series, asked.scale
    whole = series.totals[Flow.IMPORT].amount_micro if Flow.IMPORT in series.totals else None
    span = Span(series.first, series.last, asked.now)
    lines = list_meter_lines(session, asked.part, asked.scope.measure, span)
    rest = energy_figures.make_rest(series.residual, whole, scale)
    rows = [energy_figures.make_row(line, whole, scale) for line in lines]
    return (*rows, rest) if rest is not None else tuple(rows)


def _draw_heat(session: Session, asked: _Asked, flow: Flow) -> Heat:
    heat = read_heat_map(session, asked.scope, asked.period.first, asked.period.last, now=asked.now, flow=flow)
    return draw_heat_map(heat, asked.scale)
