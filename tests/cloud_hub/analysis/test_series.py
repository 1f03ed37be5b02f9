from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from ledger_rows import (
    ABSENT,
    MISSING,
    NOW,
    WH,
    add_day,
    add_days,
    add_metered,
    add_organisation,
    add_plain_site,
    add_register,
)
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session

from cloud_hub.analysis.limits import RangeTooLong
from cloud_hub.analysis.model import Figure, FigureQuality, Flow, Scope, Step
from cloud_hub.analysis.results import Series
from cloud_hub.analysis.scopes import (
    find_site,
)
from cloud_hub.analysis.service import read_series
from cloud_hub.energy.model import IntervalQuality
from cloud_hub.errors import Invalid
from cloud_hub.registry.models import MeterRole

DAY = date(2026, 6, 1)
QUALITY = IntervalQuality


def series(session: Session, scope: Scope, first: date = DAY, last: date = DAY, step: Step = Step.DAY) -> Series:
    return read_series(session, scope, first, last, step, now=NOW)


def total(session: Session, scope: Scope, first: date = DAY, last: date = DAY) -> Figure:
    return series(session, scope, first, last).totals[Flow.IMPORT]


@contextmanager
def counted_queries(engine: Engine) -> Iterator[list[str]]:
    queries: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        queries.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield queries
    event.remove(engine, "before_cursor_execute", note)


def test_a_site_is_what_its_grid_meter_counts(session: Session) -> None:
    site, controller = add_plain_site(session)
    main, main_point = add_metered(session, controller, "main", role=MeterRole.GRID)
    _, sub_point = add_metered(session, controller, "heater", parent=main)
    add_day(session, main_point, site, DAY, 10 * WH)
    add_day(session, sub_point, site, DAY, 4 * WH)
    answer = series(session, find_site(session, "north"))
    assert answer.totals[Flow.IMPORT].amount_micro == 48 * 10 * WH
    assert answer.totals[Flow.SUBS].amount_micro == 48 * 4 * WH
    assert answer.residual is not None
    assert answer.residual.amount_micro == 48 * 6 * WH
    assert answer.totals[Flow.IMPORT].quality is FigureQuality.MEASURED
    assert answer.totals[Flow.IMPORT].completeness == 1000


def test_the_residual_knows_of_generation_and_export(session: Session) -> None:
    site, controller = add_plain_site(session)
    main, imported = add_metered(session, controller, "main", role=MeterRole.GRID)
    exported = add_register(session, main, direction="export")
    _, generated = add_metered(session, controller, "roof", role=MeterRole.PV, direction="export")
    _, heater = add_metered(session, controller, "heater")
    for point, amount in ((imported, 5), (exported, 2), (generated, 9), (heater, 8)):
        add_day(session, point, site, DAY, amount * WH)
    answer = series(session, find_site(session, "north"))
    assert answer.residual is not None
    assert answer.residual.amount_micro == 48 * (5 - 2 + 9 - 8) * WH
    assert {flow: figure.amount_micro for flow, figure in answer.totals.items()} == {
        Flow.IMPORT: 48 * 5 * WH,
        Flow.EXPORT: 48 * 2 * WH,
        Flow.GENERATION: 48 * 9 * WH,
        Flow.PARENTS: 48 * 5 * WH,
        Flow.SUBS: 48 * 8 * WH,
    }


def test_a_residual_is_taken_only_where_all_is_known(session: Session) -> None:
    site, controller = add_plain_site(session)
    main, main_point = add_metered(session, controller, "main", role=MeterRole.GRID)
    _, sub_point = add_metered(session, controller, "heater", parent=main)
    add_day(session, main_point, site, DAY, 10 * WH)
    add_day(session, sub_point, site, DAY, [MISSING] * 12 + [4 * WH] * 36)
    rest = series(session, find_site(session, "north")).residual
    assert rest is not None
    assert rest.amount_micro == 36 * 6 * WH
    assert (rest.known_ms, rest.expected_ms) == (18 * 3_600_000, 24 * 3_600_000)


