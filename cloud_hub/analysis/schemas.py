"""Shapes of the analysis, as the API answers them.

Amounts, powers and money are texts of exact decimals: a JSON number would become a float on its way.
Completeness is a number from 0 to 1 in steps of a thousandth, rounded down. Null is: nothing is known.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from cloud_hub.registry.schemas import Instant

Exact = Annotated[Decimal, PlainSerializer(lambda number: format(number, "f"), return_type=str)]
"""An exact decimal, written as a text without exponent."""


class MeasureOut(BaseModel):
    """What is counted."""

    quantity: str
    unit: str
    """Of the amounts in the answer: kWh for Wh."""


class ScopeOut(BaseModel):
    """What an answer is about."""

    kind: str
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

    amount: Exact | None
    quality: str
    completeness: float | None
    measured: Exact
    estimated: Exact
    edited: Exact
    partial: Exact
    """A lower bound of what was known in part only."""
    meters: int
    """Registers expected at once, at most."""
    expected_s: int
    """Summed over registers, as the next one."""
    missing_s: int


class ColumnsOut(BaseModel):
    """Equally long columns of figures, one entry per bucket."""

    amount: list[Exact | None]
    quality: list[str]
    completeness: list[float | None]
    estimated: list[Exact]
    edited: list[Exact]
    partial: list[Exact]
    meters: list[int]
    missing_s: list[int]


class ResidualOut(BaseModel):
    """What no sub-meter counts, over the time in which all is known."""

    amount: Exact | None
    known_s: int
    expected_s: int


class EnergyOut(Ranged):
    """A series with totals."""

    step: str
    day: list[date]
    """First local day of each bucket."""
    bucket_start: list[Instant | None]
    bucket_end: list[Instant | None]
    flows: dict[str, ColumnsOut]
    totals: dict[str, FigureOut]
    residuals: list[Exact | None]
    """Of each bucket; empty without sub-meters."""
    residual: ResidualOut | None


class MoneyOut(BaseModel):
    """An amount of one currency."""

    currency: str
    amount: Exact


class HoursShareOut(BaseModel):
    """What lies inside, or outside, operating hours."""

    figure: FigureOut
    duration_s: int
    cost: list[MoneyOut]


class PeakOut(BaseModel):
    """The highest mean power of an interval."""

    power: Exact
    start: Instant
    end: Instant
    local_start: datetime
    is_measured: bool


class BaseLoadOut(BaseModel):
    """Mean power of the lowest tenth of the measured intervals."""

    power: Exact
    intervals: int


class DayShapeOut(BaseModel):
    """Mean power by the wall clock of one kind of day."""

    name: str
    days: int
    clock: list[str]
    power: list[Exact | None]


class ProfileOut(Ranged):
    """How energy is used."""

    flow: str
    total: FigureOut
    inside: HoursShareOut | None
    outside: HoursShareOut | None
    peak: PeakOut | None
    higher_unmeasured: PeakOut | None
    base_load: BaseLoadOut | None
    mean_power: Exact | None
    load_factor: Exact | None
    shapes: list[DayShapeOut]


class HeatColumnOut(BaseModel):
    """A time of the wall clock."""

    clock: str
    is_repeated: bool


class HeatMapOut(Ranged):
    """Mean power by local day and wall clock."""

    flow: str
    day: list[date]
    columns: list[HeatColumnOut]
    power: list[list[Exact | None]]
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
    flow: str
    reference: str
    period: ComparedOut
    references: list[ComparedOut]
    reference_amount: Exact | None
    change: Exact | None
    change_percent: Exact | None
    cut_at: str | None
    """Wall clock up to which the last days are counted."""


class LineOut(BaseModel):
    """A line of a bill: one component in one local month."""

    model_config = ConfigDict(populate_by_name=True)

    name: str
    component: str
    kind: str
    flow: str
    month: date
    start: Instant = Field(alias="from")
    end: Instant = Field(alias="to")
    version_id: int | None
    quantity: Exact
    unit: str
    rate: Exact | None
    share: str
    """Of a month, as a fraction: 1 for what is not charged by the month."""
    exact: Exact
    """To twelve digits behind the point."""
    amount: Exact
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
    net: Exact
    tax: Exact
    total: Exact
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
    basis: str
    kind: str
    life_cycle: bool
    with_losses: bool
    emitted_g: Exact
    avoided_g: Exact
    """Elsewhere, by export: never taken off."""
    without_factor_s: int


class EmissionsOut(Ranged):
    """Emissions by each series, side by side."""

    imported: FigureOut
    exported: FigureOut
    by_series: list[EmittedOut]
