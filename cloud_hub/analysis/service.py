"""Totals, series, profiles, heat maps and comparisons of a scope, out of the ledger.

Ranges are local days, both ends included, by each site's own clock. `now` is the present: what ends later is not
expected yet. With `as_known_at`, figures are those that the ledger gave at that instant.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime

import numpy as np
from sqlalchemy.orm import Session

from cloud_hub.analysis.books import Book, read_books
from cloud_hub.analysis.costs import add_money, share_costs
from cloud_hub.analysis.gathering import PartSums, Span, gather
from cloud_hub.analysis.limits import check_one_clock, check_range
from cloud_hub.analysis.load import (
    draw_heat,
    find_base_load,
    find_peaks,
    load_factor,
    mean_power,
    shape_days,
    split_by_hours,
)
from cloud_hub.analysis.model import Figure, Flow, Residual, Scope, Step
from cloud_hub.analysis.results import Bucket, HeatMap, HoursShare, Profile, Series
from cloud_hub.analysis.sums import (
    FlowSums,
    add_figures,
    add_residuals,
    bucket_starts,
    durations_ms,
    figure,
    figures,
    first_day_of,
    last_day_of,
    no_sums,
    residuals,
)
from cloud_hub.calendar.days import Grid, date_of_number, instant_of_ms
from cloud_hub.calendar.hours import open_ms
from cloud_hub.energy.model import Int64s


def read_series(
    session: Session,
    scope: Scope,
    first: date,
    last: date,
    step: Step,
    *,
    now: datetime,
    as_known_at: datetime | None = None,
) -> Series:
    """Return what flows in the scope, by the steps of the local calendar, with totals.

    Raises: Invalid for an empty or too long range, SeveralClocks for the interval step where there are several.
    """
    check_range(first, last)
    if step is Step.INTERVAL:
        check_one_clock(scope, "step=day or longer")
    clocks: dict[tuple[str, int], _Clock] = {}
    for sums in gather(session, scope.parts, Span(first, last, now, as_known_at)):
        key = (sums.part.zone.key, sums.part.interval_s)
        if key not in clocks:
            clocks[key] = _Clock(sums.grid, bucket_starts(sums.grid, step))
        clocks[key].add(sums)
    made = [_make_series(clock, step, first, last) for clock in clocks.values()]
    buckets, columns, rests = made[0] if len(made) == 1 else _merge(made)
    totals = {flow: _total(clocks.values(), flow) for flow in columns}
    return Series(scope, first, last, step, buckets, columns, totals, rests, add_residuals(rests))


def read_profile(
    session: Session,
    scope: Scope,
    first: date,
    last: date,
    *,
    now: datetime,
    flow: Flow = Flow.IMPORT,
    as_known_at: datetime | None = None,
) -> Profile:
    """Return how the scope uses energy: inside and outside operating hours, peak, base load, shape of the day.

    For sites on several clocks only totals and hours can be told. Raises: Invalid for an empty or too long range.
    """
    check_range(first, last)
    books = read_books(session, scope.parts, first, last)
    total, shares = [], []
    clock: _Clock | None = None
    for sums in gather(session, scope.parts, Span(first, last, now, as_known_at)):
        own = sums.flows.get(flow, no_sums(len(sums.grid)))
        total.append(figure(own, sums.durations_ms))
        if scope.has_one_clock:
            clock = clock or _Clock(sums.grid, np.zeros(0, np.int64))
            clock.add(replace(sums, flows={flow: own}))
        book = books[sums.part.site_id]
        if book.hours:
            shares.append(_share_hours(book, scope, sums, flow))
    profile = Profile(
        scope=scope,
        first=first,
        last=last,
        total=add_figures(total),
        has_hours=bool(shares),
        inside=_add_shares([inside for inside, _ in shares]),
        outside=_add_shares([outside for _, outside in shares]),
        peak=None,
        higher_unmeasured=None,
        base_load=None,
        mean_power_micro_per_h=None,
        load_factor=None,
        shapes=(),
    )
    if clock is None:
        return profile
    own, grid = clock.flows[flow], clock.grid
    peak, higher = find_peaks(own, grid, scope.parts[0].zone)
    mean = mean_power(own, grid)
    return replace(
        profile,
        peak=peak,
        higher_unmeasured=higher,
        base_load=find_base_load(own, grid),
        mean_power_micro_per_h=mean,
        load_factor=load_factor(mean, peak),
        shapes=shape_days(own, grid),
    )


def read_heat_map(
    session: Session,
    scope: Scope,
    first: date,
    last: date,
    *,
    now: datetime,
    flow: Flow = Flow.IMPORT,
    as_known_at: datetime | None = None,
) -> HeatMap:
    """Return mean power by local day and wall clock.

    Raises: Invalid for an empty or too long range, SeveralClocks.
    """
    check_range(first, last)
    check_one_clock(scope, "one of its sites")
    clock: _Clock | None = None
    for sums in gather(session, scope.parts, Span(first, last, now, as_known_at)):
        clock = clock or _Clock(sums.grid, np.zeros(0, np.int64))
        clock.add(sums)
    if clock is None:
        return HeatMap(scope, (), (), (), ())
    heat = draw_heat(clock.flows.get(flow, no_sums(len(clock.grid))), clock.grid)
    return HeatMap(scope, *heat)


class _Clock:
    """The flows of all sites that share a grid, added up."""

    def __init__(self, grid: Grid, starts: Int64s) -> None:
        self.grid = grid
        self.starts = starts
        self.flows: dict[Flow, FlowSums] = {}
        self.residuals: list[list[Residual]] = []

    def add(self, sums: PartSums) -> None:
        """Add a site; its residual is taken before, since what one site lacks is no lack of another's."""
        for flow, more in sums.flows.items():
            own = self.flows.setdefault(flow, no_sums(len(self.grid)))
            own.amounts_micro[:] += more.amounts_micro
            own.counts[:] += more.counts
            own.complete[:] += more.complete
        rest = residuals(sums.flows, sums.durations_ms, self.starts)
        if rest:
            self.residuals.append(rest)


