"""Peaks for demand charges: the highest average power of an interval, by local month. Pure."""

from collections.abc import Mapping
from datetime import date, tzinfo
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from cloud_hub.calendar.days import Grid
from cloud_hub.calendar.holidays import Holidays
from cloud_hub.tariffs.bands import find_switches
from cloud_hub.tariffs.document import Demand, TariffDocument, When
from cloud_hub.tariffs.steps import Int64s

Peaks = Mapping[str, Mapping[date, Decimal]]
"""Of each demand component by its name: the peak of each month by its first day, in kW."""


def find_peaks(
    document: TariffDocument, zone: tzinfo, grid: Grid, import_micro: Int64s
) -> dict[str, dict[date, Decimal]]:
    """Find the peaks of each demand component in each month that the grid touches: a ratchet's `earlier_peaks`."""
    return {
        component.name: peaks_by_month(component, document.holidays, zone, grid, import_micro)
        for component in document.components
        if isinstance(component, Demand)
    }


def peaks_by_month(
    component: Demand, holidays: Holidays | None, zone: tzinfo, grid: Grid, import_micro: Int64s
) -> dict[date, Decimal]:
    """Find one component's peak in each month that the grid touches."""
    counted = counted_intervals(component, holidays, zone, grid)
    months = grid.day.astype("datetime64[D]").astype("datetime64[M]")
    peaks = {}
    for month in np.unique(months):
        highest = find_highest(grid, import_micro, np.flatnonzero(counted & (months == month)))
        if highest is not None:
            peaks[month.astype(date)] = power_kw(grid, import_micro, highest)
    return peaks


def counted_intervals(component: Demand, holidays: Holidays | None, zone: tzinfo, grid: Grid) -> NDArray[np.bool_]:
    """Tell of each interval whether it counts: whether it begins within the component's hours."""
    starts = grid.bounds_ms[:-1]
    switches = find_switches([component.when, When()], holidays, zone, int(starts[0]), int(grid.bounds_ms[-1]))
    counted: NDArray[np.bool_] = switches.at(starts) == 0
    return counted


def find_highest(grid: Grid, import_micro: Int64s, candidates: Int64s) -> int | None:
    """Return the place of the interval with the highest average power, the first of equals; None among none."""
    lengths = np.diff(grid.bounds_ms)[candidates]
    best: int | None = None
    for length in np.unique(lengths):
        alike = candidates[lengths == length]
        place = int(alike[np.argmax(import_micro[alike])])
        if best is None or power_kw(grid, import_micro, place) > power_kw(grid, import_micro, best):
            best = place
    return best


def power_kw(grid: Grid, import_micro: Int64s, place: int) -> Decimal:
    """Return an interval's average power: its energy in millionths of a Wh by its length in milliseconds."""
    length_ms = int(grid.bounds_ms[place + 1] - grid.bounds_ms[place])
    return Decimal(int(import_micro[place]) * 36) / (10_000 * length_ms)
