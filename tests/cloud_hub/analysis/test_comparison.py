from datetime import UTC, date, datetime, timedelta

import pytest
from ledger_rows import MISSING, NOW, WH, add_day, add_days, add_metered, add_plain_site
from sqlalchemy.orm import Session

from cloud_hub.analysis.comparison import Reference, judge, read_comparison, reference_starts
from cloud_hub.analysis.model import Figure
from cloud_hub.analysis.results import Comparison
from cloud_hub.analysis.scopes import find_site
from cloud_hub.errors import Invalid
from cloud_hub.registry.models import Controller, Point, Site

MONDAY = date(2026, 6, 1)


@pytest.fixture
def metered(session: Session) -> tuple[Site, Point]:
    site, controller = add_plain_site(session)
    return site, add_metered(session, controller, "main")[1]


def compare(
    session: Session, first: date, days: int, reference: Reference, *, now: datetime = NOW, threshold: int = 900
) -> Comparison:
    last = first + timedelta(days=days - 1)
    return read_comparison(session, find_site(session, "north"), first, last, reference, now=now, threshold=threshold)


@pytest.mark.parametrize(
    ("reference", "days", "starts"),
    [
        (Reference.PREVIOUS, 3, ["2026-05-29"]),
        (Reference.PREVIOUS, 30, ["2026-05-02"]),
        (Reference.PREVIOUS_ALIGNED, 3, ["2026-05-25"]),
        (Reference.PREVIOUS_ALIGNED, 30, ["2026-04-27"]),
        (Reference.SAME_WEEKDAYS, 1, ["2026-05-25", "2026-05-18", "2026-05-11", "2026-05-04"]),
        (Reference.SAME_WEEKDAYS, 8, ["2026-05-18", "2026-05-04", "2026-04-20", "2026-04-06"]),
    ],
)
def test_references_lie_where_they_should(reference: Reference, days: int, starts: list[str]) -> None:
    found = reference_starts(MONDAY, MONDAY + timedelta(days=days - 1), reference, 4)
    assert [start.isoformat() for start in found] == starts


def test_a_period_is_compared_with_the_one_before(session: Session, metered: tuple[Site, Point]) -> None:
    site, point = metered
    add_days(session, point, site, MONDAY - timedelta(days=2), 2, slot=10 * WH)
    add_days(session, point, site, MONDAY, 2, slot=12 * WH)
    found = compare(session, MONDAY, 2, Reference.PREVIOUS)
    assert (found.reference_micro, found.change_micro, found.change_per_mille) == (960 * WH, 192 * WH, 200)
    assert found.period.is_comparable
    assert found.references[0].last == MONDAY - timedelta(days=1)


def test_the_mean_of_the_same_weekdays_leaves_out_what_is_not_comparable(
    session: Session, metered: tuple[Site, Point]
) -> None:
    site, point = metered
    for week, amount in enumerate([12, 10, 20]):
        add_day(session, point, site, MONDAY - timedelta(days=7 * week), amount * WH)
    add_day(session, point, site, MONDAY - timedelta(days=21), [MISSING] * 24 + [WH] * 24)
    found = compare(session, MONDAY, 1, Reference.SAME_WEEKDAYS)
    assert [each.is_comparable for each in found.references] == [True, True, False, False]
    assert found.references[2].reason == "it is complete to 50 % only, 90 % are asked for"
    assert found.references[3].reason == "no reading was expected"
    assert found.reference_micro == 48 * 15 * WH
    assert found.change_per_mille == -200


def test_a_period_with_too_many_holes_is_not_compared(session: Session, metered: tuple[Site, Point]) -> None:
    site, point = metered
    add_day(session, point, site, MONDAY - timedelta(days=1), 10 * WH)
    add_day(session, point, site, MONDAY, [MISSING] * 12 + [10 * WH] * 36)
    found = compare(session, MONDAY, 1, Reference.PREVIOUS)
    assert not found.period.is_comparable
    assert (found.reference_micro, found.change_micro, found.change_per_mille) == (480 * WH, None, None)
    lenient = compare(session, MONDAY, 1, Reference.PREVIOUS, threshold=750)
    assert lenient.change_micro == -120 * WH


def test_another_number_of_meters_is_not_compared(session: Session, metered: tuple[Site, Point]) -> None:
    site, point = metered
    add_days(session, point, site, MONDAY - timedelta(days=1), 2, slot=10 * WH)
    _, other = add_metered(session, session.get_one(Controller, "north-1"), "second")
    add_day(session, other, site, MONDAY, 10 * WH)
    found = compare(session, MONDAY, 1, Reference.PREVIOUS)
    assert found.references[0].reason == "it has 1 meter, the period 2 meters"
    assert found.change_micro is None


def test_a_day_that_is_not_over_is_compared_up_to_the_same_hour(session: Session, metered: tuple[Site, Point]) -> None:
    site, point = metered
    noon = datetime(2026, 6, 1, 10, 20, tzinfo=UTC)  # 12:20 in Berlin
    add_day(session, point, site, MONDAY - timedelta(days=1), [10 * WH] * 24 + [1000 * WH] * 24)
    add_day(session, point, site, MONDAY, 11 * WH)
    found = compare(session, MONDAY, 1, Reference.PREVIOUS, now=noon)
    assert found.cut_at == "12:20"
    assert found.period.figure.amount_micro == 24 * 11 * WH
    assert found.references[0].figure.amount_micro == 24 * 10 * WH
    assert found.change_per_mille == 100


def test_a_reference_of_nothing_has_no_percentage(session: Session, metered: tuple[Site, Point]) -> None:
    site, point = metered
    add_day(session, point, site, MONDAY - timedelta(days=1), 0)
    add_day(session, point, site, MONDAY, WH)
    found = compare(session, MONDAY, 1, Reference.PREVIOUS)
    assert (found.change_micro, found.change_per_mille) == (48 * WH, None)


def test_a_future_period_is_not_compared(session: Session, metered: tuple[Site, Point]) -> None:
    site, point = metered
    add_day(session, point, site, MONDAY, WH)
    found = compare(session, NOW.date() + timedelta(days=3), 1, Reference.PREVIOUS)
    assert found.period.reason == "no reading was expected"
    assert found.change_micro is None


def test_a_range_that_ends_before_it_begins_is_refused(session: Session, metered: tuple[Site, Point]) -> None:
    assert metered
    with pytest.raises(Invalid, match="ends before it begins"):
        compare(session, MONDAY, 0, Reference.PREVIOUS)


def test_judging_needs_no_database() -> None:
    whole = Figure(measured_micro=1, expected_ms=10, complete_ms=10, meters=1)
    assert judge(whole, whole, 1000) == ""
    begun = Figure(measured_micro=1, expected_ms=5, complete_ms=5, meters=1)
    assert judge(whole, begun, 900) == "its meters began to count in the midst of it"
