"""Files of readings become series, exactly; a cell that cannot be taken is refused by line, column, reason and remedy."""

import re
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transfer_factories import plan_of

from cloud_hub.calendar.days import instant_of_ms
from cloud_hub.errors import Invalid
from cloud_hub.transfer.options import ValueColumn
from cloud_hub.transfer.plan import REJECTED_KEPT, PlannedSeries
from protocol.quality import Quality

BERLIN = ZoneInfo("Europe/Berlin")
ENERGY = "active_energy_import_total"
LONG = "meter,point,observed_at,value\n"


def stamps(series: PlannedSeries) -> list[str]:
    return [instant_of_ms(at).isoformat() for at in series.observed_at_ms.tolist()]


def rejected_text(content: str, **options: object) -> str:
    return "; ".join(str(one) for one in plan_of(content, **options).rejections.first)


def test_a_row_per_reading_and_a_column_per_point_mean_the_same() -> None:
    long = plan_of(LONG + "a,voltage_l1_n,2026-01-01T00:00:00Z,230.5\na,frequency,2026-01-01T01:00:00+01:00,50.01\n")
    wide = plan_of("meter,observed_at,voltage_l1_n,frequency\na,2026-01-01T00:00:00Z,230.5,50.01\n")
    for plan in (long, wide):
        assert {(one.meter, one.point): one.value.tolist() for one in plan.series} == {
            ("a", "voltage_l1_n"): [230.5],
            ("a", "frequency"): [50.01],
        }
        assert all(stamps(one) == ["2026-01-01T00:00:00+00:00"] for one in plan.series)


def test_rows_in_any_order_become_a_series_in_order_of_time() -> None:
    plan = plan_of(LONG + f"a,{ENERGY},2026-01-01T00:02:00Z,3\na,{ENERGY},2026-01-01T00:01:00Z,2\n")
    assert plan.series[0].value.tolist() == [2, 3]
    assert plan.series[0].line.tolist() == [3, 2]


@pytest.mark.parametrize(
    ("title", "given", "unit", "stored"),
    [
        (f"{ENERGY} [kWh]", "2677.988", "Wh", 2_677_988.0),
        (f"{ENERGY} [MWh]", "0.0000001", "Wh", 0.1),
        (f"{ENERGY} [kWh]", "1.1", "Wh", 1_100.0),
        (f"{ENERGY} [MJ]", "3.6", "Wh", 1_000.0),
        ("volume [L]", "1234.5", "m3", 1.2345),
        ("flow_rate [L/min]", "1", "m3/h", 0.06),
        ("temperature [°C]", "21.5", "degC", 21.5),
        ("volume", "7", None, 7.0),
    ],
)
def test_numbers_are_converted_exactly(title: str, given: str, unit: str | None, stored: float) -> None:
    series = plan_of(f"observed_at,{title}\n2026-01-01T00:00:00Z,{given}\n", meter="a").series[0]
    assert (series.unit, series.value.tolist()) == (unit, [stored])


@given(st.integers(0, 10**12), st.integers(0, 6))
def test_kilowatt_hours_of_any_register_are_whole_watt_hours_moved_by_three_digits(digits: int, places: int) -> None:
    number = f"{digits // 10**places}.{digits % 10**places:0{places}}" if places else str(digits)
    series = plan_of(f"observed_at,{ENERGY} [kWh]\n2026-01-01T00:00:00Z,{number}\n", meter="a").series[0]
    assert series.value[0] == digits * 1000 / 10**places


def test_columns_of_any_title_are_named_by_options() -> None:
    plan = plan_of(
        "Zaehler;Zeit;Stand\nHaus;01.02.2026 12:00;1234,5\n",
        titles={"meter": "Zaehler", "observed_at": "Zeit"},
        value_columns=(ValueColumn("Stand", ENERGY, "kWh"),),
        delimiter=";",
        decimal_comma=True,
        time_format="%d.%m.%Y %H:%M",
        time_zone=BERLIN,
    )
    assert not plan.rejections.total
    assert (plan.series[0].meter, plan.series[0].point, plan.series[0].value.tolist()) == ("Haus", ENERGY, [1_234_500])
    assert stamps(plan.series[0]) == ["2026-02-01T11:00:00+00:00"]


@pytest.mark.parametrize("is_newest_first", [False, True], ids=["oldest first", "newest first"])
def test_the_repeated_hour_is_told_by_the_order_of_rows(is_newest_first: bool) -> None:  # noqa: FBT001 - pytest gives it
    clocks = ["01:30", "02:00", "02:30", "02:00", "02:30", "03:00"]
    rows = [f"2026-10-25T{clock},{n}\n" for n, clock in enumerate(clocks)]
    content = "observed_at,volume\n" + "".join(rows[::-1] if is_newest_first else rows)
    series = plan_of(content, meter="a", time_zone=BERLIN).series[0]
    assert [stamp[11:16] for stamp in stamps(series)] == ["23:30", "00:00", "00:30", "01:00", "01:30", "02:00"]
    assert series.value.tolist() == [0, 1, 2, 3, 4, 5]


