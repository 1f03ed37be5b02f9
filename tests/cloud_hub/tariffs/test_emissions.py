"""Emissions by factors: exact, and export never taken off."""

from datetime import date
from decimal import Decimal

import numpy as np
from tariff_factories import LONDON, even, utc

from cloud_hub.calendar.days import make_grid, ms_of_instant
from cloud_hub.tariffs.emissions import emissions_g
from cloud_hub.tariffs.steps import Steps, make_steps

GRID = make_grid(date(2026, 3, 29), date(2026, 3, 29), LONDON, 1800)


def annual(value: str) -> Steps:
    return make_steps([(ms_of_instant(utc(2026, 1, 1)), ms_of_instant(utc(2027, 1, 1)), Decimal(value))])


def test_a_day_of_23_hours_by_the_factor_of_the_year() -> None:
    found = emissions_g(GRID, even(GRID, "0.5"), annual("177.23"))
    assert found.emitted_g == 46 * Decimal("0.5") * Decimal("177.23")
    assert found.avoided_g == 0
    assert found.without_factor == ()


def test_factors_of_each_half_hour_meet_the_energy_of_their_time() -> None:
    bounds = GRID.bounds_ms.tolist()
    rows = [(bounds[n], bounds[n + 1], Decimal(100 + n)) for n in range(46)]
    amounts = np.random.default_rng(2).integers(0, 10**9, 46)
    found = emissions_g(GRID, amounts, make_steps(rows))
    assert found.emitted_g * 10**9 == sum((100 + n) * amount for n, amount in enumerate(amounts.tolist()))


def test_a_change_of_factor_within_an_interval_splits_it() -> None:
    at = int(GRID.bounds_ms[3]) + 600_000
    factors = make_steps([(0, at, Decimal(300)), (at, 2**60, Decimal(600))])
    amounts = np.zeros(46, dtype=np.int64)
    amounts[3] = 3 * 10**9
    assert emissions_g(GRID, amounts, factors).emitted_g == 1 * 300 + 2 * 600


def test_export_is_avoided_elsewhere_and_not_netted() -> None:
    found = emissions_g(GRID, even(GRID), annual("200"), even(GRID, 3))
    assert found.emitted_g == 46 * 200
    assert found.avoided_g == 3 * 46 * 200


def test_time_without_a_factor_is_told() -> None:
    until = int(GRID.bounds_ms[44]) + 1
    found = emissions_g(GRID, even(GRID), make_steps([(0, until, Decimal(200))]))
    assert found.without_factor == (44, 45)
    assert emissions_g(GRID, even(GRID), make_steps([])).without_factor == tuple(range(46))
