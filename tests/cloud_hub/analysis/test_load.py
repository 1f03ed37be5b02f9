from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_rows import WH

from cloud_hub.analysis.load import (
    draw_heat,
    find_base_load,
    find_peaks,
    load_factor,
    mean_power,
    shape_days,
    split_by_hours,
)
from cloud_hub.analysis.results import Column
from cloud_hub.analysis.sums import FlowSums, add_register, durations_ms, figure, no_sums
from cloud_hub.calendar.days import Grid, make_grid
from cloud_hub.energy.model import COMPLETE, IntervalQuality, Intervals

BERLIN = ZoneInfo("Europe/Berlin")
DAY = date(2026, 6, 1)  # a Monday
KW = 1_000 * WH


def sums_of(amounts: list[int], qualities: list[IntervalQuality] | None = None) -> FlowSums:
    codes = np.array([0] * len(amounts) if qualities is None else qualities, np.int16)
    complete = np.where(codes == IntervalQuality.MEASURED, COMPLETE, 0).astype(np.int16)
    sums = no_sums(len(amounts))
    intervals = Intervals(np.array(amounts, np.int64), codes, complete, np.zeros(len(amounts), np.int32))
    add_register(sums, intervals, codes != IntervalQuality.ABSENT)
    return sums


def half_hours(first: date = DAY, days: int = 1, zone: ZoneInfo = BERLIN, interval_s: int = 1800) -> Grid:
    return make_grid(first, first + timedelta(days=days - 1), zone, interval_s)


def test_the_peak_is_a_power_with_its_local_time() -> None:
    peak, higher = find_peaks(sums_of([WH] * 20 + [2000 * WH] + [WH] * 27), half_hours(), BERLIN)
    assert peak is not None
    assert peak.power_micro_per_h == 4 * KW
    assert peak.start == datetime(2026, 6, 1, 8, tzinfo=UTC)
    assert peak.local_start.isoformat() == "2026-06-01T10:00:00+02:00"
    assert peak.end - peak.start == timedelta(minutes=30)
    assert (peak.is_measured, higher) == (True, None)


def test_a_peak_in_the_repeated_hour_says_which_pass() -> None:
    grid = half_hours(date(2026, 10, 25))
    peak, _ = find_peaks(sums_of([WH] * 6 + [9 * WH] + [WH] * 43), grid, BERLIN)
    assert peak is not None
    assert peak.local_start.isoformat() == "2026-10-25T02:00:00+01:00"


def test_an_estimate_is_no_peak_but_is_named_when_it_is_higher() -> None:
    qualities = [IntervalQuality.MEASURED] * 47 + [IntervalQuality.ESTIMATED]
    peak, higher = find_peaks(sums_of([WH] * 46 + [3 * WH, 8 * WH], qualities), half_hours(), BERLIN)
    assert peak is not None
    assert higher is not None
    assert (peak.power_micro_per_h, peak.is_measured) == (6 * WH, True)
    assert (higher.power_micro_per_h, higher.is_measured) == (16 * WH, False)


def test_without_a_measured_interval_the_peak_says_so_and_makes_no_load_factor() -> None:
    sums = sums_of([WH] * 48, [IntervalQuality.ESTIMATED] * 48)
    peak, _ = find_peaks(sums, half_hours(), BERLIN)
    assert peak is not None
    assert not peak.is_measured
    assert mean_power(sums, half_hours()) is None
    assert load_factor(2 * WH, peak) is None
    nothing = sums_of([0] * 48, [IntervalQuality.MISSING] * 48)
    assert find_peaks(nothing, half_hours(), BERLIN) == (None, None)


def test_an_interval_that_lacks_one_of_two_meters_is_no_measured_one() -> None:
    sums = sums_of([5 * WH] * 48)
    other = np.array([IntervalQuality.MISSING] + [IntervalQuality.MEASURED] * 47, np.int16)
    add_register(
        sums,
        Intervals(np.full(48, WH), other, np.full(48, COMPLETE, np.int16), np.zeros(48, np.int32)),
        np.ones(48, np.bool_),
    )
    assert sums.qualities.tolist() == [IntervalQuality.PARTIAL] + [IntervalQuality.MEASURED] * 47
    assert sums.total_micro.tolist() == [5 * WH] + [6 * WH] * 47


def test_the_base_load_is_the_mean_of_the_lowest_tenth() -> None:
    amounts = [100 * WH] * 100 + [10 * WH, 20 * WH, 30 * WH, 40 * WH] + [100 * WH] * 136
    base = find_base_load(sums_of(amounts), half_hours(days=5))
    assert base is not None
    assert base.intervals == 24
    assert base.power_micro_per_h == 2 * (10 + 20 + 30 + 40 + 20 * 100) * WH // 24
    assert find_base_load(sums_of([0] * 48, [IntervalQuality.MISSING] * 48), half_hours()) is None


def test_the_load_factor_is_mean_over_peak() -> None:
    sums = sums_of([WH] * 47 + [3 * WH])
    peak, _ = find_peaks(sums, half_hours(), BERLIN)
    assert load_factor(mean_power(sums, half_hours()), peak) == Decimal("0.3472")
    idle = sums_of([0] * 48)
    assert load_factor(mean_power(idle, half_hours()), find_peaks(idle, half_hours(), BERLIN)[0]) is None


