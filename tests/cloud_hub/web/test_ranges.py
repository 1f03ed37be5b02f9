from datetime import UTC, date, datetime, timedelta
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cloud_hub.errors import Invalid
from cloud_hub.web.documents import parse_document
from cloud_hub.web.ranges import DayRange, InstantRange, read_day, read_instant

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Week(InstantRange):
    longest: ClassVar[timedelta] = timedelta(days=7)


@pytest.mark.parametrize("text", ["2026-01-31T12:00:00Z", "2026-01-31T14:00:00+02:00", "2026-01-31T12:00:00.000Z"])
def test_instants_are_answered_in_utc(text: str) -> None:
    instant = read_instant(text)
    assert instant == NOON
    assert instant.tzinfo is UTC


@pytest.mark.parametrize(
    "given", ["2026-01-31T12:00:00", "2026-01-31", "soon", "", "2026-01-31T12:00:00 02:00", 1_769_860_800, None]
)
def test_what_has_no_offset_is_no_instant(given: object) -> None:
    with pytest.raises(ValueError, match=r"offset from UTC: send one such as 2026-01-31T12:00:00Z .*%2B"):
        read_instant(given)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1969-12-31T23:59:59Z"])
def test_instants_beyond_what_the_hub_knows_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="lies outside the years 1970 to 2299"):
        read_instant(text)


@pytest.mark.parametrize(
    "given", ["March", "2026-02-30", "2026-01-31T12:00:00Z", "", 20260131, "1970-12-31", "2200-01-01"]
)
def test_a_day_is_one_of_a_calendar_that_a_ledger_reaches(given: object) -> None:
    with pytest.raises(ValueError, match=r"such as 2026-01-31|from 1971 to 2199"):
        read_day(given)


@given(st.datetimes(datetime(1970, 1, 2), datetime(2299, 12, 30)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001 - given its offset below
def test_an_instant_is_the_same_by_every_clock(moment: datetime, offset_min: int) -> None:
    instant = moment.replace(tzinfo=UTC)
    shown = (moment + timedelta(minutes=offset_min)).isoformat()
    sign = "-" if offset_min < 0 else "+"
    assert read_instant(f"{shown}{sign}{abs(offset_min) // 60:02}:{abs(offset_min) % 60:02}") == instant


def test_a_range_is_read_with_its_ends() -> None:
    week = parse_document(Week, {"from": "2026-01-31T12:00:00Z", "to": "2026-02-07T12:00:00Z"}, "parameters")
    assert week.end - week.start == Week.longest
    days = parse_document(DayRange, {"from": "2026-01-31", "to": "2026-02-01"}, "parameters")
    assert days.start == days.last == date(2026, 1, 31)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "from: is missing"),
        ({"from": "2026-01-31T12:00:00Z", "to": "2026-01-31T12:00:00Z"}, "to is not after from"),
        ({"from": "2026-01-31T12:00:00Z", "to": "2026-02-07T12:00:01Z"}, "the range is longer than 7 days"),
        (
            {"from": "2026-01-31T12:00:00Z", "to": "2026-02-01T12:00:00Z", "step": "1"},
            "step: is not a key that belongs here",
        ),
    ],
)
def test_what_is_no_range_is_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        parse_document(Week, given, "parameters")


def test_days_beyond_the_longest_range_are_refused() -> None:
    with pytest.raises(ValidationError, match="the range has more than 36,600 days"):
        DayRange.model_validate({"from": "1990-01-01", "to": "2190-01-01"})
