"""Reference days: measured intervals only, like days, the newest first, by the wall clock."""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from estimation_factories import MONDAY, UTC_ZONE, make_days, make_intervals, number

from cloud_hub.energy.model import Cause, IntervalQuality
from cloud_hub.energy.reference import (
    REFERENCE_DAYS,
    Choice,
    DayType,
    ReferenceDays,
    day_types,
    looks_back,
    make_reference,
    merge,
    no_reference,
    same_weekday_totals,
    typical_amounts,
)

_CHOICE = Choice(at_least=3, at_most=5)


def _days(
    first: date,
    count: int,
    amount_of: Callable[[date], int],
    marks: Mapping[int, tuple[IntervalQuality, Cause]] | None = None,
    zone: ZoneInfo = UTC_ZONE,
) -> ReferenceDays:
    """Make hourly days, all hours of a day alike."""
    grid = make_days(first, count, zone)
    amounts = [amount_of(first + timedelta(days=int(day - grid.day[0]))) for day in grid.day]
    known = make_intervals(amounts, marks)
    return make_reference(grid.day, grid.slot, known.amounts_micro, known.qualities, known.causes, interval_s=3600)


def _typical(reference: ReferenceDays, before: date, day_type: DayType = DayType.WEEKDAY) -> list[int | None]:
    amounts, known = typical_amounts(reference, before=number(before), day_type=day_type, choice=_CHOICE)
    return [amount if there else None for amount, there in zip(amounts.tolist(), known.tolist(), strict=True)]


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        pytest.param(date(2026, 3, 2), DayType.WEEKDAY, id="Monday"),
        pytest.param(date(2026, 3, 6), DayType.WEEKDAY, id="Friday"),
        pytest.param(date(2026, 3, 7), DayType.SATURDAY, id="Saturday"),
        pytest.param(date(2026, 3, 8), DayType.SUNDAY, id="Sunday"),
        pytest.param(date(2026, 3, 4), DayType.SUNDAY, id="holiday on a Wednesday"),
        pytest.param(date(1969, 12, 31), DayType.WEEKDAY, id="before 1970"),
    ],
)
def test_days_have_types(day: date, expected: DayType) -> None:
    assert day_types(np.array([number(day)], np.int32), {number(date(2026, 3, 4))}).tolist() == [expected]


def test_the_newest_five_days_of_the_type_are_taken() -> None:
    days_ago = _days(MONDAY - timedelta(days=21), 21, lambda day: (MONDAY - day).days)
    assert _typical(days_ago, MONDAY)[0] == (3 + 4 + 5 + 6 + 7) // 5
    assert _typical(days_ago, MONDAY, DayType.SATURDAY)[0] == (2 + 9 + 16) // 3


def test_fewer_than_three_days_are_none() -> None:
    assert _typical(_days(MONDAY - timedelta(days=14), 14, lambda _: 5), MONDAY, DayType.SATURDAY) == [None] * 24


def test_a_day_is_no_reference_of_itself() -> None:
    three_days = _days(MONDAY, 3, lambda _: 5)
    assert _typical(three_days, MONDAY + timedelta(days=2)) == [None] * 24
    assert _typical(three_days, MONDAY + timedelta(days=3)) == [5] * 24


def test_days_too_long_ago_or_not_before_are_not_taken() -> None:
    long_ago = _days(MONDAY - timedelta(days=REFERENCE_DAYS + 5), 5, lambda _: 5)
    after = _days(MONDAY, 10, lambda _: 5)
    assert _typical(merge(long_ago, after), MONDAY) == [None] * 24
    assert _typical(merge(long_ago, after), MONDAY + timedelta(days=10))[0] == 5