def test_the_shape_of_a_day_keeps_weekdays_and_weekends_apart() -> None:
    grid = half_hours(days=7)
    amounts = [WH * (1 if number < 5 else number) for number in range(7) for _ in range(48)]
    shapes = {shape.name: shape for shape in shape_days(sums_of(amounts), grid)}
    assert {name: shape.days for name, shape in shapes.items()} == {"weekday": 5, "saturday": 1, "sunday": 1}
    assert {name: set(shape.power_micro_per_h) for name, shape in shapes.items()} == {
        "weekday": {2 * WH},
        "saturday": {10 * WH},
        "sunday": {12 * WH},
    }
    assert shapes["sunday"].slots == tuple(range(0, 24 * 60, 30))


def test_a_time_of_day_that_is_never_known_has_no_mean() -> None:
    qualities = [IntervalQuality.MEASURED] * 47 + [IntervalQuality.MISSING]
    (shape,) = shape_days(sums_of([WH] * 48, qualities), half_hours())
    assert shape.power_micro_per_h == (*[2 * WH] * 47, None)


@pytest.mark.parametrize(("day", "cells", "columns"), [("2026-03-29", 46, 48), ("2026-10-25", 50, 50)])
def test_a_heat_map_shows_clock_changes_as_they_were(day: str, cells: int, columns: int) -> None:
    changed = date.fromisoformat(day)
    grid = half_hours(changed - timedelta(days=1), days=3)
    heat = draw_heat(sums_of([(n + 1) * WH for n in range(len(grid))]), grid)
    assert len(heat.columns) == columns
    assert len(heat.days) == len(heat.qualities) == 3
    assert [len(row) for row in heat.power_micro_per_h] == [columns] * 3
    row = heat.power_micro_per_h[1]
    shown = [value for value in row if value is not None]
    assert shown == [2 * (n + 1) * WH for n in range(48, 48 + cells)]
    hidden = {heat.columns[n] for n, value in enumerate(row) if value is None}
    assert hidden == ({Column(120, False), Column(150, False)} if cells == 46 else set())
    assert {heat.qualities[1][n] for n, value in enumerate(row) if value is None} <= {"no_such_time"}
    if cells == 50:
        assert heat.columns[4:9] == (
            Column(120, False),
            Column(150, False),
            Column(120, True),
            Column(150, True),
            Column(180, False),
        )
        assert heat.qualities[0][6:8] == heat.qualities[2][6:8] == ("no_such_time", "no_such_time")


@pytest.mark.parametrize(
    ("zone", "day", "interval_s"),
    [
        ("Australia/Lord_Howe", date(2026, 4, 5), 1800),
        ("Australia/Lord_Howe", date(2026, 4, 5), 3600),
        ("Australia/Lord_Howe", date(2026, 10, 4), 3600),
        ("America/Havana", date(2022, 11, 6), 1800),
        ("America/Los_Angeles", date(2026, 11, 1), 900),
        ("America/Los_Angeles", date(2026, 11, 1), 3600),
        ("Asia/Beirut", date(2022, 3, 27), 1800),
    ],
)
def test_every_interval_has_its_cell_in_the_order_of_time(zone: str, day: date, interval_s: int) -> None:
    grid = make_grid(day - timedelta(days=1), day + timedelta(days=1), ZoneInfo(zone), interval_s)
    heat = draw_heat(sums_of([(n + 1) * 1_000 * WH for n in range(len(grid))]), grid)
    values = [value for row in heat.power_micro_per_h for value in row if value is not None]
    assert len(values) == len(grid)
    lengths = np.diff(grid.bounds_ms)
    assert all(later > earlier for earlier, later in pairwise(values) if lengths.min() == lengths.max())


def test_missing_cells_are_told_from_times_that_never_were() -> None:
    qualities = [IntervalQuality.ABSENT, IntervalQuality.MISSING, *[IntervalQuality.MEASURED] * 46]
    heat = draw_heat(sums_of([0] * 48, qualities), half_hours())
    assert heat.power_micro_per_h[0] == (None, None, *[0] * 46)
    assert heat.qualities[0][:3] == ("not_expected", "missing", "measured")


@settings(max_examples=50, deadline=None)
@given(
    amounts=st.lists(st.integers(-(10**16), 10**16), min_size=50, max_size=50),
    shares=st.lists(st.integers(0, 1_800_000), min_size=50, max_size=50),
)
def test_inside_and_outside_add_up_to_the_whole(amounts: list[int], shares: list[int]) -> None:
    grid = half_hours(date(2026, 10, 25))
    sums, open_ms = sums_of(amounts), np.array(shares, np.int64)
    inside, outside = split_by_hours(sums, durations_ms(grid), open_ms)
    expected = [amount * share // 1_800_000 for amount, share in zip(amounts, shares, strict=True)]
    assert inside.total_micro.tolist() == expected
    assert (inside.total_micro + outside.total_micro).tolist() == amounts
    whole = figure(sums, durations_ms(grid))
    parts = figure(inside, open_ms), figure(outside, durations_ms(grid) - open_ms)
    assert parts[0].expected_ms + parts[1].expected_ms == whole.expected_ms == 25 * 3_600_000
