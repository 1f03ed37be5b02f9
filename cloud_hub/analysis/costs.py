"""What a scope's energy costs, by each site's tariff, every line traceable to its intervals."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal, localcontext

import numpy as np
from sqlalchemy.orm import Session

from cloud_hub.analysis.books import Book, read_books
from cloud_hub.analysis.gathering import PartSums, Span, gather
from cloud_hub.analysis.limits import check_range
from cloud_hub.analysis.model import Flow, Measure, Scope, SitePart
from cloud_hub.analysis.results import Cost, Money, SiteCost
from cloud_hub.analysis.sums import FlowSums, add_figures, figure, no_sums
from cloud_hub.calendar.days import ms_of_instant
from cloud_hub.energy.model import COMPLETE, Int16s, Int64s
from cloud_hub.errors import Invalid
from cloud_hub.tariffs.bill import Bill, PricePeriod
from cloud_hub.tariffs.demand import Peaks, find_peaks
from cloud_hub.tariffs.document import Demand, Minimum, Standing, TariffDocument
from cloud_hub.tariffs.pricing import EXACT, cost_per_interval, price, split_costs

PRICED = Measure("active_energy", "Wh")
"""What tariffs and emission factors are for."""


def read_cost(
    session: Session,
    scope: Scope,
    first: date,
    last: date,
    *,
    now: datetime,
    as_known_at: datetime | None = None,
) -> Cost:
    """Return what the local days from `first` to `last`, both included, cost.

    Whole sites are billed with all that their tariff charges; a meter or a group by what varies with energy, and its
    taxes. Raises: Invalid for an empty or too long range, another measure than energy, a change of currency.
    """
    check_range(first, last)
    check_priced(scope)
    books = read_books(session, scope.parts, first, last)
    if not scope.is_of_whole_sites:
        books = {site_id: _only_energy(book) for site_id, book in books.items()}
    peaks = _read_earlier_peaks(session, scope.parts, books, Span(first, last, now, as_known_at))
    sites, imported, exported = [], [], []
    for sums in gather(session, scope.parts, Span(first, last, now, as_known_at)):
        imported.append(figure(flow_of(sums, Flow.IMPORT), sums.durations_ms))
        exported.append(figure(flow_of(sums, Flow.EXPORT), sums.durations_ms))
        if len(sums.grid):
            bill = _bill(books[sums.part.site_id], sums, now, peaks.get(sums.part.site_id, {}))
            sites.append(SiteCost(sums.part, bill, sums.grid))
    return Cost(
        scope=scope,
        first=first,
        last=last,
        imported=add_figures(imported),
        exported=add_figures(exported),
        has_all_components=scope.is_of_whole_sites,
        sites=tuple(sites),
        totals=add_money(
            Money(each.bill.currency, each.bill.total) for each in sites if each.bill.currency is not None
        ),
        notes=tuple(_notes(scope)),
    )


def share_costs(
    book: Book, scope: Scope, sums: PartSums, flow: Flow, inside_ms: Int64s
) -> tuple[tuple[Money, ...], tuple[Money, ...]]:
    """Return what imported energy costs inside, and outside, operating hours; nothing without a tariff.

    Prices and levies per kWh, unrounded, without taxes and what is charged by the day or the month.
    """
    currency = book.currency
    if currency is None or flow is not Flow.IMPORT or scope.measure != PRICED or not len(sums.grid):
        return (), ()
    amounts = flow_of(sums, flow).total_micro
    costs = cost_per_interval(book.prices, sums.part.zone, sums.grid, amounts, series=book.series)
    inside, outside = split_costs(costs, inside_ms, sums.grid)
    return (Money(currency, inside),), (Money(currency, outside),)


def add_money(amounts: Iterable[Money]) -> tuple[Money, ...]:
    """Add up amounts, each currency by itself."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    with localcontext(EXACT):
        for money in amounts:
            sums[money.currency] += money.amount
    return tuple(Money(currency, amount) for currency, amount in sorted(sums.items()))


def check_priced(scope: Scope) -> None:
    """Make sure that tariffs and emission factors are for what the scope counts.

    Raises: Invalid.
    """
    if scope.measure != PRICED:
        raise Invalid(
            f"{scope.measure.quantity} in {scope.measure.unit} has no prices or factors: ask for active_energy"
        )


def flow_of(sums: PartSums, flow: Flow) -> FlowSums:
    """Return one flow of a site; one without any register when it has none."""
    return sums.flows.get(flow) or no_sums(len(sums.grid))


def _bill(book: Book, sums: PartSums, now: datetime, earlier_peaks: Peaks) -> Bill:
    imported = flow_of(sums, Flow.IMPORT)
    exported = sums.flows.get(Flow.EXPORT)
    return price(
        book.prices,
        sums.part.zone,
        sums.grid,
        imported.total_micro,
        None if exported is None else exported.total_micro,
        completenesses=_completenesses(imported, sums, now),
        series=book.series,
        earlier_peaks=earlier_peaks,
    )


def _completenesses(imported: FlowSums, sums: PartSums, now: datetime) -> Int16s:
    """Return the completeness of each interval: nothing of what is still to come, all of what was before any meter."""
    expected = imported.expected
    over = sums.grid.bounds_ms[1:] <= ms_of_instant(now)
    known = imported.complete // np.maximum(expected, 1)
    return np.where(expected > 0, known, np.where(over, COMPLETE, 0)).astype(np.int16)


def _only_energy(book: Book) -> Book:
    return replace(book, prices=[replace(period, document=_energy_of(period)) for period in book.prices])


def _energy_of(period: PricePeriod) -> TariffDocument:
    kept = tuple(each for each in period.document.components if not isinstance(each, Demand | Standing | Minimum))
    return period.document.model_copy(update={"components": kept})


def _read_earlier_peaks(
    session: Session, parts: Sequence[SitePart], books: Mapping[int, Book], span: Span
) -> dict[int, Peaks]:
    """Read the demand of the months before, for the sites whose tariff has a ratchet."""
    months = {site_id: _ratchet_months(book.prices) for site_id, book in books.items()}
    bound = [part for part in parts if months[part.site_id]]
    if not bound:
        return {}
    end = span.first.replace(day=1)
    start = _months_before(end, max(months.values()))
    before = replace(span, first=start, last=end - timedelta(days=1))
    return {
        sums.part.site_id: find_peaks(
            books[sums.part.site_id].prices[0].document,
            sums.part.zone,
            sums.grid,
            flow_of(sums, Flow.IMPORT).total_micro,
        )
        for sums in gather(session, bound, before)
    }


def _ratchet_months(prices: Sequence[PricePeriod]) -> int:
    ratchets = (each for period in prices for each in period.document.components if isinstance(each, Demand))
    return max((each.ratchet_months for each in ratchets if each.ratchet_share is not None), default=0)


def _months_before(day: date, months: int) -> date:
    place = day.year * 12 + day.month - 1 - months
    return date(place // 12, place % 12 + 1, 1)


def _notes(scope: Scope) -> Iterable[str]:
    if any(counted.flow is Flow.NET for part in scope.parts for counted in part.counted):
        yield "a register that counts both ways has no import of its own and is not priced: read one register per direction"