@pytest.mark.parametrize(
    ("quality", "cause", "is_taken"),
    [
        pytest.param(IntervalQuality.MEASURED, Cause.NONE, True, id="measured"),
        pytest.param(IntervalQuality.MEASURED, Cause.ROLLOVER | Cause.HIGH_USE, True, id="measured over a rollover"),
        pytest.param(IntervalQuality.MEASURED, Cause.STUCK, False, id="doubted"),
        pytest.param(IntervalQuality.MEASURED, Cause.CLOCK, False, id="of an uncertain clock"),
        pytest.param(IntervalQuality.ESTIMATED, Cause.GAP, False, id="estimated"),
        pytest.param(IntervalQuality.EDITED, Cause.EDIT, False, id="edited"),
        pytest.param(IntervalQuality.PARTIAL, Cause.RESET, False, id="partial"),
    ],
)
def test_only_measured_intervals_without_doubt_are_references(
    quality: IntervalQuality, cause: Cause, *, is_taken: bool
) -> None:
    newest = _days(MONDAY - timedelta(days=3), 1, lambda _: 90, {7: (quality, cause)})
    others = _days(MONDAY - timedelta(days=6), 3, lambda _: 10)
    typical = _typical(merge(others, newest), MONDAY)
    assert typical[6] == (90 + 30) // 4
    assert typical[7] == ((90 + 30) // 4 if is_taken else 10)


def test_a_doubtful_hour_spoils_no_other_hour_of_its_day() -> None:
    marks = {24 * day + 7: (IntervalQuality.ESTIMATED, Cause.GAP) for day in range(5)}
    typical = _typical(_days(MONDAY, 5, lambda _: 10, marks), MONDAY + timedelta(days=7))
    assert [hour for hour, amount in enumerate(typical) if amount is None] == [7]


def test_the_hour_that_spring_leaves_out_is_like_the_one_before() -> None:
    grid = make_days(date(2026, 3, 29), 1, ZoneInfo("Europe/Berlin"))
    known = make_intervals(list(range(100, 123)))
    reference = make_reference(grid.day, grid.slot, known.amounts_micro, known.qualities, known.causes, interval_s=3600)
    assert reference.amounts_micro[0].tolist() == [100, 101, 101, *range(102, 123)]
    assert reference.usable.all()


def test_of_the_hour_that_autumn_repeats_the_first_counts() -> None:
    grid = make_days(date(2026, 10, 25), 1, ZoneInfo("Europe/Berlin"))
    known = make_intervals(list(range(100, 125)))
    reference = make_reference(grid.day, grid.slot, known.amounts_micro, known.qualities, known.causes, interval_s=3600)
    assert reference.amounts_micro[0].tolist() == [100, 101, 102, *range(104, 125)]


def test_a_day_that_is_not_over_is_not_filled_up() -> None:
    grid = make_days()
    known = make_intervals([5] * 10)
    reference = make_reference(
        grid.day[:10], grid.slot[:10], known.amounts_micro, known.qualities, known.causes, interval_s=3600
    )
    assert reference.usable[0].tolist() == [True] * 10 + [False] * 14


def test_merged_days_are_in_order_and_the_kept_ones_win() -> None:
    merged = merge(_days(MONDAY + timedelta(days=1), 2, lambda _: 1), _days(MONDAY, 2, lambda _: 2))
    assert merged.days.tolist() == [number(MONDAY) + n for n in range(3)]
    assert merged.amounts_micro[:, 0].tolist() == [2, 1, 1]
    assert len(merge(no_reference(3600), merged)) == 3


def test_same_weekdays_before_without_holidays_and_unmeasured_days() -> None:
    marks = {24 * 7: (IntervalQuality.ESTIMATED, Cause.GAP)}
    reference = _days(MONDAY - timedelta(days=28), 28, lambda day: day.day, marks)
    totals = same_weekday_totals(reference, day=number(MONDAY), weeks=4, holidays={number(date(2026, 2, 16))})
    assert totals == [24 * 2, 24 * 23]  # 2 and 23 February; the 9th has an estimate


@pytest.mark.parametrize(
    ("quality", "cause", "expected"),
    [
        pytest.param(IntervalQuality.ESTIMATED, Cause.GAP, True, id="estimated"),
        pytest.param(IntervalQuality.MISSING, Cause.NO_DATA, True, id="waits for a reading"),
        pytest.param(IntervalQuality.MISSING, Cause.JUMP, False, id="lost for good"),
        pytest.param(IntervalQuality.MEASURED, Cause.HIGH_USE, False, id="measured"),
        pytest.param(IntervalQuality.EDITED, Cause.GAP, False, id="edited"),
    ],
)
def test_intervals_that_reference_days_can_change(quality: IntervalQuality, cause: Cause, *, expected: bool) -> None:
    assert looks_back(np.array([quality], np.int16), np.array([cause], np.int32)).tolist() == [expected]
