import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cloud_hub.readings.series import NO_READING, Series, mark_holes, reduce
from protocol.quality import Quality


def make_series(values: list[float], *, step_ms: int = 1000, quality: list[int] | None = None) -> Series:
    codes = quality or [Quality.TIMEOUT if np.isnan(value) else Quality.GOOD for value in values]
    return Series(
        1_700_000_000_000 + step_ms * np.arange(len(values), dtype=np.int64),
        np.array(values, dtype=np.float64),
        np.array(codes, dtype=np.int16),
    )


def test_regular_readings_have_no_hole() -> None:
    series = make_series([1.0, 2.0, 3.0])
    assert mark_holes(series, 1.0) is series


def test_a_missed_stretch_becomes_one_row_without_value() -> None:
    series = make_series([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).take(np.array([0, 1, 5]))
    marked = mark_holes(series, 1.0)
    assert (marked.observed_at_ms - marked.observed_at_ms[0]).tolist() == [0, 1000, 2000, 5000]
    assert np.isnan(marked.value[2])
    assert marked.quality.tolist() == [0, 0, NO_READING, 0]


def test_one_late_reading_is_not_a_hole() -> None:
    series = make_series([1.0, 2.0, 3.0, 4.0]).take(np.array([0, 2, 3]))
    assert len(mark_holes(series, 1.0)) == 3


def test_no_readings_stay_none() -> None:
    assert len(reduce(mark_holes(make_series([]), 60.0), 100)) == 0


def test_a_single_spike_and_a_single_gap_survive_reduction() -> None:
    values = [10.0] * 10_000
    values[4_321], values[7_000], values[2_000] = 999.0, float("nan"), -5.0
    reduced = reduce(make_series(values), 300)
    assert len(reduced) <= 300
    assert np.nanmax(reduced.value) == 999.0
    assert np.nanmin(reduced.value) == -5.0
    assert Quality.TIMEOUT in reduced.quality


def test_a_doubted_value_survives_reduction() -> None:
    quality = [int(Quality.GOOD)] * 5_000
    quality[1_234] = Quality.COUNTER_REGRESSED
    reduced = reduce(make_series([float(n) for n in range(5_000)], quality=quality), 90)
    assert Quality.COUNTER_REGRESSED in reduced.quality


def test_a_stretch_of_nothing_but_gaps_reduces() -> None:
    reduced = reduce(make_series([float("nan")] * 1_000), 30)
    assert 0 < len(reduced) <= 30
    assert np.isnan(reduced.value).all()


@given(
    values=st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(float("nan"))), min_size=1, max_size=400),
    points_max=st.integers(3, 120),
)
def test_reduction_keeps_order_bounds_and_extremes(values: list[float], points_max: int) -> None:
    series = make_series(values)
    reduced = reduce(series, points_max)
    assert len(reduced) <= max(points_max, 3)
    assert (np.diff(reduced.observed_at_ms) > 0).all()
    assert set(reduced.observed_at_ms.tolist()) <= set(series.observed_at_ms.tolist())
    assert np.isnan(reduced.value).any() == np.isnan(series.value).any()
    if not np.isnan(series.value).all():
        assert np.nanmin(reduced.value) == np.nanmin(series.value)
        assert np.nanmax(reduced.value) == np.nanmax(series.value)
