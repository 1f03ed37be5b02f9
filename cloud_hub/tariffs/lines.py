"""The lines of a bill, month by month. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from fractions import Fraction

import numpy as np

from cloud_hub.tariffs.bill import Line
from cloud_hub.tariffs.cutting import Case, Stretch
from cloud_hub.tariffs.demand import Peaks, counted_intervals, find_highest, peaks_by_month, power_kw
from cloud_hub.tariffs.document import (
    Component,
    Demand,
    EnergyComponent,
    Flow,
    Minimum,
    Rounding,
    RoundingMode,
    Standing,
    Tax,
)
from cloud_hub.tariffs.steps import Int64s
from cloud_hub.tariffs.strands import flow_of, make_strands

_ROUNDING = {RoundingMode.HALF_UP: ROUND_HALF_UP, RoundingMode.HALF_EVEN: ROUND_HALF_EVEN}
COMPLETE = 1000
_NONE: Int64s = np.array([], dtype=np.int64)


@dataclass(slots=True)
class MonthLines:
    """One month's lines, as they come about."""

    month: date
    lines: list[Line] = field(default_factory=list)
    stretches: list[Stretch] = field(default_factory=list)
    of_stretch: list[int] = field(default_factory=list)
    """Of each line: the place of its stretch, which says by whose rules it is taxed."""

    def add(self, line: Line, place: int) -> None:
        """Add a line of the stretch at that place."""
        self.lines.append(line)
        self.of_stretch.append(place)


def round_amount(exact: Decimal, rounding: Rounding) -> Decimal:
    """Round an amount as the tariff says; never to a negative zero."""
    return exact.quantize(Decimal(1).scaleb(-rounding.places), _ROUNDING[rounding.mode]) + 0


def add_stretch(month: MonthLines, case: Case, stretch: Stretch, earlier: Peaks, notes: list[str]) -> None:
    """Add the lines of one version: energy, demand and standing charges."""
    month.stretches.append(stretch)
    place = len(month.stretches) - 1
    for component in case.periods[stretch.version].document.components:
        match component:
            case Standing():
                month.add(_standing(component, case, stretch), place)
            case Demand():
                month.add(_demand(component, case, stretch, earlier, notes), place)
            case Minimum() | Tax():
                pass  # they look at all lines of the month
            case _:
                for line in _energy(component, case, stretch):
                    month.add(line, place)


def add_minimum(month: MonthLines, case: Case, *, before: int) -> None:
    """Fill a month's charges up to the minimum, of which each version brings its share of the days.

    The bill has `before` lines already.
    """
    named = [
        (place, component, stretch)
        for place, stretch in enumerate(month.stretches)
        for component in case.periods[stretch.version].document.components
        if isinstance(component, Minimum)
    ]
    if not named:
        return
    least = sum((_of_share(each.amount_per_month, stretch.share) for _, each, stretch in named), Decimal())
    charges = [number for number, line in enumerate(month.lines) if line.flow is Flow.IMPORT]
    exact = least - sum((month.lines[number].amount for number in charges), Decimal())
    if exact <= 0:
        return
    place, component, stretch = named[-1]
    filled = replace(
        _blank(component, case, stretch, _NONE),
        quantity=Decimal(1),
        unit="month",
        rate=None,
        exact=exact,
        amount=round_amount(exact, case.periods[stretch.version].document.rounding),
        lines=tuple(before + number for number in charges),
        completeness=min((month.lines[number].completeness for number in charges), default=COMPLETE),
    )
    month.add(filled, place)


def add_taxes(month: MonthLines, case: Case, *, before: int) -> None:
    """Add taxes, one line for each that is alike in all versions of the month; the bill has `before` lines already."""
    groups: dict[tuple[str, Decimal, bool, Rounding], tuple[int, Tax, list[int]]] = {}
    for place, stretch in enumerate(month.stretches):
        document = case.periods[stretch.version].document
        for tax in document.components:
            if isinstance(tax, Tax):
                key = (tax.name, tax.percent, tax.on_rounded, document.rounding)
                groups.setdefault(key, (place, tax, []))[2].extend(_taxed(tax, month, place))
    made = [
        (place, _tax(tax, month, case, numbers, place=place, before=before)) for place, tax, numbers in groups.values()
    ]
    for place, line in made:
        month.add(line, place)


def _tax(tax: Tax, month: MonthLines, case: Case, numbers: list[int], *, place: int, before: int) -> Line:
    taxed = [month.lines[number] for number in numbers]
    base = sum((line.amount if tax.on_rounded else line.exact for line in taxed), Decimal())
    exact = base * tax.percent / 100
    document = case.periods[month.stretches[place].version].document
    return replace(
        _blank(tax, case, month.stretches[place], _NONE),
        from_ms=int(case.pieces.from_ms[month.stretches[0].pieces[0]]),
        to_ms=int(case.pieces.to_ms[month.stretches[-1].pieces[-1]]),
        quantity=base,
        unit=document.currency,
        rate=tax.percent / 100,
        exact=exact,
        amount=round_amount(exact, document.rounding),
        lines=tuple(before + number for number in numbers),
        completeness=min((line.completeness for line in taxed), default=COMPLETE),
    )


