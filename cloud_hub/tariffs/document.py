"""What a tariff is: the document that a version of it holds. Prices are exact decimals in whole units of its currency.

Pure: `pricing.py` turns it into a bill. Prices are positive for what is paid, export credits too: the bill turns their
sign.
"""

from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from cloud_hub.calendar.holidays import Holidays
from cloud_hub.calendar.hours import SpanText, Weekday
from cloud_hub.web.documents import Document, Exact, parse_document

Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")
]
"""Printable letters on one line."""
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
"""ISO 4217."""
NotNegative = Annotated[Exact, Field(ge=0)]
DayKind = Weekday | Literal["holiday"]
Month = Annotated[int, Field(ge=1, le=12)]
DayOfYear = Annotated[str, StringConstraints(pattern=r"^(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")]
"""`MM-DD`."""


class RoundingMode(StrEnum):
    """What becomes of a half."""

    HALF_UP = "half_up"
    """Away from zero."""
    HALF_EVEN = "half_even"


class Flow(StrEnum):
    """Which energy a component prices."""

    IMPORT = "import"
    EXPORT = "export"
    """As a credit."""


class ProRata(StrEnum):
    """How steps per month shrink when less than a month is billed."""

    MONTH = "month"
    """By days of that month."""
    YEAR = "year"
    """By days of 365 / 12."""
    NONE = "none"


class Season(Document):
    """Days of the year, both ends included; from later than until goes over New Year."""

    first: DayOfYear
    last: DayOfYear


class When(Document):
    """A part of the year, the week and the day, by the wall clock. What is left out is no condition.

    On a holiday of the tariff, only `holiday` matches among the days.
    """

    days: tuple[DayKind, ...] = ()
    months: tuple[Month, ...] = ()
    seasons: tuple[Season, ...] = ()
    spans: tuple[SpanText, ...] = ()
    """Over midnight, a span belongs to the date it begins on."""

    @property
    def is_always(self) -> bool:
        """True without any condition."""
        return not (self.days or self.months or self.seasons or self.spans)


class Flat(Document):
    """One price per kWh."""

    kind: Literal["flat"]
    name: Name
    flow: Flow = Flow.IMPORT
    price_per_kwh: Exact


class Levy(Document):
    """A charge per imported kWh beside the energy price."""

    kind: Literal["levy"]
    name: Name
    price_per_kwh: Exact


class Band(Document):
    """A price and when it holds."""

    name: Name
    price_per_kwh: Exact
    when: When = When()


class TimeOfUse(Document):
    """Bands, the first that matches counts; the last matches always."""

    kind: Literal["time_of_use"]
    name: Name
    flow: Flow = Flow.IMPORT
    bands: Annotated[tuple[Band, ...], Field(min_length=1)]
    utc_offset_min: Annotated[int, Field(ge=-14 * 60, le=14 * 60)] | None = None
    """For meters whose switch knows no summer time: the clock of the bands, in minutes ahead of UTC."""

    @model_validator(mode="after")
    def _leaves_no_hole(self) -> Self:
        if not self.bands[-1].when.is_always:
            raise ValueError(f"the last band {self.bands[-1].name!r} must hold at all other times: give it no 'when'")
        _refuse_twice([band.name for band in self.bands], "band")
        return self


class Step(Document):
    """A price up to a consumption per month."""

    up_to_kwh: Annotated[Exact, Field(gt=0)] | None = None
    """None in the last step."""
    price_per_kwh: Exact


class Blocks(Document):
    """Prices in steps of the consumption of a local month."""

    kind: Literal["blocks"]
    name: Name
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]
    pro_rata: ProRata = ProRata.MONTH

    @model_validator(mode="after")
    def _rises(self) -> Self:
        limits = [step.up_to_kwh for step in self.steps]
        if limits[-1] is not None or None in limits[:-1]:
            raise ValueError("the last step, and no other, goes without up_to_kwh")
        known = [limit for limit in limits if limit is not None]
        if any(later <= earlier for earlier, later in pairwise(known)):
            raise ValueError("steps must rise: give each up_to_kwh above the one before")
        return self


class Series(Document):
    """Prices that a series gives, such as half-hourly ones of a market; they may be negative."""

    kind: Literal["series"]
    name: Name
    flow: Flow = Flow.IMPORT
    series: Slug


class Demand(Document):
    """A price per kW of a local month's highest interval."""

    kind: Literal["demand"]
    name: Name
    price_per_kw: Exact
    """For a whole month; of a part of it, its share of days."""
    when: When = When()
    """Intervals that count; left out: all."""
    ratchet_share: Annotated[Exact, Field(gt=0, le=1)] | None = None
    """At least this share of the highest of the months before is billed."""
    ratchet_months: Annotated[int, Field(ge=1, le=36)] = 11
    """How many months before."""


class Standing(Document):
    """A price per local day."""

    kind: Literal["standing"]
    name: Name
    price_per_day: Exact


class Minimum(Document):
    """What a month's charges come to at least, before export credits and taxes."""

    kind: Literal["minimum"]
    name: Name
    amount_per_month: NotNegative


class Tax(Document):
    """A percentage of a month's lines."""

    kind: Literal["tax"]
    name: Name
    percent: NotNegative
    on_rounded: bool = True
    """Of the rounded lines; else of what they were before."""
    on_credits: bool = False
    """Also of export credits, which lessens it."""
    exempt: tuple[Name, ...] = ()
    """Components without this tax."""


class Rounding(Document):
    """Once per line of the bill."""

    places: Annotated[int, Field(ge=0, le=6)] = 2
    mode: RoundingMode = RoundingMode.HALF_UP


EnergyComponent = Flat | Levy | TimeOfUse | Blocks | Series
Component = Annotated[EnergyComponent | Demand | Standing | Minimum | Tax, Field(discriminator="kind")]


class TariffDocument(Document):
    """All that a tariff's version charges."""

    currency: Currency
    components: Annotated[tuple[Component, ...], Field(min_length=1)]
    holidays: Holidays | None = None
    rounding: Rounding = Rounding()

    @model_validator(mode="after")
    def _names_are_clear(self) -> Self:
        names = [component.name for component in self.components]
        _refuse_twice(names, "component")
        if sum(isinstance(component, Minimum) for component in self.components) > 1:
            raise ValueError("there is more than one minimum: keep one")
        for tax in self.components:
            unknown = set(tax.exempt) - set(names) if isinstance(tax, Tax) else set()
            if unknown:
                raise ValueError(
                    f"tax {tax.name!r} exempts {min(unknown)!r}, which is no component: name one of {names}"
                )
        return self


def parse_tariff(given: object) -> TariffDocument:
    """Read a version's document.

    Raises: Invalid.
    """
    return parse_document(TariffDocument, given, "tariff")


def _refuse_twice(names: list[str], what: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what} {name!r} is there twice: give each a name of its own")
