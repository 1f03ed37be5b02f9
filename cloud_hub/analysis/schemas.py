"""Shapes of the analysis, as the API answers them.

Amounts, powers and money are texts of exact decimals: a JSON number would become a float on its way.
Completeness is a number from 0 to 1 in steps of a thousandth, rounded down. Null is: nothing is known.
"""

from datetime import date, datetime

from pydantic import BaseModel, ConfigDict, Field

from cloud_hub.analysis.comparison import Reference
from cloud_hub.analysis.model import FigureQuality, Flow, ScopeKind, Step
from cloud_hub.registry.schemas import Instant
from cloud_hub.tariffs.document import Flow as PricedFlow
from cloud_hub.tariffs.emission_series import Basis, FactorKind
from cloud_hub.web.numbers import ExactOut


class MeasureOut(BaseModel):
    """What is counted."""

    quantity: str
    unit: str
    """Of the amounts in the answer: kWh for Wh."""


class ScopeOut(BaseModel):
    """What an answer is about."""

    kind: ScopeKind
    key: str
    name: str
    quantity: str
    unit: str
    power_unit: str
    measures: list[MeasureOut]
    """All that can be asked for here."""
    sites: list[str]


class Ranged(BaseModel):
    """An answer over local days."""

    model_config = ConfigDict(populate_by_name=True)

    scope: ScopeOut
    start: date = Field(alias="from")
    end: date = Field(alias="to")
    """Not part of it."""


class FigureOut(BaseModel):
    """An amount and what is known about it."""

    amount: ExactOut | None
    quality: FigureQuality
    completeness: float | None
    measured: ExactOut
    estimated: ExactOut
    edited: ExactOut
    partial: ExactOut
    """A lower bound of what was known in part only."""
    meters: int
    """Registers expected at once, at most."""
    expected_s: int
    """Summed over registers, as the next one."""
    missing_s: int


class ColumnsOut(BaseModel):
    """Equally long columns of figures, one entry per bucket."""

    amount: list[ExactOut | None]
    quality: list[FigureQuality]
    completeness: list[float | None]
    estimated: list[ExactOut]
    edited: list[ExactOut]
    partial: list[ExactOut]
    meters: list[int]
    missing_s: list[int]


class ResidualOut(BaseModel):
    """What no sub-meter counts, over the time in which all is known."""

    amount: ExactOut | None
    known_s: int
    expected_s: int


class EnergyOut(Ranged):
    """A series with totals."""

    step: Step
    day: list[date]
    """First local day of each bucket."""
    bucket_start: list[Instant | None]
    bucket_end: list[Instant | None]
    flows: dict[Flow, ColumnsOut]
    totals: dict[Flow, FigureOut]
    residuals: list[ExactOut | None]
    """Of each bucket; empty without sub-meters."""
    residual: ResidualOut | None


class MoneyOut(BaseModel):
    """An amount of one currency."""

    currency: str
    amount: ExactOut


class HoursShareOut(BaseModel):
    """What lies inside, or outside, operating hours."""

    figure: FigureOut
    duration_s: int
    cost: list[MoneyOut]


class PeakOut(BaseModel):
    """The highest mean power of an interval."""

    power: ExactOut
    start: Instant
    end: Instant
    local_start: datetime
    is_measured: bool


class BaseLoadOut(BaseModel):
    """Mean power of the lowest tenth of the measured intervals."""

    power: ExactOut
    intervals: int


class DayShapeOut(BaseModel):
    """Mean power by the wall clock of one kind of day."""

    name: str
    days: int
    clock: list[str]
    power: list[ExactOut | None]


class ProfileOut(Ranged):
    """How energy is used."""

    flow: Flow
    total: FigureOut
    inside: HoursShareOut | None
    outside: HoursShareOut | None
    peak: PeakOut | None
    higher_unmeasured: PeakOut | None
    base_load: BaseLoadOut | None
    mean_power: ExactOut | None
    load_factor: ExactOut | None
    shapes: list[DayShapeOut]


class HeatColumnOut(BaseModel):
    """A time of the wall clock."""

    clock: str
    is_repeated: bool


class HeatMapOut(Ranged):
    """Mean power by local day and wall clock."""

    flow: Flow
    day: list[date]
    columns: list[HeatColumnOut]
    power: list[list[ExactOut | None]]
    quality: list[list[str]]


class ComparedOut(BaseModel):
    """One period of a comparison."""

    model_config = ConfigDict(populate_by_name=True)

    start: date = Field(alias="from")
    end: date = Field(alias="to")
    figure: FigureOut
    is_comparable: bool
    reason: str


class ComparisonOut(BaseModel):
    """A period beside earlier ones."""

    scope: ScopeOut
    flow: Flow
    reference: Reference
    period: ComparedOut
    references: list[ComparedOut]
    reference_amount: ExactOut | None
    change: ExactOut | None
    change_percent: ExactOut | None
    cut_at: str | None
    """Wall clock up to which the last days are counted."""


class LineOut(BaseModel):
    """A line of a bill: one component in one local month."""

    model_config = ConfigDict(populate_by_name=True)

    name: str
    component: str
    kind: str
    flow: PricedFlow
    month: date
    start: Instant = Field(alias="from")
    end: Instant = Field(alias="to")
    version_id: int | None
    quantity: ExactOut
    unit: str
    rate: ExactOut | None
    share: str
    """Of a month, as a fraction: 1 for what is not charged by the month."""
    exact: ExactOut
    """To twelve digits behind the point."""
    amount: ExactOut
    """Rounded as the tariff says."""
    completeness: float
    intervals: int
    """How many it comes from."""
    interval_start: list[int] | None
    """Their starts in UTC milliseconds since 1970, when asked for with trace=1."""
    lines: list[int]
    """Of a tax or a minimum: places in the list of the lines it comes from."""


class SiteCostOut(BaseModel):
    """The bill of one site."""

    site: str
    currency: str | None
    """Null when no tariff holds."""
    net: ExactOut
    tax: ExactOut
    total: ExactOut
    completeness: float
    unpriced_intervals: int
    notes: list[str]
    lines: list[LineOut]


class CostOut(Ranged):
    """What a scope costs."""

    imported: FigureOut
    exported: FigureOut
    has_all_components: bool
    notes: list[str]
    totals: list[MoneyOut]
    sites: list[SiteCostOut]


class EmittedOut(BaseModel):
    """Emissions by one series of factors."""

    series_id: int
    slug: str
    name: str
    region: str
    publisher: str
    year: int | None
    basis: Basis
    kind: FactorKind
    life_cycle: bool
    with_losses: bool
    emitted_g: ExactOut
    avoided_g: ExactOut
    """Elsewhere, by export: never taken off."""
    without_factor_s: int


class EmissionsOut(Ranged):
    """Emissions by each series, side by side."""

    imported: FigureOut
    exported: FigureOut
    by_series: list[EmittedOut]
