from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from energy_factories import (
    DAY,
    DAY_MS,
    HALF_HOUR_MS,
    MINUTE_MS,
    Sample,
    causes,
    day_grid,
    kinds,
    make_limits,
    make_register_series,
    measure_day,
    micro,
    qualities,
    steady,
    total,
)

from cloud_hub.calendar.days import make_grid, ms_of_instant
from cloud_hub.energy.measuring import measure
from cloud_hub.energy.model import COMPLETE, Cause, Exchange, FindingKind, IntervalQuality, Register
from cloud_hub.readings.series import Series
from protocol.quality import Quality

MEASURED, ESTIMATED, PARTIAL = IntervalQuality.MEASURED, IntervalQuality.ESTIMATED, IntervalQuality.PARTIAL
MISSING, ABSENT = IntervalQuality.MISSING, IntervalQuality.ABSENT

WHOLE_DAY = steady(1_000, 0.5, 60, start_ms=DAY_MS - 6 * HALF_HOUR_MS)
"""On the borders of half hours, three hours more on both sides."""


def without(samples: list[Sample], first: int, last: int) -> list[Sample]:
    """Leave out the readings at the borders `first` to `last` of the day's half hours, both included."""
    return [one for one in samples if not first <= (one[0] - DAY_MS) / HALF_HOUR_MS <= last]


def until(samples: list[Sample], half_hours: float) -> list[Sample]:
    return [one for one in samples if one[0] <= DAY_MS + half_hours * HALF_HOUR_MS]


def since(samples: list[Sample], half_hours: float) -> list[Sample]:
    return [one for one in samples if one[0] >= DAY_MS + half_hours * HALF_HOUR_MS]


def test_a_clean_day_is_measured_and_complete() -> None:
    measured = measure_day(WHOLE_DAY)
    assert measured.intervals.amounts_micro.tolist() == [500_000] * 48
    assert set(qualities(measured)) == {MEASURED}
    assert set(measured.intervals.completenesses.tolist()) == {COMPLETE}
    assert not measured.intervals.causes.any()
    assert (measured.gaps, measured.findings) == ((), ())


@pytest.mark.parametrize("late_ms", [2, 900, 17_000])
def test_stamps_just_after_the_boundary_book_the_rest_to_the_interval_before(late_ms: int) -> None:
    samples = [(at_ms + late_ms, value) for at_ms, value in WHOLE_DAY]
    measured = measure_day(samples)
    assert measured.intervals.amounts_micro.tolist() == [500_000] * 48
    assert set(qualities(measured)) == {MEASURED}


def test_readings_between_the_borders_are_interpolated_without_losing_anything() -> None:
    samples = [
        (at_ms + 7 * MINUTE_MS + n % 5 * 1_237, value + n % 3 * 0.1) for n, (at_ms, value) in enumerate(WHOLE_DAY)
    ]
    week = measure_day(samples, grid=day_grid(date(2026, 3, 9), days=3))
    first, last = samples[0][1], samples[-1][1]
    assert total(week) == micro(round(last - first, 3))


def test_a_gap_is_spread_evenly_and_estimated() -> None:
    measured = measure_day(without(WHOLE_DAY, 11, 19))
    inside = slice(10, 20)
    assert measured.intervals.amounts_micro[inside].tolist() == [500_000] * 10
    assert qualities(measured) == [MEASURED] * 10 + [ESTIMATED] * 10 + [MEASURED] * 28
    assert measured.intervals.completenesses[inside].tolist() == [0] * 10
    (gap,) = measured.gaps
    assert (gap.from_ms, gap.to_ms, gap.amount_micro) == (
        DAY_MS + 10 * HALF_HOUR_MS,
        DAY_MS + 20 * HALF_HOUR_MS,
        5_000_000,
    )


def test_one_missed_reading_is_no_gap() -> None:
    assert set(qualities(measure_day(without(WHOLE_DAY, 11, 11)))) == {MEASURED}


