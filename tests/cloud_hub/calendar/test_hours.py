"""Operating hours by the wall clock, on ordinary days and on the days of a change."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_hub.calendar.clock import clock_segments, split_amounts
from cloud_hub.calendar.days import instant_of_ms, make_grid
from cloud_hub.calendar.hours import WEEKDAYS, HoursFrom, open_ms, open_share, parse_operating_hours
from cloud_hub.errors import Invalid
from cloud_hub.web.documents import to_json

LONDON = ZoneInfo("Europe/London")
SPRING, AUTUMN = date(2019, 3, 31), date(2019, 10, 27)
HOUR_MS = 3_600_000


def daily(*spans: str) -> dict[str, list[str]]:
    return {day: list(spans) for day in WEEKDAYS}


def open_hours(
    document: dict[str, Any], first: date, last: date | None = None, zone: str = "Europe/London", interval_s: int = 1800
) -> list[float]:
    """Return the open hours of each day."""
    grid = make_grid(first, last or first, ZoneInfo(zone), interval_s)
    inside = open_ms(parse_operating_hours(document), ZoneInfo(zone), grid)
    _, starts = np.unique(grid.day, return_index=True)
    hours: list[float] = (np.add.reduceat(inside, starts) / HOUR_MS).tolist()
    return hours


@pytest.mark.parametrize(
    ("span", "spring", "usual", "autumn"),
    [
        ("00:00-24:00", 23, 24, 25),
        ("00:00-06:00", 5, 6, 7),
        ("08:00-18:00", 10, 10, 10),
        ("01:00-02:00", 0, 1, 2),
        ("01:15-01:45", 0, 0.5, 1),
        ("00:30-01:30", 0.5, 1, 1.5),
        ("01:30-02:30", 0.5, 1, 1.5),
    ],
)
def test_spans_follow_the_wall_clock_through_a_change(span: str, spring: float, usual: float, autumn: float) -> None:
    document = {"weekly": daily(span)}
    assert open_hours(document, SPRING) == [spring]
    assert open_hours(document, date(2019, 6, 1)) == [usual]
    assert open_hours(document, AUTUMN) == [autumn]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Australia/Lord_Howe", date(2026, 10, 4), 5.5),
        ("Australia/Lord_Howe", date(2026, 4, 5), 6.5),
        ("Asia/Kathmandu", date(2026, 3, 29), 6),
        ("America/Los_Angeles", date(2026, 3, 8), 5),
        ("America/Los_Angeles", date(2026, 11, 1), 7),
        ("America/Havana", date(2022, 11, 6), 7),
        ("Asia/Beirut", date(2022, 3, 27), 5),
    ],
)
@pytest.mark.parametrize("interval_s", [300, 1800, 3600])
def test_a_night_is_as_long_as_its_zone_makes_it(zone: str, day: date, hours: float, interval_s: int) -> None:
    assert open_hours({"weekly": daily("00:00-06:00")}, day, zone=zone, interval_s=interval_s) == [hours]


def test_intervals_are_open_in_part() -> None:
    grid = make_grid(date(2026, 1, 5), date(2026, 1, 5), LONDON, 1800)
    hours = parse_operating_hours({"weekly": {"monday": ["08:10-09:00", "17:00-17:20"]}})
    shares = open_share(hours, LONDON, grid)
    assert shares[15:19].tolist() == [0, pytest.approx(2 / 3), 1, 0]
    assert shares[33:36].tolist() == [0, pytest.approx(2 / 3), 0]
    assert open_ms(hours, LONDON, grid).sum() == 70 * 60_000


def test_a_span_over_midnight_ends_on_the_next_day() -> None:
    document = {"weekly": {"friday": ["20:00-02:00"]}}
    assert open_hours(document, date(2026, 1, 8), date(2026, 1, 11)) == [0, 4, 2, 0]
    # The evening before the first day asked for reaches into it.
    assert open_hours(document, date(2026, 1, 10)) == [2]


def test_a_night_shift_over_the_spring_change_is_an_hour_short() -> None:
    document = {"weekly": {"saturday": ["22:00-06:00"]}}
    assert open_hours(document, date(2019, 3, 30), SPRING) == [2, 5]
    assert open_hours(document, date(2019, 10, 26), AUTUMN) == [2, 7]


def test_closures_win_over_exceptions_those_over_holidays_those_over_the_week() -> None:
    document: dict[str, Any] = {
        "weekly": daily("08:00-18:00"),
        "holidays": {"country": "GB", "subdivision": "ENG", "spans": ["10:00-12:00"]},
        "exceptions": [
            {"day": "2026-12-25", "spans": ["09:00-10:00"]},
            {"day": "2026-12-24", "spans": ["08:00-11:00"], "name": "half day"},
            {"day": "2026-12-30", "spans": ["08:00-20:00"]},
        ],
        "closures": [{"first": "2026-12-29", "last": "2026-12-30", "name": "stocktaking"}],
    }
    # 24th exception, 25th exception on a holiday, 26th and 28th (in lieu) holidays, 29th and 30th closed.
    assert open_hours(document, date(2026, 12, 23), date(2026, 12, 31)) == [10, 3, 1, 2, 10, 2, 0, 0, 10]


def test_only_a_closure_cuts_off_what_began_the_evening_before() -> None:
    week = {"weekly": {"friday": ["20:00-02:00"]}}
    saturday = "2026-01-10"
    exception = {"exceptions": [{"day": saturday, "spans": ["12:00-13:00"]}]}
    assert open_hours(week | exception, date(2026, 1, 9), date(2026, 1, 10)) == [4, 3]
    closure = {"closures": [{"first": saturday, "last": saturday}]}
    assert open_hours(week | closure, date(2026, 1, 9), date(2026, 1, 10)) == [4, 0]


def test_own_days_are_holidays_too_and_public_ones_may_be_struck() -> None:
    document = {
        "weekly": daily("08:00-18:00"),
        "holidays": {"country": "DE", "also": ["2026-05-04"], "but_not": ["2026-05-01"]},
    }
    assert open_hours(document, date(2026, 5, 1), date(2026, 5, 4)) == [10, 10, 10, 0]


def test_hours_change_from_a_day_on() -> None:
    old, new = (parse_operating_hours({"weekly": daily(span)}) for span in ("20:00-04:00", "09:00-12:00"))
    grid = make_grid(date(2026, 1, 1), date(2026, 1, 4), LONDON, 3600)
    versions = [HoursFrom(date(2026, 1, 2), old), HoursFrom(date(2026, 1, 3), new)]
    inside = open_ms(versions, LONDON, grid).reshape(4, 24).sum(axis=1) / HOUR_MS
    assert inside.tolist() == [0, 4, 7, 3]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"weekly": {"montag": []}}, "weekly: montag"),
        (
            {"weekly": {"monday": ["8:00-18:00"]}},
            r"weekly: monday: 0: '8:00' is no time of the clock: write it as 08:30",
        ),
        ({"weekly": {"monday": ["08:00"]}}, "'08:00' is no span: write it as 08:00-18:00"),
        ({"weekly": {"monday": ["08:00-08:00"]}}, "has no length: write 00:00-24:00 for a whole day"),
        ({"weekly": {"monday": ["08:00-12:00", "11:00-13:00"]}}, "08:00-12:00 and 11:00-13:00 overlap"),
        ({"weekly": {"monday": ["08:00-25:00"]}}, "'25:00' is no time of the clock"),
        ({"holidays": {"country": "XX"}}, "holidays of 'XX' are not known"),
        ({"holidays": {"country": "GB", "subdivision": "ZZ"}}, "holidays of 'GB ZZ' are not known"),
        ({"holidays": {"subdivision": "SCT"}}, "needs its country"),
        ({"closures": [{"first": "2026-02-01", "last": "2026-01-01"}]}, "the last day 2026-01-01 is before the first"),
        ({"exceptions": [{"day": "2026-01-01", "spans": []}] * 2}, "exceptions: 2026-01-01 is there twice"),
        ({"opening": {}}, "opening: is not a key that belongs here"),
        ({"exceptions": [{"day": "2026-01-01"}]}, "exceptions: 0: spans: is missing"),
        ([], "operating hours: "),
    ],
)
def test_a_slip_in_the_hours_is_named_in_one_sentence(document: object, said: str) -> None:
    with pytest.raises(Invalid, match=said) as caught:
        parse_operating_hours(document)
    assert "\n" not in str(caught.value)


def test_hours_survive_their_way_through_json() -> None:
    document = {
        "weekly": {"monday": ["08:00-12:00"]},
        "holidays": {"country": "GB"},
        "closures": [{"first": "2026-01-01", "last": "2026-01-02"}],
    }
    hours = parse_operating_hours(document)
    assert parse_operating_hours(to_json(hours)) == hours


CLOCKS = [ZoneInfo(name) for name in ("Europe/London", "America/Los_Angeles", "Australia/Lord_Howe", "Asia/Kathmandu")]


@settings(max_examples=60)
@given(
    zone=st.sampled_from(CLOCKS),
    first=st.dates(date(2015, 1, 1), date(2030, 1, 1)),
    spans=st.lists(st.tuples(st.integers(0, 287), st.integers(1, 288)), min_size=1, max_size=3),
)
def test_each_minute_counts_when_the_clock_stands_in_a_span(
    zone: ZoneInfo, first: date, spans: list[tuple[int, int]]
) -> None:
    clean, last = [], 0
    for start, length in sorted(spans):
        if last <= start and start + length <= 288:
            clean.append((start * 5, (start + length) * 5))
            last = start + length
    texts = [f"{a // 60:02}:{a % 60:02}-{b // 60:02}:{b % 60:02}" for a, b in clean]
    grid = make_grid(first, first + timedelta(days=1), zone, 300)
    inside = open_ms(parse_operating_hours({"weekly": daily(*texts)}), zone, grid)
    for at, found in zip(grid.bounds_ms[:-1].tolist(), inside.tolist(), strict=True):
        clock = instant_of_ms(at).astimezone(zone)
        minute = clock.hour * 60 + clock.minute
        assert found == (300_000 if any(a <= minute < b for a, b in clean) else 0)


def test_a_day_of_a_change_has_two_stretches_of_the_clock() -> None:
    assert [len(clock_segments(day, LONDON)) for day in (SPRING, date(2019, 4, 1), AUTUMN)] == [2, 1, 2]
    change = clock_segments(SPRING, LONDON)[1].from_ms
    assert instant_of_ms(change) == datetime(2019, 3, 31, 1, tzinfo=UTC)
    assert len(clock_segments(SPRING, timezone(timedelta(hours=1)))) == 1
    assert clock_segments(date(2011, 12, 30), ZoneInfo("Pacific/Apia")) == ()


@given(amount=st.integers(-(2**62), 2**62), cuts=st.lists(st.integers(0, HOUR_MS), max_size=4))
def test_parts_of_an_amount_add_up_to_it(amount: int, cuts: list[int]) -> None:
    borders = np.array([0, *sorted(cuts), HOUR_MS], dtype=np.int64)
    ups = split_amounts(np.full(len(borders), amount), borders, np.full(len(borders), HOUR_MS))
    parts = np.diff(ups)
    assert parts.sum() == amount
    assert [amount * cut // HOUR_MS for cut in borders.tolist()] == ups.tolist()