def test_an_hour_that_the_clock_jumps_over_is_refused() -> None:
    plan = plan_of("observed_at,volume\n2026-03-29T02:30,1\n2026-03-29T03:00,2\n", meter="a", time_zone=BERLIN)
    assert plan.series[0].value.tolist() == [2]
    assert "line 2, column 'observed_at'" in str(plan.rejections.first[0])
    assert "does not exist in Europe/Berlin" in str(plan.rejections.first[0])


def test_a_quality_without_value_is_a_reading_and_an_empty_cell_is_none() -> None:
    plan = plan_of(
        "meter,point,observed_at,value,quality\n"
        "a,frequency,2026-01-01T00:00:00Z,,timeout\n"
        "a,frequency,2026-01-01T00:00:01Z,50,out_of_range\n"
        "a,frequency,2026-01-01T00:00:02Z,,exception(2)\n"
        "a,frequency,2026-01-01T00:00:03Z,,\n"
    )
    series = plan.series[0]
    assert series.quality.tolist() == [Quality.TIMEOUT, Quality.OUT_OF_RANGE, 258]
    assert np.isnan(series.value).tolist() == [True, False, True]
    assert (plan.empty, plan.lines) == (1, 4)


def test_what_the_file_says_twice_counts_once_and_two_values_of_one_instant_are_refused() -> None:
    row = f"a,{ENERGY},2026-01-01T00:00:00Z"
    plan = plan_of(f"{LONG}{row},5\n{row},5\n{row},6\n")
    assert (plan.readings, plan.repeated) == (1, 1)
    assert str(plan.rejections.first[0]) == (
        "line 4, column 'value': '6.0' contradicts line 2: 5.0 at the same instant: delete the wrong one of the two lines"
    )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a,volume,2026-01-01T00:00:00Z,12x", "line 2, column 'value': '12x' is no number"),
        ("a,volume,2026-01-01T00:00:00Z,1e999999999", "'1e999999999' is no number"),
        ("a,volume,2026-01-01T00:00:00Z,nan", "'nan' is no number"),
        ("a,volume,2026-01-01T00:00:00Z,inf", "'inf' is no number"),
        ("a,volume,yesterday,1", "column 'observed_at': 'yesterday' is no instant: write it as 2026-01-31T12:00:00Z"),
        ("a,volume,2026-01-01T00:00:00,1", "has no offset from UTC: write it as …Z or …+01:00, or say --time-zone"),
        ("a,volume,0001-01-01T00:00:00+14:00,1", "lies outside 1970 to 2199"),
        ("a,volume,,1", "column 'observed_at': is empty"),
        (",volume,2026-01-01T00:00:00Z,1", "column 'meter': names no meter"),
        ("a,Volume!,2026-01-01T00:00:00Z,1", "column 'point': 'Volume!' is no point's name"),
        ("a,volume,2026-01-01T00:00:00Z", "line 2: has 3 cells where the first line has 4: correct it"),
        ('a,volume,2026-01-01T00:00:00Z,"1,5"', "or say --decimal-comma"),
    ],
)
def test_a_refused_line_names_row_column_reason_and_remedy(row: str, said: str) -> None:
    assert said in rejected_text(LONG + row + "\n")


def test_a_quality_that_contradicts_its_value_is_refused() -> None:
    content = "meter,point,observed_at,value,quality\na,volume,2026-01-01T00:00:00Z,5,timeout\n"
    assert "stands beside a quality that carries no value" in rejected_text(content)
    assert "'fine' is no quality" in rejected_text(content.replace("timeout", "fine"))


def test_many_refused_lines_are_counted_and_only_the_first_are_told() -> None:
    plan = plan_of(LONG + "a,volume,2026-01-01T00:00:00Z,x\n" * 1_000)
    assert (plan.rejections.total, len(plan.rejections.first)) == (1_000, REJECTED_KEPT)
    assert plan.rejections.by_reason == {"is no number": 1_000}


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        ("", {}, "the first line names the columns none"),
        ("meter,time,volume\n", {}, "say --column observed_at=TITLE"),
        ("observed_at,volume\n", {}, "or --meter with the one meter"),
        ("observed_at,point,volume\n", {"meter": "a"}, "needs both columns, 'point' and 'value'"),
        ("observed_at,Remarks\n", {"meter": "a"}, "say --point Remarks=POINT"),
        ("observed_at,volume,volume\n", {"meter": "a"}, "two columns hold the point 'volume'"),
        ("observed_at,observed_at,volume\n", {"meter": "a"}, "names the column 'observed_at' 2 times"),
        ("observed_at\n", {"meter": "a"}, "no column holds readings"),
        ("observed_at,x\n", {"meter": "a", "titles": {"meter": "y"}}, "no column is called 'y'"),
        ('observed_at,volume\n2026-01-01T00:00:00Z,"1\n', {"meter": "a"}, "is not CSV"),
    ],
)
def test_a_file_that_cannot_be_understood_is_refused_in_one_sentence(
    content: str, options: dict[str, object], said: str
) -> None:
    with pytest.raises(Invalid, match=re.escape(said)):
        plan_of(content, **options)