def test_an_interval_half_in_a_gap_is_half_complete() -> None:
    measured = measure_day([(at_ms + HALF_HOUR_MS // 2, value) for at_ms, value in without(WHOLE_DAY, 11, 19)])
    assert qualities(measured)[9:22] == [MEASURED] + [ESTIMATED] * 11 + [MEASURED]
    assert measured.intervals.completenesses[9:22].tolist() == [1000, 500, *[0] * 9, 500, 1000]


def test_an_outage_of_years_is_known_in_total_and_never_booked_as_one_hour() -> None:
    grid = day_grid(days=3 * 365)
    end_ms = int(grid.bounds_ms[-1])
    samples = [*until(WHOLE_DAY, 0), *steady(90_000.123456, 0.5, 5, start_ms=end_ms)]
    measured = measure_day(samples, grid=grid)
    assert total(measured) == micro("90000.123456") - micro(1_003)
    assert int(np.ptp(measured.intervals.amounts_micro)) <= 1
    assert set(qualities(measured)) == {ESTIMATED}
    assert kinds(measured.findings) == [FindingKind.GAP]


def test_after_the_last_reading_energy_is_missing_not_zero() -> None:
    measured = measure_day(until(WHOLE_DAY, 20))
    assert qualities(measured) == [MEASURED] * 20 + [MISSING] * 28
    assert causes(measured)[20:] == [Cause.NO_DATA] * 28
    assert measured.intervals.completenesses[20:].tolist() == [0] * 28


def test_the_interval_of_the_last_reading_is_a_lower_bound() -> None:
    measured = measure_day([(at_ms - HALF_HOUR_MS // 4, value) for at_ms, value in until(WHOLE_DAY, 20)])
    assert qualities(measured)[18:21] == [MEASURED, PARTIAL, MISSING]
    assert measured.intervals.completenesses[19].item() == 750
    assert measured.intervals.amounts_micro[19].item() == 375_000
    assert causes(measured)[19] == Cause.NO_DATA


def test_a_series_that_starts_inside_the_range_books_nothing_before_it() -> None:
    samples = [(at_ms + HALF_HOUR_MS // 2, value) for at_ms, value in since(WHOLE_DAY, 20)]
    measured = measure_day(samples)
    assert qualities(measured) == [ABSENT] * 20 + [PARTIAL] + [MEASURED] * 27
    assert measured.intervals.amounts_micro[:21].tolist() == [0] * 20 + [250_000]
    assert measured.intervals.completenesses[20].item() == 500


@pytest.mark.parametrize("samples", [[], [(DAY_MS + 5, float("nan"))]], ids=["none", "none with a value"])
def test_without_readings_nothing_is_expected(samples: list[Sample]) -> None:
    measured = measure_day(samples)
    assert set(qualities(measured)) == {ABSENT}
    assert total(measured) == 0


def test_a_single_reading_says_nothing_of_any_amount() -> None:
    measured = measure_day([(DAY_MS + 20 * HALF_HOUR_MS, 5.0)])
    assert qualities(measured) == [ABSENT] * 20 + [MISSING] * 28
    assert total(measured) == 0


def test_an_unknown_segment_leaves_what_it_covers_missing_and_what_it_touches_partial() -> None:
    samples = [
        (at_ms + HALF_HOUR_MS // 2, value + (500 if at_ms >= DAY_MS + 20 * HALF_HOUR_MS else 0))
        for at_ms, value in WHOLE_DAY
    ]
    measured = measure_day([one for one in samples if one[0] != DAY_MS + 39 * HALF_HOUR_MS // 2])
    assert qualities(measured)[17:22] == [MEASURED, PARTIAL, MISSING, PARTIAL, MEASURED]
    assert total(measured) == micro(24) - micro(1)
    assert all(Cause.JUMP in cause for cause in causes(measured)[18:21])


def test_a_rollover_is_measured() -> None:
    samples = [(at_ms, value % 1_010) for at_ms, value in WHOLE_DAY]
    measured = measure_day(samples, register=Register(rollover=Decimal(1_010)))
    assert measured.intervals.amounts_micro.tolist() == [500_000] * 48
    assert set(qualities(measured)) == {MEASURED}
    assert causes(measured) == [Cause.ROLLOVER if n == 13 else Cause.NONE for n in range(48)]


def test_an_exchange_is_measured() -> None:
    at_ms = DAY_MS + 20 * HALF_HOUR_MS + 10 * MINUTE_MS
    samples = [*until(WHOLE_DAY, 20), *steady(5.5, 0.5, 34, start_ms=DAY_MS + 21 * HALF_HOUR_MS)]
    measured = measure_day(samples, exchanges=[Exchange(at_ms, Decimal("1013.3"), Decimal(5))])
    assert total(measured) == micro(24) - micro("0.5") + micro("0.3") + micro("0.5")
    assert set(qualities(measured)) == {MEASURED}
    assert causes(measured) == [Cause.EXCHANGE if n == 20 else Cause.NONE for n in range(48)]


def test_minutes_around_a_glitch_stay_measured_and_tell_of_it() -> None:
    samples = steady(1_000, 0.01, 26 * 60, every_ms=MINUTE_MS, start_ms=DAY_MS - 60 * MINUTE_MS)
    samples[200] = (samples[200][0], 0.0)
    measured = measure_day(samples)
    assert measured.intervals.amounts_micro.tolist() == [300_000] * 48
    assert set(qualities(measured)) == {MEASURED}
    assert causes(measured) == [Cause.ZERO_READ if n == 4 else Cause.NONE for n in range(48)]


def test_readings_of_an_uncertain_clock_are_used_and_told() -> None:
    quality = [Quality.CLOCK_UNCERTAIN if 20 <= n <= 22 else Quality.GOOD for n in range(60)]
    series = make_register_series(WHOLE_DAY, quality=quality)
    measured = measure(series, [Register()], [], day_grid(), limits=make_limits())
    assert set(qualities(measured)) == {MEASURED}
    assert [n for n, cause in enumerate(causes(measured)) if cause is Cause.CLOCK] == [13, 14, 15, 16]


def test_two_values_at_one_instant_are_told_beside_it() -> None:
    measured = measure_day([*WHOLE_DAY, (DAY_MS + 20 * HALF_HOUR_MS, 7.0)])
    assert measured.intervals.amounts_micro.tolist() == [500_000] * 48
    assert [n for n, cause in enumerate(causes(measured)) if cause is Cause.CONFLICT] == [19, 20]
    assert kinds(measured.findings) == [FindingKind.CONFLICT]


def single(value: float) -> float:
    return float(np.float32(value))


def test_a_single_precision_register_above_2_24_says_that_its_steps_are_coarse() -> None:
    true = [(at_ms, 17_000_000.3 + n * 3.7) for n, (at_ms, _) in enumerate(WHOLE_DAY)]
    measured = measure_day([(at_ms, single(value)) for at_ms, value in true], limits=make_limits(rate="100000"))
    assert set(causes(measured)) == {Cause.RESOLUTION}
    assert abs(total(measured) - micro("177.6")) <= 2_000_000
    assert set(qualities(measured)) == {MEASURED}


def test_what_is_not_counted_is_not_called_coarse() -> None:
    before = [(at_ms, single(17_000_000.3 + n * 3.7)) for n, (at_ms, _) in enumerate(WHOLE_DAY[:20])]
    after = [(at_ms, single(9_000_000.3 + n * 3.7)) for n, (at_ms, _) in enumerate(WHOLE_DAY[30:])]
    measured = measure_day([*before, *after], limits=make_limits(rate="100000"))
    missing = [cause for cause, code in zip(causes(measured), qualities(measured), strict=True) if code == MISSING]
    assert missing
    assert not any(cause & Cause.RESOLUTION for cause in missing)


@pytest.mark.parametrize(
    ("first", "step", "is_single"),
    [
        pytest.param(17_000_000.3, 400.7, True, id="the amounts are large beside the steps"),
        pytest.param(17_000_001.0, 3.0, False, id="the register counts whole numbers beyond single precision"),
        pytest.param(17_000_000.0, 0.0, True, id="the register is at rest"),
    ],
)
def test_fine_enough_registers_say_nothing(first: float, step: float, is_single: bool) -> None:  # noqa: FBT001 - a case
    values = [first + n * step for n in range(60)]
    samples = [
        (at_ms, single(value) if is_single else value) for (at_ms, _), value in zip(WHOLE_DAY, values, strict=True)
    ]
    measured = measure_day(samples, limits=make_limits(rate="100000"))
    assert set(causes(measured)) == {Cause.NONE}


def test_a_register_of_whole_units_read_every_minute_loses_nothing_to_its_rate() -> None:
    samples = [
        (DAY_MS + (n - 60) * MINUTE_MS, float(1_000 + n // 20)) for n in range(26 * 60)
    ]  # 3 units an hour, one unit at a time: 60 an hour in its minute
    measured = measure_day(samples, limits=make_limits(rate="5"))
    assert total(measured) == micro(72)
    assert set(qualities(measured)) == {MEASURED}


@pytest.mark.parametrize(
    ("zone", "day", "count"),
    [
        ("America/Los_Angeles", date(2026, 3, 8), 46),
        ("America/Los_Angeles", date(2026, 11, 1), 50),
        ("America/St_Johns", date(2026, 3, 9), 48),
        ("Asia/Kathmandu", date(2026, 3, 10), 48),
        ("Asia/Kolkata", date(2026, 3, 10), 48),
        ("Australia/Lord_Howe", date(2026, 4, 5), 49),
        ("Europe/London", date(2026, 3, 29), 46),
        ("Europe/Berlin", date(2026, 10, 25), 50),
    ],
)
def test_a_local_day_has_what_the_register_counted_between_its_midnights(zone: str, day: date, count: int) -> None:
    grid = make_grid(day, day, ZoneInfo(zone), 1800)
    start_ms = ms_of_instant(datetime(day.year, day.month, day.day, tzinfo=UTC)) - 24 * 2 * HALF_HOUR_MS
    samples = steady(1_000, 0.05, 3 * 24 * 6, every_ms=10 * MINUTE_MS, start_ms=start_ms)
    measured = measure_day(samples, grid=grid)
    assert len(grid) == count
    assert total(measured) == 5 * (int(grid.bounds_ms[-1]) - int(grid.bounds_ms[0])) * 10_000 // (10 * MINUTE_MS)
    assert set(qualities(measured)) == {MEASURED}


@pytest.mark.parametrize("interval_s", [300, 900, 1800, 3600])
def test_every_interval_length_adds_up_alike(interval_s: int) -> None:
    limits = make_limits(interval_s * 1000)
    measured = measure_day(WHOLE_DAY, grid=day_grid(interval_s=interval_s), limits=limits)
    assert total(measured) == micro(24)


def test_late_readings_take_the_place_of_the_estimate() -> None:
    rough = measure_day(without(WHOLE_DAY, 11, 19))
    assert total(rough) == total(measure_day(WHOLE_DAY))
    assert ESTIMATED in qualities(rough)
    assert ESTIMATED not in qualities(measure_day(WHOLE_DAY))


def test_an_event_belongs_to_the_day_it_is_in() -> None:
    samples = [(at_ms, 0.0 if at_ms == DAY_MS else value) for at_ms, value in WHOLE_DAY]
    before, after = (measure_day(samples, grid=day_grid(date.fromordinal(DAY.toordinal() + n))) for n in (-1, 0))
    assert kinds(before.findings) == []
    assert kinds(after.findings) == [FindingKind.ZERO_READ]
    assert causes(before)[-1] == causes(after)[0] == Cause.ZERO_READ


def test_a_month_of_minutes_adds_up_to_the_millionth() -> None:
    chance = np.random.default_rng(7)
    count = 31 * 1440
    at_ms = DAY_MS - 30 * MINUTE_MS + MINUTE_MS * np.arange(count, dtype=np.int64) + chance.integers(0, 5_000, count)
    values = np.cumsum(chance.integers(0, 200, count)) / 1000 + 12_345.678
    grid = day_grid(days=30)
    series = Series(at_ms, values, np.zeros(count, dtype=np.int16))
    measured = measure(series, [Register()], [], grid, limits=make_limits())
    edges = np.searchsorted(at_ms, grid.bounds_ms[[0, -1]])
    outer, inner = values[edges[1]] - values[edges[0] - 1], values[edges[1] - 1] - values[edges[0]]
    assert micro(round(float(inner), 3)) <= total(measured) <= micro(round(float(outer), 3))
    assert set(qualities(measured)) == {MEASURED}
