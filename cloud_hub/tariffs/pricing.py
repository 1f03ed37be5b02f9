"""From intervals of energy to a bill, every line traceable to its intervals. Pure, and without a float.

Amounts are integers, prices decimals; a line is rounded once, at its end. Where a share of a month is no finite
decimal, it is carried to 60 digits. A change of price inside an interval splits its energy evenly over time.
"""

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from decimal import Context, Decimal, localcontext

import numpy as np
from numpy.typing import NDArray

from cloud_hub.calendar.days import Grid
from cloud_hub.errors import Invalid
from cloud_hub.tariffs.bill import Bill, Line, PricePeriod
from cloud_hub.tariffs.cutting import Case, make_case, stretches
from cloud_hub.tariffs.demand import Peaks
from cloud_hub.tariffs.document import Blocks, Flat, Flow, Levy, Series, TimeOfUse
from cloud_hub.tariffs.lines import MonthLines, add_minimum, add_stretch, add_taxes
from cloud_hub.tariffs.steps import Int64s, Steps
from cloud_hub.tariffs.strands import flow_of, make_strands

EXACT = Context(prec=60)
"""More digits than any product of an amount and a price has."""
_NO_SERIES: Mapping[str, Steps] = {}
_NO_PEAKS: Peaks = {}


def price(
    periods: Sequence[PricePeriod],
    zone: tzinfo,
    grid: Grid,
    import_micro: Int64s,
    export_micro: Int64s | None = None,
    *,
    completenesses: NDArray[np.int16] | None = None,
    series: Mapping[str, Steps] = _NO_SERIES,
    earlier_peaks: Peaks = _NO_PEAKS,
) -> Bill:
    """Price the intervals of `grid`, whole local days of `zone`, one at least.

    `periods` are in order of time and disjoint; amounts are in millionths of a Wh, 0 where missing; `completenesses`
    in thousandths (left out: complete) go through to the lines. `series` by slug; `earlier_peaks` are those of months
    before the grid, for demand charges with a ratchet (`demand.find_peaks`).

    Raises: Invalid when the currency changes within the range, or a price series is not there.
    """
    with localcontext(EXACT):
        case = make_case(
            periods,
            zone,
            grid,
            import_micro=import_micro,
            export_micro=export_micro,
            completenesses=completenesses,
            series=series,
        )
        currency = _currency(case)
        lines: list[Line] = []
        notes: list[str] = []
        for month in _months(case, earlier_peaks, notes):
            add_minimum(month, case, before=len(lines))
            add_taxes(month, case, before=len(lines))
            lines += month.lines
        unpriced = tuple(case.unpriced().tolist())
        if unpriced:
            notes.append(f"{len(unpriced)} of {len(grid)} intervals have no price and are not in the total")
        net = sum((line.amount for line in lines if line.kind != "tax"), Decimal())
        tax = sum((line.amount for line in lines if line.kind == "tax"), Decimal())
        completeness = case.completeness(np.arange(len(grid)))
        return Bill(currency, tuple(lines), net, tax, net + tax, completeness, unpriced, tuple(notes))


def cost_per_interval(
    periods: Sequence[PricePeriod],
    zone: tzinfo,
    grid: Grid,
    import_micro: Int64s,
    export_micro: Int64s | None = None,
    *,
    series: Mapping[str, Steps] = _NO_SERIES,
) -> list[Decimal | None]:
    """Return what each interval's energy costs, unrounded: prices and levies per kWh, less export credits.

    Without demand and standing charges, minimum and taxes. None where an interval has no price, in part or as a
    whole; the sum is else that of the `exact` of the bill's lines in kWh. Raises: as `price`.
    """
    with localcontext(EXACT):
        case = make_case(
            periods,
            zone,
            grid,
            import_micro=import_micro,
            export_micro=export_micro,
            completenesses=None,
            series=series,
        )
        _currency(case)
        costs = [Decimal()] * len(grid)
        for stretch in stretches(case):
            for component in case.periods[stretch.version].document.components:
                if isinstance(component, Flat | Levy | TimeOfUse | Blocks | Series):
                    sign = -1 if flow_of(component) is Flow.EXPORT else 1
                    for strand in make_strands(component, case, stretch):
                        places = case.pieces.intervals[strand.pieces].tolist()
                        for place, cost in zip(places, strand.costs(), strict=True):
                            costs[place] += sign * cost
        unpriced = set(case.unpriced().tolist())
        return [None if place in unpriced else cost for place, cost in enumerate(costs)]


def split_costs(costs: Sequence[Decimal | None], part_ms: Int64s, grid: Grid) -> tuple[Decimal, Decimal]:
    """Return what a part of each interval costs, such as that inside operating hours, and what the rest does.

    Spread evenly over an interval's time; intervals without a cost are in neither. The two add up to the sum.
    """
    rows = zip(costs, part_ms.tolist(), np.diff(grid.bounds_ms).tolist(), strict=True)
    known = [(cost, part, whole) for cost, part, whole in rows if cost is not None]
    with localcontext(EXACT):
        inside = sum((cost * part / whole for cost, part, whole in known), Decimal())
        return inside, sum((cost for cost, _, _ in known), Decimal()) - inside


def _months(case: Case, earlier_peaks: Peaks, notes: list[str]) -> list[MonthLines]:
    months: list[MonthLines] = []
    for stretch in stretches(case):
        if not months or months[-1].month != stretch.month:
            months.append(MonthLines(stretch.month))
        add_stretch(months[-1], case, stretch, earlier_peaks, notes)
    return months


def _currency(case: Case) -> str | None:
    held = np.unique(case.versions[case.versions >= 0]).tolist()
    currencies = {case.periods[version].document.currency for version in held}
    if len(currencies) > 1:
        raise Invalid(
            f"the tariff's currency changes within these days, between {' and '.join(sorted(currencies))}: price the days before and after apart"
        )
    return currencies.pop() if currencies else None
