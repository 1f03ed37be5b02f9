"""Emissions of energy by factors. Pure, exact; import and export are never netted."""

from dataclasses import dataclass
from decimal import Decimal, localcontext

import numpy as np

from cloud_hub.calendar.days import Grid
from cloud_hub.tariffs.pricing import EXACT
from cloud_hub.tariffs.steps import Int64s, Pieces, Steps, amounts_of_pieces, cut_pieces
from cloud_hub.tariffs.strands import MICRO_PER_KWH


@dataclass(frozen=True, slots=True)
class Emissions:
    """In g of CO2 equivalent."""

    emitted_g: Decimal
    """By what was imported."""
    avoided_g: Decimal
    """Elsewhere, by what was exported: told beside, never taken off."""
    without_factor: tuple[int, ...]
    """Places of intervals for which, in part or as a whole, there is no factor; they are in neither sum."""


def emissions_g(grid: Grid, import_micro: Int64s, factors: Steps, export_micro: Int64s | None = None) -> Emissions:
    """Multiply each interval's energy, in millionths of a Wh, with the factor of its time, in g per kWh."""
    pieces = cut_pieces(grid.bounds_ms, [factors.from_ms, factors.until_ms])
    places = factors.places(pieces.from_ms)
    without = np.unique(pieces.intervals[places < 0])
    with localcontext(EXACT):
        emitted = _sum_g(grid, pieces, places, factors, import_micro)
        avoided = Decimal() if export_micro is None else _sum_g(grid, pieces, places, factors, export_micro)
    return Emissions(emitted, avoided, tuple(without.tolist()))


def _sum_g(grid: Grid, pieces: Pieces, places: Int64s, factors: Steps, micro: Int64s) -> Decimal:
    amounts = amounts_of_pieces(pieces, grid.bounds_ms, micro)
    products = (
        amount * factors.values[place]
        for amount, place in zip(amounts.tolist(), places.tolist(), strict=True)
        if place >= 0
    )
    return sum(products, Decimal()) / MICRO_PER_KWH
