"""Estimates add up to what the register went on by, to the last millionth, however they are shaped."""

from datetime import date, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from estimation_factories import BERLIN, HOUR_MS, MONDAY, UTC_ZONE, make_days, make_intervals, make_reference_days
from hypothesis import given
from hypothesis import strategies as st

from cloud_hub.calendar.days import Grid
from cloud_hub.energy.estimation import (
    Estimator,
    forward_estimates,
    is_waiting,
    shape_gap,
    spread_evenly,
    spread_like,
)
from cloud_hub.energy.model import MICRO, Cause, Gap, IntervalQuality
from cloud_hub.energy.reference import Choice, no_reference

_ANY = float("inf")
_THURSDAY = date(2026, 3, 5)


def _estimator(before: date = _THURSDAY, zone: ZoneInfo = UTC_ZONE, interval_s: int = 3600) -> Estimator:
    reference = make_reference_days(before, zone=zone, interval_s=interval_s)
    return Estimator(zone, interval_s, reference, Choice(at_least=3, at_most=5))


def _gap(grid: Grid, first: float, last: float, amount_micro: int) -> Gap:
    """Make a gap from and to so many hours after a grid begins."""
    start = int(grid.bounds_ms[0])
    return Gap(start + int(first * HOUR_MS), start + int(last * HOUR_MS), amount_micro)


amounts = st.integers(0, 10**15)


@given(amount=amounts, cuts=st.lists(st.integers(0, 10**9), min_size=2, max_size=20, unique=True))
def test_even_shares_add_up_and_none_is_negative(amount: int, cuts: list[int]) -> None:
    bounds = sorted(cuts)
    shares = spread_evenly(amount, bounds, bounds[0], bounds[-1])
    assert sum(shares) == amount
    assert min(shares) >= 0


@given(
    amount=amounts,
    length=st.integers(1, 10**9),
    first=st.integers(-(10**9), 10**9),
    cuts=st.lists(st.integers(-(10**9), 10**9), min_size=3, max_size=10, unique=True),
)
def test_even_shares_do_not_depend_on_which_intervals_are_looked_at(
    amount: int, length: int, first: int, cuts: list[int]
) -> None:
    bounds = sorted(cuts)
    whole = spread_evenly(amount, bounds, first, first + length)
    assert spread_evenly(amount, bounds[1:], first, first + length) == whole[1:]


@given(amount=amounts, weights=st.lists(st.integers(0, 10**13), min_size=1, max_size=60))
def test_shaped_shares_add_up_and_follow_the_weights(amount: int, weights: list[int]) -> None:
    shares = spread_like(amount, weights)
    if not sum(weights):
        assert shares is None
        return
    assert shares is not None
    assert sum(shares) == amount
    whole = sum(weights)
    assert all(abs(share * whole - amount * weight) < whole for share, weight in zip(shares, weights, strict=True))


def test_weights_below_zero_shape_nothing() -> None:
    assert spread_like(100, [3, -1]) is None


def test_gap_of_hours_takes_the_shape_of_the_days_before() -> None:
    grid = make_days(_THURSDAY)
    shares = shape_gap(_gap(grid, 6, 12, 9_000_000_001), _estimator(), _ANY)
    assert shares is not None
    assert list(shares) == grid.bounds_ms[6:12].tolist()
    assert sum(shares.values()) == 9_000_000_001
    assert list(shares.values()) == sorted(shares.values())


def test_gap_that_begins_and_ends_inside_intervals_gives_them_their_part() -> None:
    grid = make_days(_THURSDAY)
    shares = shape_gap(_gap(grid, 6.5, 11.25, 10**9), _estimator(), _ANY)
    assert shares is not None
    parts = list(shares.values())
    assert len(parts) == 6
    assert sum(parts) == 10**9
    assert parts[0] < parts[1] / 1.8
    assert parts[-1] < parts[-2] / 3


def test_gap_over_a_weekend_is_shaped_by_the_type_of_each_day() -> None:
    friday = make_days(date(2026, 3, 6), 4)
    shares = shape_gap(_gap(friday, 12, 84, 10**10), _estimator(date(2026, 3, 6)), _ANY)
    assert shares is not None
    by_start = {start: shares[start] for start in friday.bounds_ms[[12, 36, 60]].tolist()}
    noon_friday, noon_saturday, noon_sunday = by_start.values()
    assert noon_saturday == pytest.approx(noon_friday * 0.4, abs=2)
    assert noon_sunday == pytest.approx(noon_saturday, abs=2)


