from datetime import date, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_hub.analysis.model import Figure, FigureQuality, Step
from cloud_hub.analysis.sums import add_figures, add_register, bucket_starts, durations_ms, figure, figures, no_sums
from cloud_hub.calendar.days import make_grid
from cloud_hub.energy.model import IntervalQuality, Intervals

ZONES = ["Europe/Berlin", "America/Los_Angeles", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia"]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("interval_s", [900, 3600])
@settings(max_examples=10, deadline=None)
@given(start=st.integers(0, 700), days=st.integers(1, 60), seed=st.integers(0, 2**32 - 1))
def test_buckets_add_up_to_the_whole_whatever_the_step(
    zone: str, interval_s: int, start: int, days: int, seed: int
) -> None:
    first = date(2011, 1, 1) + timedelta(days=start)  # Samoa left out a day of that year
    grid = make_grid(first, first + timedelta(days=days - 1), ZoneInfo(zone), interval_s)
    chance, sums = np.random.default_rng(seed), no_sums(len(grid))
    for _ in range(3):
        qualities = chance.integers(0, 6, len(grid)).astype(np.int16)
        amounts = np.where(qualities < IntervalQuality.MISSING, chance.integers(-(10**15), 10**15, len(grid)), 0)
        complete = np.where(qualities < IntervalQuality.MISSING, chance.integers(0, 1001, len(grid)), 0)
        intervals = Intervals(amounts, qualities, complete.astype(np.int16), np.zeros(len(grid), np.int32))
        add_register(sums, intervals, qualities != IntervalQuality.ABSENT)
    lengths = durations_ms(grid)
    whole = figure(sums, lengths)
    for step in Step:
        parts = figures(sums, lengths, bucket_starts(grid, step))
        for name in ("measured_micro", "estimated_micro", "edited_micro", "partial_micro", "expected_ms", "missing_ms"):
            assert sum(getattr(part, name) for part in parts) == getattr(whole, name)
        assert max((part.meters for part in parts), default=0) == whole.meters


def test_what_the_ledger_does_not_hold_although_it_was_expected_is_missing() -> None:
    sums = no_sums(2)
    absent = Intervals(np.zeros(2, np.int64), np.full(2, 5, np.int16), np.zeros(2, np.int16), np.zeros(2, np.int32))
    add_register(sums, absent, np.array([True, False]))
    assert sums.qualities.tolist() == [IntervalQuality.MISSING, IntervalQuality.ABSENT]


def test_the_worst_part_names_a_figure() -> None:
    hour = 3_600_000
    measured = Figure(measured_micro=5, expected_ms=hour, complete_ms=hour, meters=1)
    edited = Figure(edited_micro=5, expected_ms=hour, edited_ms=hour, meters=1)
    estimated = Figure(estimated_micro=5, expected_ms=hour, estimated_ms=hour, meters=1)
    missing = Figure(expected_ms=hour, missing_ms=hour, meters=1)
    assert Figure().quality is FigureQuality.NOT_EXPECTED
    assert measured.quality is FigureQuality.MEASURED
    assert add_figures([measured, edited]).quality is FigureQuality.EDITED
    assert add_figures([measured, edited, estimated]).quality is FigureQuality.ESTIMATED
    assert add_figures([measured, missing]).quality is FigureQuality.PARTIAL
    assert add_figures([missing, missing]).quality is FigureQuality.MISSING
    assert add_figures([measured, missing]).completeness == 500
    assert add_figures([]) == Figure()


def test_complete_means_that_nothing_at_all_is_missing() -> None:
    almost = Figure(measured_micro=1, expected_ms=10**9, complete_ms=10**9 - 1, meters=1)
    assert almost.completeness == 999
