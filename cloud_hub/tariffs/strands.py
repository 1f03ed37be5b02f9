"""Energy at its prices: each component's pieces, amounts and rates, before anything is summed or rounded. Pure.

Amounts are whole millionths of a Wh; sums are of integers, and a price meets them once, as a decimal.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import numpy as np

from cloud_hub.tariffs.cutting import Case, Stretch, series_of
from cloud_hub.tariffs.document import Blocks, EnergyComponent, Flat, Flow, Levy, ProRata, Series, TimeOfUse
from cloud_hub.tariffs.steps import Int64s

MICRO_PER_KWH = 10**9
_NO_LIMIT = 2**62


@dataclass(frozen=True, slots=True)
class Strand:
    """The part of a component's energy that has one price, or, of a series, all of it."""

    label: str
    """The band's or step's name; empty for the whole component."""
    pieces: Int64s
    amounts_micro: Int64s
    """Of each piece."""
    rate: Decimal | None
    """Per kWh; None where each piece has its own in `rates`."""
    rates: Sequence[Decimal] = ()

    @property
    def quantity(self) -> Decimal:
        """The energy, in kWh."""
        return Decimal(int(self.amounts_micro.sum())) / MICRO_PER_KWH

    @property
    def cost(self) -> Decimal:
        """What all of it costs."""
        return self.quantity * self.rate if self.rate is not None else sum(self.costs(), Decimal())

    def costs(self) -> Iterator[Decimal]:
        """Yield what each piece costs."""
        rates = self.rates if self.rate is None else [self.rate] * len(self.pieces)
        amounts = self.amounts_micro.tolist()
        return (amount * rate / MICRO_PER_KWH for amount, rate in zip(amounts, rates, strict=True))


def flow_of(component: EnergyComponent) -> Flow:
    """Return which energy a component prices."""
    return component.flow if isinstance(component, Flat | TimeOfUse | Series) else Flow.IMPORT


def make_strands(component: EnergyComponent, case: Case, stretch: Stretch) -> list[Strand]:
    """Return a component's energy in one stretch; none where its flow is not given."""
    flow = case.flows.get(flow_of(component))
    if flow is None:
        return []
    match component:
        case Flat() | Levy():
            found = [Strand("", stretch.pieces, flow[stretch.pieces], component.price_per_kwh)]
        case TimeOfUse():
            found = _of_bands(component, case, stretch, flow)
        case Series():
            found = [_of_series(component, case, stretch, flow)]
        case Blocks():
            found = _of_steps(component, stretch, flow)
    return [strand for strand in found if len(strand.pieces)]


def _of_bands(component: TimeOfUse, case: Case, stretch: Stretch, flow: Int64s) -> list[Strand]:
    holding = case.switches[stretch.version, component.name].at(case.pieces.from_ms[stretch.pieces])
    strands = []
    for place, band in enumerate(component.bands):
        pieces = stretch.pieces[holding == place]
        strands.append(Strand(band.name, pieces, flow[pieces], band.price_per_kwh))
    return strands


def _of_series(component: Series, case: Case, stretch: Stretch, flow: Int64s) -> Strand:
    """Price each piece by itself; those without a price are left out."""
    steps = series_of(component, case.series)
    places = steps.places(case.pieces.from_ms[stretch.pieces])
    pieces = stretch.pieces[places >= 0]
    return Strand("", pieces, flow[pieces], None, [steps.values[place] for place in places[places >= 0].tolist()])


def _of_steps(component: Blocks, stretch: Stretch, flow: Int64s) -> list[Strand]:
    """Cut a month's consumption, in order of time, into steps."""
    amounts = flow[stretch.pieces]
    # Steps that are not pro rata go on through a change of version; the others begin anew, each with its share.
    earlier = int(flow[stretch.earlier].sum()) if component.pro_rata is ProRata.NONE else 0
    after = np.cumsum(amounts) + earlier
    before = after - amounts
    strands, low = [], -_NO_LIMIT
    for place, step in enumerate(component.steps):
        high = _NO_LIMIT if step.up_to_kwh is None else _limit_micro(step.up_to_kwh, component.pro_rata, stretch)
        taken = np.clip(after, low, high) - np.clip(before, low, high)
        # An interval without energy costs nothing, but is looked at all the same: it may be a missing one.
        belongs = (taken != 0) | ((amounts == 0) & (before >= low) & (before < high))
        strands.append(Strand(f"step {place + 1}", stretch.pieces[belongs], taken[belongs], step.price_per_kwh))
        low = high
    return strands


def _limit_micro(limit: Decimal, pro_rata: ProRata, stretch: Stretch) -> int:
    share = {
        ProRata.MONTH: stretch.share,
        ProRata.YEAR: stretch.days * 12 / 365,
        ProRata.NONE: Fraction(1),
    }[pro_rata]
    exact = limit * MICRO_PER_KWH * share.numerator / share.denominator
    return int(exact.to_integral_value(ROUND_HALF_EVEN))
