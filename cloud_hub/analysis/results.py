"""What the analysis answers: series, profiles, heat maps, comparisons, costs, emissions.

Amounts, power and None are as in `cloud_hub.analysis.model`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from cloud_hub.analysis.model import Figure, Flow, Residual, Scope, SitePart, Step
from cloud_hub.calendar.days import Grid
from cloud_hub.tariffs.bill import Bill
from cloud_hub.tariffs.models import EmissionSeries


@dataclass(frozen=True, slots=True)
class Bucket:
    """A stretch of a series: local days, both included, or one interval."""

    first_day: date
    last_day: date
    start: datetime | None
    """In UTC; None where sites in several time zones are added up, each by its own days."""
    end: datetime | None


@dataclass(frozen=True, slots=True)
class Series:
    """Equally long columns of figures, oldest first, and their totals."""

    scope: Scope
    first: date
    last: date
    """Local days, both included."""
    step: Step
    buckets: tuple[Bucket, ...]
    flows: Mapping[Flow, tuple[Figure, ...]]
    totals: Mapping[Flow, Figure]
    residuals: tuple[Residual, ...]
    """Empty where there are no sub-meters."""
    residual: Residual | None


@dataclass(frozen=True, slots=True)
class Peak:
    """The highest mean power of one interval."""

    power_micro_per_h: int
    start: datetime
    """In UTC."""
    end: datetime
    local_start: datetime
    """The same instant on the site's clock, with its offset."""
    is_measured: bool
    """False when the interval is estimated, edited or known in part only."""


@dataclass(frozen=True, slots=True)
class BaseLoad:
    """Mean power of the lowest tenth of the measured intervals."""

    power_micro_per_h: int
    intervals: int
    """How many that tenth is."""


@dataclass(frozen=True, slots=True)
class Money:
    """An amount of one currency, exact."""

    currency: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class SiteCost:
    """What the part of a scope in one site costs."""

    part: SitePart
    bill: Bill
    """Its lines name their intervals by their places in `grid`."""
    grid: Grid


@dataclass(frozen=True, slots=True)
class Cost:
    """What a scope costs."""

    scope: Scope
    first: date
    last: date
    imported: Figure
    exported: Figure
    """What the cost is of; what is missing of it is missing in the cost."""
    has_all_components: bool
    """False for a meter or a group: standing and demand charges and minima belong to whole sites and are left out."""
    sites: tuple[SiteCost, ...]
    totals: tuple[Money, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Emitted:
    """What a scope emits by one series of factors, in g of CO2 equivalent."""

    series: EmissionSeries
    emitted_g: Decimal
    avoided_g: Decimal
    """Elsewhere, by export: told beside, never taken off."""
    without_factor_ms: int
    """Time for which, in part or as a whole, the series has no factor; it is in neither sum. Added up over sites."""


@dataclass(frozen=True, slots=True)
class Emissions:
    """What a scope emits, by each series of factors side by side."""

    scope: Scope
    first: date
    last: date
    imported: Figure
    exported: Figure
    by_series: tuple[Emitted, ...]


@dataclass(frozen=True, slots=True)
class HoursShare:
    """Energy and cost inside, or outside, the operating hours."""

    figure: Figure
    duration_ms: int
    """Of the clock, not of the registers; summed over sites."""
    cost: tuple[Money, ...]
    """What varies with energy at each site's tariff, one per currency; empty without a tariff."""


@dataclass(frozen=True, slots=True)
class DayShape:
    """Mean power over the day, by the wall clock, of one kind of day."""

    name: str
    """`weekday`, `saturday` or `sunday`."""
    days: int
    slots: tuple[int, ...]
    """Minutes since midnight."""
    power_micro_per_h: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """How a scope uses energy over a range of days."""

    scope: Scope
    first: date
    last: date
    total: Figure
    has_hours: bool
    """False when no site of the scope has operating hours: then inside and outside are None."""
    inside: HoursShare | None
    outside: HoursShare | None
    peak: Peak | None
    """The highest measured interval, or the highest at all where none is measured. None for sites on several clocks."""
    higher_unmeasured: Peak | None
    """An interval that would be above the peak, were it measured."""
    base_load: BaseLoad | None
    mean_power_micro_per_h: int | None
    """Over the measured intervals."""
    load_factor: Decimal | None
    """Mean over peak power, four digits; None where the peak is not measured."""
    shapes: tuple[DayShape, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a heat map: a time of the wall clock."""

    slot: int
    """Minutes since midnight."""
    is_repeated: bool
    """True for the second pass of the hour that the clock goes through twice."""


class CellState(StrEnum):
    """What a cell without a number means; the others are called as their quality."""

    NO_SUCH_TIME = "no_such_time"
    """The wall clock never showed it on that day."""


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Mean power by local day (rows) and wall clock (columns).

    The columns are in the order in which the clock goes through them: those of the hour that an autumn day
    repeats stand behind that hour, and hold `no_such_time` on all other days, as the hour that a spring day skips does.
    """

    scope: Scope
    days: tuple[date, ...]
    columns: tuple[Column, ...]
    power_micro_per_h: tuple[tuple[int | None, ...], ...]
    qualities: tuple[tuple[str, ...], ...]
    """Words of `FigureQuality` or `CellState`."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One period of a comparison."""

    first: date
    last: date
    figure: Figure
    is_comparable: bool
    reason: str
    """Why it is not comparable, in words; empty when it is."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A period beside earlier ones of the same length."""

    scope: Scope
    flow: Flow
    period: Compared
    references: tuple[Compared, ...]
    """Newest first."""
    reference_micro: int | None
    """The mean of the comparable references; None when there is none."""
    change_micro: int | None
    """The period less the reference; None when they are not comparable."""
    change_per_mille: int | None
    cut_at: str | None = None
    """The wall clock up to which each period's last day is counted, when the period is not over yet."""