def test_every_part_of_a_figure_is_told_apart(session: Session) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "main")
    slots = [
        *[10 * WH] * 40,
        (7 * WH, QUALITY.ESTIMATED, 0),
        (5 * WH, QUALITY.EDITED, 0),
        (3 * WH, QUALITY.PARTIAL, 500),
        *[MISSING] * 5,
    ]
    add_day(session, point, site, DAY, slots)
    figure = total(session, find_site(session, "north"))
    assert figure == Figure(
        measured_micro=400 * WH,
        estimated_micro=7 * WH,
        edited_micro=5 * WH,
        partial_micro=3 * WH,
        expected_ms=24 * 3_600_000,
        complete_ms=40 * 1_800_000 + 900_000,
        estimated_ms=1_800_000,
        edited_ms=1_800_000,
        partial_ms=1_800_000,
        missing_ms=5 * 1_800_000,
        meters=1,
    )
    assert figure.amount_micro == 415 * WH
    assert figure.quality is FigureQuality.PARTIAL
    assert figure.completeness == 843


def test_missing_is_never_zero(session: Session) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "main")
    add_day(session, point, site, DAY, 10 * WH)
    add_day(session, point, site, DAY + timedelta(days=1), MISSING)
    answer = series(session, find_site(session, "north"), DAY, DAY + timedelta(days=2))
    amounts = [figure.amount_micro for figure in answer.flows[Flow.IMPORT]]
    assert amounts == [480 * WH, None, None]
    qualities = [figure.quality for figure in answer.flows[Flow.IMPORT]]
    assert qualities == [FigureQuality.MEASURED, FigureQuality.MISSING, FigureQuality.MISSING]
    assert answer.totals[Flow.IMPORT].completeness == 333


def test_nothing_is_expected_before_a_register_began_and_after_the_present(session: Session) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "main")
    add_day(session, point, site, NOW.date() - timedelta(days=1), [ABSENT] * 24 + [10 * WH] * 24)
    scope = find_site(session, "north")
    answer = series(session, scope, NOW.date() - timedelta(days=2), NOW.date() + timedelta(days=1))
    before, first, today, tomorrow = answer.flows[Flow.IMPORT]
    assert (before.quality, before.amount_micro, before.completeness) == (FigureQuality.NOT_EXPECTED, None, None)
    assert (first.amount_micro, first.completeness, first.quality) == (240 * WH, 1000, FigureQuality.MEASURED)
    # 00:00 UTC is 01:00 in Berlin: one hour of today is over, and nothing has come yet.
    assert (today.quality, today.missing_ms) == (FigureQuality.MISSING, 3_600_000)
    assert tomorrow.quality is FigureQuality.NOT_EXPECTED


def test_a_commissioned_meter_that_never_spoke_is_missing(session: Session) -> None:
    _, controller = add_plain_site(session)
    meter, _ = add_metered(session, controller, "main")
    meter.commissioned_at = datetime(2026, 6, 1, 10, tzinfo=UTC)
    session.flush()
    figure = total(session, find_site(session, "north"))
    assert (figure.amount_micro, figure.missing_ms) == (None, 12 * 3_600_000)


def test_a_meter_that_joins_counts_from_then_on(session: Session) -> None:
    site, controller = add_plain_site(session)
    for slug, first in (("one", DAY), ("two", DAY + timedelta(days=1))):
        _, point = add_metered(session, controller, slug)
        add_days(session, point, site, first, 2, slot=10 * WH)
    answer = series(session, find_site(session, "north"), DAY, DAY + timedelta(days=2))
    figures = answer.flows[Flow.IMPORT]
    assert [figure.meters for figure in figures] == [1, 2, 2]
    assert [figure.amount_micro for figure in figures] == [480 * WH, 960 * WH, 480 * WH]
    assert [figure.completeness for figure in figures] == [1000, 1000, 500]
    assert answer.totals[Flow.IMPORT].meters == 2