@pytest.mark.parametrize(
    ("day", "zone", "interval_s", "count"),
    [
        pytest.param(date(2026, 3, 29), BERLIN, 1800, 46, id="46 half hours"),
        pytest.param(date(2026, 10, 25), BERLIN, 1800, 50, id="50 half hours"),
        pytest.param(date(2026, 4, 5), ZoneInfo("Australia/Lord_Howe"), 1800, 49, id="49 half hours"),
        pytest.param(date(2026, 10, 4), ZoneInfo("Australia/Lord_Howe"), 3600, 24, id="an hour of 30 minutes"),
        pytest.param(date(2026, 5, 3), ZoneInfo("Asia/Kathmandu"), 900, 96, id="a zone of minutes"),
    ],
)
def test_gap_of_a_whole_day_adds_up_on_any_day(day: date, zone: ZoneInfo, interval_s: int, count: int) -> None:
    grid = make_days(day, 1, zone, interval_s)
    gap = Gap(int(grid.bounds_ms[0]), int(grid.bounds_ms[-1]), 12_345_678_901)
    shares = shape_gap(gap, _estimator(day, zone, interval_s), _ANY)
    assert shares is not None
    assert len(shares) == count
    assert sum(shares.values()) == 12_345_678_901


def test_both_hours_that_autumn_has_twice_get_the_same() -> None:
    grid = make_days(date(2026, 10, 25), 1, BERLIN)
    gap = Gap(int(grid.bounds_ms[0]), int(grid.bounds_ms[-1]), 25 * 10**9)
    shares = shape_gap(gap, _estimator(date(2026, 10, 25), BERLIN), _ANY)
    assert shares is not None
    twice = [shares[start] for start in grid.bounds_ms[2:4].tolist()]
    assert abs(twice[0] - twice[1]) <= 1


@pytest.mark.parametrize(
    ("reference_days", "amount_micro", "ceiling_per_h"),
    [
        pytest.param(0, 10**9, _ANY, id="no days before"),
        pytest.param(2, 10**9, _ANY, id="too few days before"),
        pytest.param(28, 30 * 10**9, 55 * 10**8, id="more than the register can count in an hour"),
    ],
)
def test_gap_without_a_likeness_has_no_shape(reference_days: int, amount_micro: int, ceiling_per_h: float) -> None:
    reference = make_reference_days(_THURSDAY, reference_days) if reference_days else no_reference(3600)
    estimator = Estimator(UTC_ZONE, 3600, reference, Choice(3, 5))
    assert shape_gap(_gap(make_days(_THURSDAY), 6, 12, amount_micro), estimator, ceiling_per_h) is None


def _silent(grid: Grid, from_hour: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.where(np.arange(len(grid)) < from_hour, MICRO, 0)


def test_silence_is_filled_with_what_is_usual_for_the_days_that_are_allowed() -> None:
    grid = make_days(_THURSDAY, 4)
    marks = dict.fromkeys(range(11, 96), (IntervalQuality.MISSING, Cause.NO_DATA))
    marks[10] = IntervalQuality.PARTIAL, Cause.NO_DATA
    intervals = make_intervals(_silent(grid, 11), marks)
    since = int(grid.bounds_ms[10]) + HOUR_MS // 4
    added, to = forward_estimates(grid, intervals, since, 3, _estimator())
    usual = make_reference_days(_THURSDAY, 7).amounts_micro[0]
    assert added[10] == usual[10] * 3 // 4
    assert added[11:24].tolist() == usual[11:24].tolist()
    assert np.flatnonzero(to).tolist() == list(range(10, 83))
    assert not added[~to].any()


def test_interval_that_no_reading_to_come_can_tell_of_is_not_filled() -> None:
    intervals = make_intervals([0], {0: (IntervalQuality.PARTIAL, Cause.NO_DATA | Cause.RESET)})
    assert is_waiting(intervals).tolist() == [False]


def test_silence_without_days_before_stays_missing() -> None:
    grid = make_days(_THURSDAY)
    intervals = make_intervals([0] * 24, dict.fromkeys(range(24), (IntervalQuality.MISSING, Cause.NO_DATA)))
    nothing = Estimator(UTC_ZONE, 3600, no_reference(3600), Choice(3, 5))
    _, to = forward_estimates(grid, intervals, int(grid.bounds_ms[0]) - 1, 3, nothing)
    assert not to.any()


def test_forward_estimates_of_large_registers_stay_within_64_bits() -> None:
    grid = make_days(MONDAY)
    intervals = make_intervals([0] * 24, dict.fromkeys(range(24), (IntervalQuality.MISSING, Cause.NO_DATA)))
    reference = make_reference_days(MONDAY, 42, times=20_000)  # 200 MW
    estimator = Estimator(UTC_ZONE, 3600, reference, Choice(3, 5))
    added, to = forward_estimates(grid, intervals, int(grid.bounds_ms[0]), 3, estimator)
    assert to.all()
    monday = reference.days.tolist().index(reference.days[-1]) - 6
    assert added.tolist() == reference.amounts_micro[monday].tolist()
    assert reference.days[monday] == grid.day[0] - timedelta(days=7).days
