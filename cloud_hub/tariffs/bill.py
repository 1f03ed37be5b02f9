"""What pricing answers: lines that each tell where they come from. Pure."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction

from cloud_hub.tariffs.document import Flow, TariffDocument


@dataclass(frozen=True, slots=True)
class PricePeriod:
    """A version of a tariff, and when it holds: `[from_ms, until_ms)`; None is without an end."""

    document: TariffDocument
    from_ms: int | None = None
    until_ms: int | None = None
    tariff: str = ""
    """The tariff's slug."""
    version_id: int | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a bill, for one component in one local month.

    `exact` is `quantity * rate * share`, where there is a rate; `amount` is `exact`, rounded once.
    """

    name: str
    """The component's, and the band's or step's: `Energy: night`."""
    component: str
    kind: str
    """A `kind` of `cloud_hub.tariffs.document`."""
    flow: Flow
    month: date
    """Its first day."""
    from_ms: int
    to_ms: int
    """What part of the month, in UTC milliseconds."""
    version_id: int | None
    quantity: Decimal
    unit: str
    """`kWh`, `kW`, `day`, `month`, or for taxes the currency."""
    rate: Decimal | None
    """Per unit, negative for a credit; None where it varies or the line fills up to a minimum."""
    share: Fraction
    """Of a month, for what is charged per month; else 1."""
    exact: Decimal
    amount: Decimal
    intervals: tuple[int, ...]
    """Places in the grid of the intervals that it comes from; of a demand charge, the highest."""
    lines: tuple[int, ...] = ()
    """Of a tax or a minimum: places in the bill of the lines that it comes from."""
    completeness: int = 1000
    """Of the time that it looks at, in thousandths; below 1000, the amount may still change."""


@dataclass(frozen=True, slots=True)
class Bill:
    """All lines by month; a bill over several months is the sum of the bills of each."""

    currency: str | None
    """None when no tariff holds in the whole range."""
    lines: tuple[Line, ...]
    net: Decimal
    """Of the rounded lines, without taxes."""
    tax: Decimal
    total: Decimal
    completeness: int
    """Of the intervals, in thousandths of their time."""
    unpriced: tuple[int, ...]
    """Places of intervals that have no price in part or as a whole: no tariff holds, or a series has a hole."""
    notes: tuple[str, ...] = ()
    """What a person should know before they pay."""