@pytest.mark.parametrize(
    ("zone", "day", "interval_s", "intervals"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 1800, 46),
        ("Europe/Berlin", date(2026, 10, 25), 1800, 50),
        ("Europe/Berlin", date(2026, 10, 25), 900, 100),
        ("Europe/Berlin", date(2026, 3, 29), 3600, 23),
        ("America/Los_Angeles", date(2026, 11, 1), 300, 300),
        ("Asia/Kathmandu", date(2026, 6, 1), 1800, 48),
        ("Australia/Lord_Howe", date(2026, 4, 5), 1800, 49),
        ("Australia/Lord_Howe", date(2026, 10, 4), 3600, 24),
    ],
)
def test_a_local_day_is_as_long_as_its_clock_says(
    session: Session, zone: str, day: date, interval_s: int, intervals: int
) -> None:
    organisation = add_organisation(session, "south", interval_s=interval_s)
    site, controller = add_plain_site(session, time_zone=zone, organisation=organisation)
    _, point = add_metered(session, controller, "main")
    for n in (-1, 0, 1):
        add_day(session, point, site, day + timedelta(days=n), 10 * WH, interval_s=interval_s)
    scope = find_site(session, "north")
    answer = series(session, scope, day, day)
    assert answer.totals[Flow.IMPORT].amount_micro == intervals * 10 * WH
    assert answer.totals[Flow.IMPORT].completeness == 1000
    single = series(session, scope, day, day, Step.INTERVAL)
    assert len(single.buckets) == intervals
    assert single.buckets[0].start == answer.buckets[0].start
    assert single.buckets[-1].end == answer.buckets[0].end
    assert sum(figure.amount_micro or 0 for figure in single.flows[Flow.IMPORT]) == intervals * 10 * WH


def test_weeks_months_and_years_are_those_of_the_local_calendar_cut_to_the_range(session: Session) -> None:
    site, controller = add_plain_site(session, time_zone="America/Los_Angeles")
    _, point = add_metered(session, controller, "main")
    first, days = date(2025, 12, 30), 40
    add_days(session, point, site, first, days, slot=WH)
    scope = find_site(session, "north")
    last = first + timedelta(days=days - 1)
    labels = {
        step: [(bucket.first_day.isoformat()[2:], bucket.last_day.isoformat()[2:]) for bucket in answer.buckets]
        for step in (Step.WEEK, Step.MONTH, Step.YEAR)
        if (answer := series(session, scope, first, last, step))
    }
    assert labels[Step.YEAR] == [("25-12-30", "25-12-31"), ("26-01-01", "26-02-07")]
    assert labels[Step.MONTH] == [("25-12-30", "25-12-31"), ("26-01-01", "26-01-31"), ("26-02-01", "26-02-07")]
    assert labels[Step.WEEK][:2] == [("25-12-30", "26-01-04"), ("26-01-05", "26-01-11")]
    months = series(session, scope, first, last, Step.MONTH)
    assert [figure.amount_micro for figure in months.flows[Flow.IMPORT]] == [96 * WH, 31 * 48 * WH, 7 * 48 * WH]
    assert months.buckets[1].start == datetime(2026, 1, 1, 8, tzinfo=UTC)


def test_a_range_is_neither_empty_nor_endless(session: Session) -> None:
    add_plain_site(session)
    scope = find_site(session, "north")
    with pytest.raises(Invalid, match="ends before it begins"):
        series(session, scope, DAY, DAY - timedelta(days=1))
    with pytest.raises(RangeTooLong, match="3,700 days"):
        series(session, scope, DAY - timedelta(days=3_700), DAY)


def test_a_ledger_of_another_interval_length_is_not_misread(session: Session) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "main")
    add_day(session, point, site, DAY, 10 * WH, interval_s=3600)
    assert total(session, find_site(session, "north")).quality is FigureQuality.MISSING


def test_a_year_of_a_site_with_twenty_meters_takes_few_queries(session: Session, engine: Engine) -> None:
    site, controller = add_plain_site(session)
    points = [add_metered(session, controller, f"meter-{n}")[1] for n in range(20)]
    first = date(2025, 7, 1)
    for point in points[:2]:  # the others have a few days: the statements do not depend on it
        add_days(session, point, site, first, 365, slot=WH)
    for point in points[2:]:
        add_days(session, point, site, first, 3, slot=WH)
    session.commit()
    with counted_queries(engine) as queries:
        answer = series(session, find_site(session, "north"), first, first + timedelta(days=364), Step.MONTH)
    assert answer.totals[Flow.IMPORT].amount_micro == (2 * 365 + 18 * 3) * 48 * WH
    assert answer.totals[Flow.IMPORT].meters == 20
    assert len(queries) <= 6
