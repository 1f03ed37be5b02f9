"""Settlement periods against a public table, and local stamps around both clock changes."""

import csv
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_hub.calendar.periods import (
    Label,
    LocalClock,
    Period,
    UnknownPeriod,
    UnresolvedTime,
    count_periods,
    interval_start,
    parse_local,
    period_of,
    resolve_local,
    start_of_period,
)

DATA = Path(__file__).parents[2] / "data" / "gb_half_hourly_2019"
LONDON = ZoneInfo("Europe/London")
ZONES = ["Europe/London", "America/Los_Angeles", "Asia/Kathmandu", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]
HALF_HOUR = timedelta(minutes=30)


def read_rows(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(newline="") as file:
        return list(csv.DictReader(file))


def local(*texts: str) -> list[datetime]:
    return [datetime.fromisoformat(f"2019-10-27 {text}") for text in texts]


def test_the_public_table_of_periods_is_reproduced_exactly() -> None:
    rows = read_rows("period_to_utc.csv")
    assert len(rows) == 288
    for row in rows:
        day, number = date.fromisoformat(row["settlement_date"]), int(row["settlement_period"])
        instant = start_of_period(day, number, LONDON, 1800)
        assert instant.strftime("%Y-%m-%dT%H:%M:%SZ") == row["interval_start_utc"]
        assert instant.astimezone(LONDON).strftime("%Y-%m-%dT%H:%M:%S%z") == row["interval_start_local"]
        assert period_of(instant, LONDON, 1800) == Period(day, number)
    sizes = Counter(row["settlement_date"] for row in rows)
    assert sizes == {day: count_periods(date.fromisoformat(day), LONDON, 1800) for day in sizes}
    assert sorted(set(sizes.values())) == [46, 48, 50]


@pytest.mark.parametrize("name", ["spring_2019.csv", "autumn_2019.csv"])
def test_the_demand_of_both_clock_changes_lies_in_utc_without_a_gap(name: str) -> None:
    starts = []
    for row in read_rows(name):
        day = datetime.strptime(row["settlement_date"], "%d-%b-%Y").date()  # noqa: DTZ007 - a date has no zone
        starts.append(start_of_period(day, int(row["settlement_period"]), LONDON, 1800))
    assert {later - earlier for earlier, later in pairwise(starts)} == {HALF_HOUR}


@pytest.mark.parametrize(("day", "number"), [(date(2019, 3, 31), 47), (date(2019, 10, 27), 51), (date(2019, 6, 1), 0)])
def test_a_number_that_a_day_does_not_have_is_refused(day: date, number: int) -> None:
    periods = count_periods(day, LONDON, 1800)
    with pytest.raises(
        UnknownPeriod, match=f"{day} has {periods} periods of 1800 s in Europe/London, there is no {number}"
    ):
        start_of_period(day, number, LONDON, 1800)


@given(
    at=st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - the zone is beside it
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    interval_s=st.sampled_from([300, 900, 1800, 3600]),
)
def test_every_instant_lies_in_the_period_that_it_names(at: datetime, zone: ZoneInfo, interval_s: int) -> None:
    period = period_of(at, zone, interval_s)
    start = start_of_period(period.day, period.number, zone, interval_s)
    assert start <= at < start + timedelta(seconds=interval_s)
    assert period_of(start, zone, interval_s) == period


@pytest.mark.parametrize("name", ["Europe/London", "America/Los_Angeles", "Australia/Lord_Howe", "America/Havana"])
@pytest.mark.parametrize("newest_first", [False, True])
def test_rows_in_order_tell_summer_time_from_winter_time(name: str, *, newest_first: bool) -> None:
    zone = ZoneInfo(name)
    instants = [datetime(2025, 1, 1, tzinfo=UTC) + n * timedelta(minutes=15) for n in range(366 * 96)]
    if newest_first:
        instants.reverse()
    stamps = [instant.astimezone(zone).replace(tzinfo=None) for instant in instants]
    assert resolve_local(stamps, zone) == instants


@pytest.mark.parametrize("name", ["Europe/London", "America/Los_Angeles", "Australia/Lord_Howe"])
def test_stamps_of_ends_are_resolved_like_those_of_starts(name: str) -> None:
    zone = ZoneInfo(name)
    ends = [datetime(2025, 1, 1, tzinfo=UTC) + n * HALF_HOUR for n in range(366 * 48)]
    stamps = [end.astimezone(zone).replace(tzinfo=None) for end in ends]
    resolved = resolve_local(stamps, zone, Label.END)
    assert resolved == ends
    assert interval_start(resolved[0], Label.END, 1800) == ends[0] - HALF_HOUR
    assert interval_start(resolved[0], Label.START, 1800) == ends[0]


def test_an_end_may_be_written_by_the_clock_before_the_change() -> None:
    # This logger goes on to 02:00 before it turns its clock back to 01:00, and to 01:00 before it skips to 02:30.
    autumn = resolve_local(local("01:00", "01:30", "02:00", "01:30", "02:00", "02:30"), LONDON, Label.END)
    assert [f"{instant:%H:%M}" for instant in autumn] == ["00:00", "00:30", "01:00", "01:30", "02:00", "02:30"]
    spring = [datetime(2019, 3, 31, 0, 30), datetime(2019, 3, 31, 1), datetime(2019, 3, 31, 2, 30)]  # noqa: DTZ001 - local
    assert [f"{instant:%H:%M}" for instant in resolve_local(spring, LONDON, Label.END)] == ["00:30", "01:00", "01:30"]


def test_a_repeated_hour_that_comes_once_is_summer_time() -> None:
    assert [instant.hour for instant in resolve_local(local("00:30", "01:30", "02:30"), LONDON)] == [23, 0, 2]


def test_a_time_that_the_clock_jumped_over_is_refused_with_its_place() -> None:
    stamps = [datetime(2019, 3, 31, 0, 30), datetime(2019, 3, 31, 1, 30)]  # noqa: DTZ001 - local stamps are the subject
    with pytest.raises(UnresolvedTime, match=r"stamp 2: 2019-03-31 01:30:00 does not exist in Europe/London") as caught:
        resolve_local(stamps, LONDON)
    assert caught.value.place == 1
    with pytest.raises(UnresolvedTime, match="stamp 1") as caught:
        resolve_local([*stamps[::-1], datetime(2019, 3, 30)], LONDON)  # noqa: DTZ001 - see above
    assert caught.value.place == 0


def test_a_repeated_hour_out_of_order_is_refused() -> None:
    clock = LocalClock(LONDON)
    for stamp in local("01:00", "01:30", "01:00", "01:30"):
        clock.resolve(stamp)
    with pytest.raises(UnresolvedTime, match="sort the rows"):
        clock.resolve(local("01:00")[0])


def test_the_last_interval_of_a_day_may_end_at_24_hours() -> None:
    assert parse_local("2019-10-26 24:00") == datetime(2019, 10, 27)  # noqa: DTZ001 - local
    assert parse_local(" 2019-10-26T24:00:00") == parse_local("2019-10-27 00:00")


@pytest.mark.parametrize("text", ["", "yesterday", "2019-10-27 01:30Z", "2019-02-30 01:30", "9999-12-31 24:00"])
def test_what_is_no_local_time_is_refused(text: str) -> None:
    with pytest.raises(UnresolvedTime, match="is no local time: write it as"):
        parse_local(text)