_Made = tuple[tuple[Bucket, ...], dict[Flow, tuple[Figure, ...]], tuple[Residual, ...]]


def _make_series(clock: _Clock, step: Step, first: date, last: date) -> _Made:
    grid, starts = clock.grid, clock.starts
    durations = durations_ms(grid)
    columns = {flow: tuple(figures(sums, durations, starts)) for flow, sums in clock.flows.items()}
    rests = [rest for each in zip(*clock.residuals, strict=True) if (rest := add_residuals(each)) is not None]
    return _make_buckets(grid, starts, step, first, last), columns, tuple(rests)


def _make_buckets(grid: Grid, starts: Int64s, step: Step, first: date, last: date) -> tuple[Bucket, ...]:
    borders = [*grid.bounds_ms[starts].tolist(), int(grid.bounds_ms[-1])]
    days = [date_of_number(number) for number in grid.day[starts].tolist()]
    return tuple(
        Bucket(
            first_day_of(day, step, first),
            last_day_of(day, step, last),
            instant_of_ms(borders[n]),
            instant_of_ms(borders[n + 1]),
        )
        for n, day in enumerate(days)
    )


def _merge(made: Sequence[_Made]) -> _Made:
    """Add up series of several clocks by their local days."""
    days: dict[date, Bucket] = {}
    figures_of: dict[Flow, dict[date, list[Figure]]] = defaultdict(lambda: defaultdict(list))
    rests_of: dict[date, list[Residual]] = defaultdict(list)
    for buckets, columns, rests in made:
        for bucket in buckets:
            days[bucket.first_day] = replace(bucket, start=None, end=None)
        for flow, column in columns.items():
            for bucket, each in zip(buckets, column, strict=True):
                figures_of[flow][bucket.first_day].append(each)
        for bucket, rest in zip(buckets, rests, strict=False):  # a clock without sub-meters has none
            rests_of[bucket.first_day].append(rest)
    ordered = sorted(days)
    columns = {flow: tuple(add_figures(by_day[day]) for day in ordered) for flow, by_day in figures_of.items()}
    merged = [add_residuals(rests_of[day]) or Residual(None, 0, 0) for day in ordered] if rests_of else []
    return tuple(days[day] for day in ordered), columns, tuple(merged)


def _total(clocks: Iterable[_Clock], flow: Flow) -> Figure:
    return add_figures(figure(clock.flows[flow], durations_ms(clock.grid)) for clock in clocks if flow in clock.flows)


def _share_hours(book: Book, scope: Scope, sums: PartSums, flow: Flow) -> tuple[HoursShare, HoursShare]:
    own = sums.flows.get(flow, no_sums(len(sums.grid)))
    inside_ms = open_ms(book.hours, sums.part.zone, sums.grid)
    outside_ms = sums.durations_ms - inside_ms
    inside, outside = split_by_hours(own, sums.durations_ms, inside_ms)
    inside_cost, outside_cost = share_costs(book, scope, sums, flow, inside_ms)
    return (
        HoursShare(figure(inside, inside_ms), int(inside_ms.sum()), inside_cost),
        HoursShare(figure(outside, outside_ms), int(outside_ms.sum()), outside_cost),
    )


def _add_shares(shares: Sequence[HoursShare]) -> HoursShare | None:
    if not shares:
        return None
    return HoursShare(
        add_figures(share.figure for share in shares),
        sum(share.duration_ms for share in shares),
        add_money(money for share in shares for money in share.cost),
    )
