from datetime import date

import pytest

from cloud_hub.dashboard.energy_period import Period, parse_period
from cloud_hub.errors import Invalid

TODAY = date(2026, 3, 15)


def test_a_page_shows_the_present_month_unless_it_is_asked_for_another() -> None:
    assert parse_period({}, TODAY) == Period(date(2026, 3, 1), date(2026, 3, 31))
    assert parse_period({"month": "2024-02"}, TODAY) == Period(date(2024, 2, 1), date(2024, 2, 29))


def test_the_months_beside_a_month_are_whole_months() -> None:
    march = parse_period({"month": "2026-03"}, TODAY)
    assert march.previous().query == {"month": "2026-02"}
    assert march.next().query == {"month": "2026-04"}
    assert march.previous().next() == march


def test_the_days_beside_any_days_are_as_many() -> None:
    week = parse_period({"first": "2026-02-26", "last": "2026-03-04"}, TODAY)
    assert week.days == 7
    assert week.previous() == Period(date(2026, 2, 19), date(2026, 2, 25))
    assert week.next() == Period(date(2026, 3, 5), date(2026, 3, 11))
    assert parse_period(week.query, TODAY) == week


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param({"month": "2026-13"}, "The month is '2026-13': write it like 2026-11.", id="month"),
        pytest.param({"month": "2026-1-1"}, "The month is '2026-1-1'", id="no-month"),
        pytest.param({"first": "2026-01-01"}, "both", id="half-a-range"),
        pytest.param({"first": "yesterday", "last": "2026-01-01"}, "The first day is 'yesterday'", id="no-day"),
        pytest.param({"first": "2026-01-02", "last": "2026-01-01"}, "before the first", id="backwards"),
        pytest.param({"first": "2000-01-01", "last": "2026-01-01"}, "choose 3,660 at most", id="too-long"),
        pytest.param({"first": "0001-01-01", "last": "0001-01-02"}, "write it like", id="before-all-time"),
    ],
)
def test_a_period_that_cannot_be_shown_is_refused_in_one_sentence(arguments: dict[str, str], sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence):
        parse_period(arguments, TODAY)
