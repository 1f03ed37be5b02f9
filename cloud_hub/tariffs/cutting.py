"""A case for pricing: its intervals, cut into pieces of which each has one price per component. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta, timezone, tzinfo
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cloud_hub.calendar.days import Grid
from cloud_hub.errors import Invalid
from cloud_hub.tariffs.bands import Switches, find_switches
from cloud_hub.tariffs.bill import PricePeriod
from cloud_hub.tariffs.document import Flow, Series, TimeOfUse
from cloud_hub.tariffs.steps import Int64s, Pieces, Steps, amounts_of_pieces, cut_pieces

NO_VERSION = -1


@dataclass(frozen=True, slots=True)
class Stretch:
    """The part of one local month in which one version holds."""

    month: date
    """Its first day."""
    version: int
    """The place of its price period."""
    pieces: Int64s
    """Places of its pieces, ascending, without a hole."""
    earlier: Int64s
    """Those of the same month before it, under other versions."""
    days: Fraction
    """Local days; in part where the version changes within one."""

    @property
    def share(self) -> Fraction:
        """Of the month's days."""
        return self.days / days_of_month(self.month)


@dataclass(frozen=True, slots=True)
class Case:
    """What is to be priced."""

    periods: Sequence[PricePeriod]
    zone: tzinfo
    grid: Grid
    series: Mapping[str, Steps]
    pieces: Pieces
    versions: Int64s
    """Of each piece: the place of the price period that holds, `NO_VERSION` where none does."""
    switches: Mapping[tuple[int, str], Switches]
    """By version and the name of a time-of-use component."""
    import_micro: Int64s
    """Of each interval."""
    flows: Mapping[Flow, Int64s]
    """Amounts of each piece; without export where that is not given."""
    completenesses: Int64s
    """Of each interval."""

    def completeness(self, intervals: Int64s) -> int:
        """Return that of the time of these intervals, rounded down: what is incomplete never looks complete."""
        lengths = np.diff(self.grid.bounds_ms)[intervals]
        whole = int(lengths.sum())
        return int((self.completenesses[intervals] * lengths).sum()) // whole if whole else 1000

    def unpriced(self) -> Int64s:
        """Return the places of the intervals that have no price in part or as a whole, ascending."""
        lacking = self.versions == NO_VERSION
        for version, period in enumerate(self.periods):
            held = self.versions == version
            for component in period.document.components:
                if isinstance(component, Series) and component.flow in self.flows and held.any():
                    places = series_of(component, self.series).places(self.pieces.from_ms)
                    lacking |= held & (places < 0)
        return np.unique(self.pieces.intervals[lacking])


def make_case(
    periods: Sequence[PricePeriod],
    zone: tzinfo,
    grid: Grid,
    *,
    import_micro: Int64s,
    export_micro: Int64s | None,
    completenesses: NDArray[np.int16] | None,
    series: Mapping[str, Steps],
) -> Case:
    """Cut the intervals where a version, a band or a price of a series changes. Raises: Invalid, ValueError."""
    _check_order(periods)
    bounds = grid.bounds_ms
    switches = dict(_find_switches(periods, zone, int(bounds[0]), int(bounds[-1])))
    edges = [*(found.from_ms for found in switches.values()), *_series_edges(periods, series), _borders(periods)]
    pieces = cut_pieces(bounds, edges)
    flows = {Flow.IMPORT: amounts_of_pieces(pieces, bounds, import_micro)}
    if export_micro is not None:
        flows[Flow.EXPORT] = amounts_of_pieces(pieces, bounds, export_micro)
    known = np.full(len(grid), 1000, dtype=np.int64) if completenesses is None else completenesses.astype(np.int64)
    versions = _versions_at(periods, pieces.from_ms)
    return Case(periods, zone, grid, series, pieces, versions, switches, import_micro, flows, known)


def stretches(case: Case) -> Iterator[Stretch]:
    """Yield the case's months, each cut at changes of version, in order of time."""
    days = case.grid.day.astype("datetime64[D]")
    months = days.astype("datetime64[M]")[case.pieces.intervals]
    day_numbers = case.grid.day[case.pieces.intervals]
    lengths = case.pieces.to_ms - case.pieces.from_ms
    for month in np.unique(months):
        of_month = np.flatnonzero(months == month)
        for version in np.unique(case.versions[of_month]).tolist():
            if version == NO_VERSION:
                continue
            pieces = of_month[case.versions[of_month] == version]
            whole = _sum_by(day_numbers[of_month], lengths[of_month])
            part = _sum_by(day_numbers[pieces], lengths[pieces])
            covered = sum((Fraction(part[day], whole[day]) for day in part), Fraction())
            yield Stretch(month.astype(date), version, pieces, of_month[of_month < pieces[0]], covered)


def series_of(component: Series, series: Mapping[str, Steps]) -> Steps:
    """Return the prices that a component names.

    Raises: Invalid.
    """
    steps = series.get(component.series)
    if steps is None:
        raise Invalid(
            f"{component.name!r} needs the price series {component.series!r}, which is not there: create it and add prices"
        )
    return steps


def days_of_month(month: date) -> int:
    """Return how many days a month has, given its first."""
    return ((month + timedelta(days=31)).replace(day=1) - month).days


def _sum_by(keys: NDArray[np.int32], lengths: Int64s) -> dict[int, int]:
    """Sum lengths by key, ascending keys in one run each."""
    unique, starts = np.unique(keys, return_index=True)
    return dict(zip(unique.tolist(), np.add.reduceat(lengths, starts).tolist(), strict=True))


def _check_order(periods: Sequence[PricePeriod]) -> None:
    for earlier, later in pairwise(periods):
        if earlier.until_ms is None or later.from_ms is None or earlier.until_ms > later.from_ms:
            raise ValueError("price periods overlap, or are not in order of time")


def _versions_at(periods: Sequence[PricePeriod], at_ms: Int64s) -> Int64s:
    versions = np.full(len(at_ms), NO_VERSION, dtype=np.int64)
    for place, period in enumerate(periods):
        holds = np.ones(len(at_ms), dtype=bool)
        if period.from_ms is not None:
            holds &= at_ms >= period.from_ms
        if period.until_ms is not None:
            holds &= at_ms < period.until_ms
        versions[holds] = place
    return versions


def _borders(periods: Sequence[PricePeriod]) -> Int64s:
    ends = [end for period in periods for end in (period.from_ms, period.until_ms) if end is not None]
    return np.array(ends, dtype=np.int64)


def _find_switches(
    periods: Sequence[PricePeriod], zone: tzinfo, from_ms: int, to_ms: int
) -> Iterator[tuple[tuple[int, str], Switches]]:
    for version, period in enumerate(periods):
        for component in period.document.components:
            if isinstance(component, TimeOfUse):
                offset = component.utc_offset_min
                clock = zone if offset is None else timezone(timedelta(minutes=offset))
                whens = [band.when for band in component.bands]
                found = find_switches(whens, period.document.holidays, clock, from_ms, to_ms)
                yield (version, component.name), found


def _series_edges(periods: Sequence[PricePeriod], series: Mapping[str, Steps]) -> Iterator[Int64s]:
    for period in periods:
        for component in period.document.components:
            if isinstance(component, Series):
                steps = series_of(component, series)
                yield steps.from_ms
                yield steps.until_ms