def _taxed(tax: Tax, month: MonthLines, place: int) -> list[int]:
    return [
        number
        for number, line in enumerate(month.lines)
        if month.of_stretch[number] == place
        and line.component not in tax.exempt
        and (tax.on_credits or line.flow is Flow.IMPORT)
    ]


def _energy(component: EnergyComponent, case: Case, stretch: Stretch) -> Iterator[Line]:
    rounding = case.periods[stretch.version].document.rounding
    flow = flow_of(component)
    sign = -1 if flow is Flow.EXPORT else 1
    for strand in make_strands(component, case, stretch):
        exact = sign * strand.cost
        yield replace(
            _blank(component, case, stretch, np.unique(case.pieces.intervals[strand.pieces])),
            name=f"{component.name}: {strand.label}" if strand.label else component.name,
            flow=flow,
            quantity=strand.quantity,
            unit="kWh",
            rate=None if strand.rate is None else sign * strand.rate,
            exact=exact,
            amount=round_amount(exact, rounding),
        )


def _standing(component: Standing, case: Case, stretch: Stretch) -> Line:
    exact = _of_share(component.price_per_day, stretch.days)
    return replace(
        _blank(component, case, stretch, np.unique(case.pieces.intervals[stretch.pieces])),
        quantity=_of_share(Decimal(1), stretch.days),
        unit="day",
        rate=component.price_per_day,
        exact=exact,
        amount=round_amount(exact, case.periods[stretch.version].document.rounding),
        completeness=COMPLETE,  # a day is charged whatever was measured on it
    )


def _demand(component: Demand, case: Case, stretch: Stretch, earlier: Peaks, notes: list[str]) -> Line:
    document = case.periods[stretch.version].document
    counted = counted_intervals(component, document.holidays, case.zone, case.grid)
    intervals = case.pieces.intervals[stretch.pieces]
    begun = intervals[case.pieces.from_ms[stretch.pieces] == case.grid.bounds_ms[intervals]]
    candidates = begun[counted[begun]]
    highest = find_highest(case.grid, case.import_micro, candidates)
    peak = Decimal() if highest is None else power_kw(case.grid, case.import_micro, highest)
    least = _ratchet(component, case, stretch, earlier, notes)
    billed = max(peak, least)
    exact = _of_share(billed * component.price_per_kw, stretch.share)
    return replace(
        _blank(component, case, stretch, candidates),
        quantity=billed,
        unit="kW",
        rate=component.price_per_kw,
        share=stretch.share,
        exact=exact,
        amount=round_amount(exact, document.rounding),
        intervals=(highest,) if highest is not None and peak >= least else (),
    )


def _ratchet(component: Demand, case: Case, stretch: Stretch, earlier: Peaks, notes: list[str]) -> Decimal:
    """Return the least that is billed, by the months before; those inside the grid are looked up there."""
    if component.ratchet_share is None:
        return Decimal()
    holidays = case.periods[stretch.version].document.holidays
    inside = peaks_by_month(component, holidays, case.zone, case.grid, case.import_micro)
    peaks = [*earlier.get(component.name, {}).items(), *inside.items()]
    before = [kw for month, kw in peaks if 1 <= _months_between(month, stretch.month) <= component.ratchet_months]
    if not before:
        notes.append(f"{component.name}: no peak of the months before {stretch.month:%Y-%m} is known for its ratchet")
    return component.ratchet_share * max(before, default=Decimal())


def _blank(component: Component, case: Case, stretch: Stretch, intervals: Int64s) -> Line:
    """Begin a line of a component that looks at these intervals."""
    return Line(
        name=component.name,
        component=component.name,
        kind=component.kind,
        flow=Flow.IMPORT,
        month=stretch.month,
        from_ms=int(case.pieces.from_ms[stretch.pieces[0]]),
        to_ms=int(case.pieces.to_ms[stretch.pieces[-1]]),
        version_id=case.periods[stretch.version].version_id,
        quantity=Decimal(),
        unit="",
        rate=None,
        share=Fraction(1),
        exact=Decimal(),
        amount=Decimal(),
        intervals=tuple(intervals.tolist()),
        completeness=case.completeness(intervals),
    )


def _months_between(earlier: date, later: date) -> int:
    return (later.year - earlier.year) * 12 + later.month - earlier.month


def _of_share(amount: Decimal, share: Fraction) -> Decimal:
    return amount * share.numerator / share.denominator
