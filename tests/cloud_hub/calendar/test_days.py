from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from cloud_hub.calendar.days import day_bounds_ms, instant_of_ms, make_grid, ms_of_instant, start_of_day


@pytest.mark.parametrize(
    ("zone", "day", "interval_s", "intervals"),
    [
        ("Europe/London", date(2019, 3, 31), 1800, 46),
        ("Europe/London", date(2019, 10, 27), 1800, 50),
        ("Europe/London", date(2019, 6, 1), 1800, 48),
        ("Europe/Berlin", date(2016, 3, 27), 3600, 23),
        ("America/New_York", date(2026, 11, 1), 900, 100),
        ("America/New_York", date(2026, 3, 8), 300, 276),
        ("Australia/Lord_Howe", date(2026, 4, 5), 1800, 49),
        ("Australia/Lord_Howe", date(2026, 10, 4), 1800, 47),
        ("Australia/Lord_Howe", date(2026, 10, 4), 3600, 24),
        ("Asia/Kolkata", date(2026, 3, 29), 1800, 48),
        ("Asia/Kathmandu", date(2026, 3, 29), 1800, 48),
    ],
)
def test_a_local_day_has_as_many_intervals_as_its_clock_says(
    zone: str, day: date, interval_s: int, intervals: int
) -> None:
    assert len(day_bounds_ms(day, ZoneInfo(zone), interval_s)) == intervals + 1


def test_a_day_of_kathmandu_begins_at_a_quarter_past_the_hour() -> None:
    assert start_of_day(date(2026, 1, 1), ZoneInfo("Asia/Kathmandu")) == datetime(2025, 12, 31, 18, 15, tzinfo=UTC)


def test_a_day_without_midnight_begins_with_the_jump() -> None:
    # Beirut's clock went from 2022-03-26 24:00 to 2022-03-27 01:00.
    assert start_of_day(date(2022, 3, 27), ZoneInfo("Asia/Beirut")) == datetime(2022, 3, 26, 22, tzinfo=UTC)


def test_a_day_with_two_midnights_begins_with_the_first() -> None:
    # Havana's clock went back from 01:00 to 00:00 on 2022-11-06.
    assert start_of_day(date(2022, 11, 6), ZoneInfo("America/Havana")) == datetime(2022, 11, 6, 4, tzinfo=UTC)


def test_a_day_that_was_left_out_has_no_interval() -> None:
    # Samoa crossed the date line: there was no 2011-12-30.
    assert len(day_bounds_ms(date(2011, 12, 30), ZoneInfo("Pacific/Apia"), 1800)) == 1


@pytest.mark.parametrize(
    "zone", ["Pacific/Apia", "America/Los_Angeles", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC"]
)
def test_days_follow_each_other_without_a_seam(zone: str) -> None:
    first = date(2011, 1, 1)
    grid = make_grid(first, first + timedelta(days=400), ZoneInfo(zone), 1800)
    steps = np.diff(grid.bounds_ms)
    assert steps.min() > 0
    assert steps.max() == 1_800_000
    assert len(grid.bounds_ms) == len(grid) + 1 == len(grid.slot) + 1
    starts = [instant_of_ms(int(at)).astimezone(ZoneInfo(zone)) for at in grid.bounds_ms[:-1]]
    assert [(start.date() - date(1970, 1, 1)).days for start in starts] == grid.day.tolist()
    assert [start.hour * 60 + start.minute for start in starts] == grid.slot.tolist()


def test_instants_come_back_from_milliseconds() -> None:
    instant = datetime(2026, 11, 21, 15, 0, 0, 123_000, tzinfo=UTC)
    assert instant_of_ms(ms_of_instant(instant)) == instant
