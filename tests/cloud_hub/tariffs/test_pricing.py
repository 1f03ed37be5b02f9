"""Bills: exact, rounded once per line, split at every change, traceable to their intervals."""

import ast
import dataclasses
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tariff_factories import KWH, LONDON, even, flat, micro, month_grid, period, standing, tariff, utc

import cloud_hub.tariffs.pricing
from cloud_hub.calendar.days import Grid, make_grid
from cloud_hub.errors import Invalid
from cloud_hub.tariffs.bill import Bill, Line
from cloud_hub.tariffs.demand import find_peaks
from cloud_hub.tariffs.pricing import cost_per_interval, price, split_costs
from cloud_hub.tariffs.steps import make_steps

D = Decimal
NIGHT = {"name": "night", "price_per_kwh": "0.10", "when": {"spans": ["23:00-06:00"]}}
DAY = {"name": "day", "price_per_kwh": "0.30"}


def time_of_use(*bands: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"kind": "time_of_use", "name": "Energy", "bands": bands or (NIGHT, DAY)} | changes


def blocks(*steps: tuple[str | None, str], **changes: Any) -> dict[str, Any]:
    rows = [{"price_per_kwh": price} | ({"up_to_kwh": limit} if limit else {}) for limit, price in steps]
    return {"kind": "blocks", "name": "Energy", "steps": rows} | changes


def demand(price: str = "2", **changes: Any) -> dict[str, Any]:
    return {"kind": "demand", "name": "Capacity", "price_per_kw": price} | changes


def tax(percent: str = "20", **changes: Any) -> dict[str, Any]:
    return {"kind": "tax", "name": "VAT", "percent": percent} | changes


def line(bill: Bill, name: str) -> Line:
    [found] = [each for each in bill.lines if each.name == name]
    return found


def one_day(day: date = date(2026, 1, 5), interval_s: int = 1800, zone: ZoneInfo = LONDON) -> Grid:
    return make_grid(day, day, zone, interval_s)


def test_a_flat_bill_by_hand() -> None:
    grid = month_grid(1)
    bill = price([period(flat("0.2845"), standing("0.61"), tax("5"))], LONDON, grid, even(grid, "0.25"))
    # 31 days of 48 half hours of 0.25 kWh are 372 kWh.
    assert [(each.quantity, each.exact, each.amount) for each in bill.lines] == [
        (D(372), D("105.834"), D("105.83")),
        (D(31), D("18.91"), D("18.91")),
        (D("124.74"), D("6.237"), D("6.24")),
    ]
    assert (bill.currency, bill.net, bill.tax, bill.total) == ("GBP", D("124.74"), D("6.24"), D("130.98"))
    assert (bill.completeness, bill.unpriced, bill.notes) == (1000, (), ())


def test_the_low_carbon_london_prices_cost_what_they_say() -> None:
    grid = one_day()
    steps = [
        (int(grid.bounds_ms[n]), int(grid.bounds_ms[n + 16]), D(p))
        for n, p in ((0, ".0399"), (16, ".1176"), (32, ".6720"))
    ]
    dynamic = {"kind": "series", "name": "Energy", "series": "lcl"}
    bill = price([period(dynamic)], LONDON, grid, even(grid, "0.5"), series={"lcl": make_steps(steps)})
    assert bill.lines[0].exact == 8 * (D("0.0399") + D("0.1176") + D("0.6720"))
    assert bill.lines[0].rate is None


def test_nothing_in_a_bill_is_a_float() -> None:
    grid = month_grid(3)
    bill = price(
        [period(time_of_use(), demand(), standing(), tax(), flat("0.05", flow="export", name="Export"))],
        LONDON,
        grid,
        even(grid, "0.333333333"),
        even(grid, "0.1"),
        completenesses=np.full(len(grid), 997, dtype=np.int16),
    )

    def parts(thing: object) -> list[object]:
        if dataclasses.is_dataclass(thing):
            return [part for field in dataclasses.fields(thing) for part in parts(getattr(thing, field.name))]
        if isinstance(thing, tuple):
            return [part for each in thing for part in parts(each)]
        return [thing]

    kinds = {type(part) for part in parts(bill)}
    assert D in kinds
    assert not {kind for kind in kinds if issubclass(kind, float | np.generic)}


def test_no_module_of_pricing_writes_a_float() -> None:
    folder = Path(cloud_hub.tariffs.pricing.__file__).parent
    for name in ("pricing", "lines", "strands", "cutting", "demand", "steps", "bands", "emissions", "document", "bill"):
        for node in ast.walk(ast.parse((folder / f"{name}.py").read_text())):
            assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), name
            assert not (isinstance(node, ast.Name) and node.id in {"float", "round"}), name


def test_amounts_that_are_floats_are_refused() -> None:
    grid = one_day()
    as_floats: Any = even(grid) / 1
    with pytest.raises(TypeError, match="not whole millionths"):
        price([period()], LONDON, grid, as_floats)


@pytest.mark.parametrize("given", [0.3, True, "NaN", "1e40", "0.1234567890123"])
def test_a_price_that_is_no_exact_decimal_is_refused(given: object) -> None:
    with pytest.raises(Invalid, match=r"^tariff: components: 0: flat: price_per_kwh: "):
        tariff({"kind": "flat", "name": "Energy", "price_per_kwh": given})


@pytest.mark.parametrize(("mode", "amount"), [("half_up", "0.13"), ("half_even", "0.12")])
def test_a_half_is_rounded_as_the_tariff_says(mode: str, amount: str) -> None:
    grid = one_day()
    amounts = np.zeros(48, dtype=np.int64)
    amounts[7] = KWH // 2
    bill = price([period(flat("0.25"), rounding={"mode": mode})], LONDON, grid, amounts)
    assert bill.lines[0].exact == D("0.125")
    assert bill.lines[0].amount == bill.total == D(amount)


@pytest.mark.parametrize(("on_rounded", "amount"), [(True, "0.03"), (False, "0.02")])
def test_tax_is_on_rounded_or_on_unrounded_lines(amount: str, *, on_rounded: bool) -> None:
    grid = one_day()
    amounts = np.zeros(48, dtype=np.int64)
    amounts[0] = KWH
    # Two lines of 0.065, rounded 0.07: a fifth of 0.14 is 0.028, of 0.13 it is 0.026; at 19 percent they part.
    bill = price(
        [
            period(
                flat("0.065"),
                {"kind": "levy", "name": "Levy", "price_per_kwh": "0.065"},
                tax("19", on_rounded=on_rounded),
            )
        ],
        LONDON,
        grid,
        amounts,
    )
    assert line(bill, "VAT").quantity == (D("0.14") if on_rounded else D("0.13"))
    assert line(bill, "VAT").amount == D(amount)
    assert line(bill, "VAT").lines == (0, 1)


def test_tax_leaves_out_what_is_exempt_and_credits() -> None:
    grid = one_day()
    parts = [flat("1"), standing("1"), flat("1", name="Export", flow="export")]
    bill = price([period(*parts, tax("10", exempt=["Standing"]))], LONDON, grid, even(grid), even(grid, "0.5"))
    assert line(bill, "VAT").quantity == 48
    assert bill.net == 48 + 1 - 24
    with_credits = price([period(*parts, tax("10", on_credits=True))], LONDON, grid, even(grid), even(grid, "0.5"))
    assert line(with_credits, "VAT").quantity == 25


def test_a_night_rate_by_the_local_clock_is_an_hour_short_in_spring_and_long_in_autumn() -> None:
    for day, hours in ((date(2019, 3, 31), 6), (date(2019, 6, 1), 7), (date(2019, 10, 27), 8)):
        bill = price([period(time_of_use())], LONDON, one_day(day), even(one_day(day)))
        assert line(bill, "Energy: night").quantity == hours * 2
        assert line(bill, "Energy: day").quantity == 34


def test_a_night_rate_by_a_fixed_clock_is_as_long_on_every_day() -> None:
    fixed = time_of_use(utc_offset_min=0)
    for day in (date(2019, 4, 1), date(2019, 6, 1), date(2019, 1, 1)):
        bill = price([period(fixed)], LONDON, one_day(day), even(one_day(day)))
        assert line(bill, "Energy: night").quantity == 14
    summer = price([period(fixed)], LONDON, one_day(date(2019, 6, 1)), even(one_day(date(2019, 6, 1))))
    # 23:00-06:00 UTC is 00:00-07:00 of the clock on the wall.
    assert line(summer, "Energy: night").intervals == tuple(range(14))


def test_each_line_names_the_intervals_it_comes_from() -> None:
    grid = month_grid(10)
    amounts = np.random.default_rng(4).integers(0, KWH, len(grid))
    bill = price([period(time_of_use(), demand(), standing(), tax())], LONDON, grid, amounts)
    for each in bill.lines:
        if each.unit == "kWh":
            assert each.quantity == D(int(amounts[list(each.intervals)].sum())) / KWH
        if each.rate is not None:
            assert each.exact == each.quantity * each.rate * each.share.numerator / each.share.denominator
    night, day = line(bill, "Energy: night").intervals, line(bill, "Energy: day").intervals
    assert sorted(night + day) == list(range(len(grid)))
    assert all(grid.slot[n] >= 23 * 60 or grid.slot[n] < 6 * 60 for n in night)
    assert line(bill, "Capacity").intervals == (int(np.argmax(amounts)),)


def test_bands_by_weekday_season_and_holiday() -> None:
    bands = (
        {"name": "holiday", "price_per_kwh": "1", "when": {"days": ["holiday"]}},
        {"name": "winter peak", "price_per_kwh": "4", "when": {"days": ["monday", "friday"], "spans": ["16:00-19:00"], "seasons": [{"first": "11-01", "last": "02-28"}]}},
        {"name": "may", "price_per_kwh": "3", "when": {"months": [5]}},
        {"name": "else", "price_per_kwh": "2"},
    )  # fmt: skip
    prices = [period(time_of_use(*bands), holidays={"country": "GB", "subdivision": "ENG"})]

    def names(day: date) -> dict[str, Decimal]:
        bill = price(prices, LONDON, one_day(day), even(one_day(day)))
        return {each.name.removeprefix("Energy: "): each.quantity for each in bill.lines}

    assert names(date(2026, 1, 5)) == {"winter peak": 6, "else": 42}  # a Monday
    assert names(date(2026, 1, 6)) == {"else": 48}
    assert names(date(2026, 12, 28)) == {"holiday": 48}  # a Monday in lieu of Boxing Day
    assert names(date(2026, 5, 5)) == {"may": 48}
    assert names(date(2026, 5, 4)) == {"holiday": 48}
    assert names(date(2026, 7, 6)) == {"else": 48}


def test_a_band_within_an_interval_takes_its_share() -> None:
    grid = one_day(interval_s=3600)
    bands = ({"name": "early", "price_per_kwh": "1", "when": {"spans": ["00:00-00:20"]}}, DAY)
    amounts = micro([100, *[0] * 23])
    bill = price([period(time_of_use(*bands))], LONDON, grid, amounts)
    assert line(bill, "Energy: early").quantity * KWH == 33
    assert line(bill, "Energy: day").quantity * KWH == 67


def test_a_change_of_price_splits_the_bill_at_its_instant() -> None:
    grid = month_grid(4)
    change = utc(2026, 4, 10, 12, 10)  # 13:10 on the wall, in the second half hour of the hour
    prices = [period(flat("0.30"), until=change, version_id=1), period(flat("0.40"), start=change, version_id=2)]
    bill = price(prices, LONDON, grid, even(grid, "0.3"))
    old, new = bill.lines
    assert (old.version_id, new.version_id) == (1, 2)
    assert old.to_ms == new.from_ms
    intervals_before = 9 * 48 + 26
    assert old.quantity == intervals_before * D("0.3") + D("0.1")
    assert old.quantity + new.quantity == 30 * 48 * D("0.3")
    assert old.intervals[-1] == new.intervals[0] == intervals_before


def test_standing_charges_count_local_days_in_full_and_in_part() -> None:
    grid = month_grid(3)
    bill = price([period(standing("0.61"))], LONDON, grid, even(grid))
    assert bill.lines[0].quantity == 31  # though the month lacks an hour
    change = utc(2026, 3, 10, 6)
    split = price([period(standing("1"), until=change), period(standing("2"), start=change)], LONDON, grid, even(grid))
    assert [each.quantity for each in split.lines] == [D("9.25"), D("21.75")]


def test_time_without_a_tariff_is_told_and_not_priced_as_nothing() -> None:
    grid = one_day()
    start = utc(2026, 1, 5, 6, 10)
    prices = [period(flat(), start=start)]
    bill = price(prices, LONDON, grid, even(grid))
    assert bill.unpriced == tuple(range(13))  # the thirteenth half hour lacks a price in part
    assert bill.notes == ("13 of 48 intervals have no price and are not in the total",)
    costs = cost_per_interval(prices, LONDON, grid, even(grid))
    assert costs[:14] == [None] * 13 + [D("0.3")]
    assert price([], LONDON, grid, even(grid)).currency is None


def test_a_hole_in_a_price_series_is_told() -> None:
    grid = one_day()
    holed = make_steps(
        [
            (int(grid.bounds_ms[0]), int(grid.bounds_ms[10]), D(1)),
            (int(grid.bounds_ms[12]), int(grid.bounds_ms[48]), D(-1)),
        ]
    )
    dynamic = {"kind": "series", "name": "Energy", "series": "market"}
    bill = price([period(dynamic)], LONDON, grid, even(grid), series={"market": holed})
    assert bill.unpriced == (10, 11)
    assert bill.total == 10 - 36
    with pytest.raises(Invalid, match="'Energy' needs the price series 'market', which is not there"):
        price([period(dynamic)], LONDON, grid, even(grid))


def test_blocks_fill_in_order_of_time_and_begin_anew_each_month() -> None:
    grid = make_grid(date(2026, 1, 1), date(2026, 2, 28), LONDON, 1800)
    prices = [period(blocks(("100", "0.1"), ("1000", "0.2"), (None, "0.3")))]
    bill = price(prices, LONDON, grid, even(grid))
    quantities = [(each.month.month, each.name, each.quantity) for each in bill.lines]
    assert quantities == [
        (1, "Energy: step 1", D(100)),
        (1, "Energy: step 2", D(900)),
        (1, "Energy: step 3", D(488)),
        (2, "Energy: step 1", D(100)),
        (2, "Energy: step 2", D(900)),
        (2, "Energy: step 3", D(344)),
    ]
    assert bill.lines[1].intervals == tuple(range(100, 1000))


@pytest.mark.parametrize(
    ("pro_rata", "limit"), [("month", D(100) * 7 / 28), ("year", D("23.013698630")), ("none", D(100))]
)
def test_blocks_of_a_part_of_a_month_shrink_as_the_tariff_says(pro_rata: str, limit: Decimal) -> None:
    week = make_grid(date(2026, 2, 1), date(2026, 2, 7), LONDON, 1800)
    prices = [period(blocks(("100", "0.1"), (None, "0.2"), pro_rata=pro_rata))]
    bill = price(prices, LONDON, week, even(week))
    assert line(bill, "Energy: step 1").quantity == limit
    assert line(bill, "Energy: step 2").quantity == 7 * 48 - limit


def test_blocks_that_are_not_pro_rata_go_on_through_a_change_of_price() -> None:
    grid = month_grid(2)
    change = utc(2026, 2, 2)
    old, new = (blocks(("60", one), (None, two), pro_rata="none") for one, two in (("1", "2"), ("3", "4")))
    bill = price([period(old, until=change), period(new, start=change)], LONDON, grid, even(grid))
    assert [each.quantity for each in bill.lines] == [48, 12, 28 * 48 - 60]


def test_a_demand_charge_bills_the_highest_interval_of_the_month() -> None:
    grid = month_grid(1)
    amounts = even(grid)
    amounts[777] = 5 * KWH
    bill = price([period(demand("2.5"))], LONDON, grid, amounts)
    assert (bill.lines[0].quantity, bill.lines[0].unit, bill.total) == (D(10), "kW", D(25))
    assert bill.lines[0].intervals == (777,)


@pytest.mark.parametrize("interval_s", [300, 900, 1800, 3600])
def test_power_is_energy_by_the_length_of_the_interval(interval_s: int) -> None:
    grid = one_day(interval_s=interval_s)
    bill = price([period(demand("1"))], LONDON, grid, even(grid, D(interval_s) / 1800 * 3))
    assert bill.lines[0].quantity == 6
    assert bill.lines[0].share == Fraction(1, 31)


def test_only_intervals_of_the_window_make_demand() -> None:
    grid = month_grid(1)
    amounts = even(grid)
    amounts[10] = 9 * KWH  # at five in the morning
    amounts[32] = 3 * KWH  # at four in the afternoon of 1 January, a holiday
    amounts[48 + 32] = 2 * KWH
    window = demand(when={"days": ["monday", "tuesday", "wednesday", "thursday", "friday"], "spans": ["16:00-19:00"]})
    bill = price([period(window, holidays={"country": "GB"})], LONDON, grid, amounts)
    assert bill.lines[0].intervals == (80,)
    assert bill.lines[0].quantity == 4


def test_a_ratchet_remembers_the_months_before() -> None:
    grid = make_grid(date(2026, 1, 1), date(2026, 3, 31), LONDON, 1800)
    amounts = even(grid)
    amounts[40 * 48] = 10 * KWH  # in February: 20 kW
    prices = [period(demand("1", ratchet_share="0.8"))]
    known = {"Capacity": {date(2025, 2, 1): D(100), date(2024, 12, 1): D(200)}}
    bill = price(prices, LONDON, grid, amounts, earlier_peaks=known)
    # Eleven months before January is February of the year before, which has gone by in February.
    assert [each.quantity for each in bill.lines] == [D(80), D(20), D(16)]
    assert [each.intervals for each in bill.lines] == [(), (40 * 48,), ()]
    without = price(prices, LONDON, grid, amounts)
    assert without.notes == ("Capacity: no peak of the months before 2026-01 is known for its ratchet",)
    peaks = find_peaks(prices[0].document, LONDON, grid, amounts)
    assert peaks == {"Capacity": {date(2026, 1, 1): D(2), date(2026, 2, 1): D(20), date(2026, 3, 1): D(2)}}


def test_a_minimum_fills_up_what_a_month_lacks() -> None:
    grid = month_grid(2)
    parts = [flat("0.01"), {"kind": "minimum", "name": "Minimum", "amount_per_month": "20"}, tax("10")]
    bill = price([period(*parts)], LONDON, grid, even(grid))
    assert line(bill, "Minimum").amount == 20 - D("13.44")
    assert bill.net == 20
    assert bill.total == 22
    assert line(bill, "Minimum").lines == (0,)
    enough = price([period(*parts)], LONDON, grid, even(grid, 10))
    assert [each.name for each in enough.lines] == ["Energy", "VAT"]
    week = make_grid(date(2026, 2, 1), date(2026, 2, 7), LONDON, 1800)
    assert price([period(*parts)], LONDON, week, even(week)).net == 5


def test_export_is_a_credit_beside_the_import() -> None:
    grid = one_day()
    prices = [period(flat("0.30"), flat("0.10", name="Export", flow="export"))]
    bill = price(prices, LONDON, grid, even(grid), even(grid, 2))
    assert [(each.quantity, each.rate, each.amount) for each in bill.lines] == [
        (D(48), D("0.30"), D("14.40")),
        (D(96), D("-0.10"), D("-9.60")),
    ]
    assert cost_per_interval(prices, LONDON, grid, even(grid), even(grid, 2)) == [D("0.1")] * 48
    assert [each.name for each in price(prices, LONDON, grid, even(grid)).lines] == ["Energy"]


def test_completeness_goes_through_and_never_rounds_up() -> None:
    grid = month_grid(1)
    known = np.full(len(grid), 1000, dtype=np.int16)
    known[0] = 999
    bill = price([period(time_of_use(), standing(), tax())], LONDON, grid, even(grid), completenesses=known)
    found = {each.name: each.completeness for each in bill.lines}
    assert found == {"Energy: night": 999, "Energy: day": 1000, "Standing": 1000, "VAT": 999}
    assert bill.completeness == 999


def test_a_change_of_currency_is_refused() -> None:
    change = utc(2026, 1, 5, 12)
    prices = [period(flat(), until=change), period(flat(), start=change, currency="EUR")]
    with pytest.raises(Invalid, match="currency changes within these days, between EUR and GBP"):
        price(prices, LONDON, one_day(), even(one_day()))
    assert price(prices, LONDON, one_day(date(2026, 1, 4)), even(one_day())).currency == "GBP"


def test_costs_inside_and_outside_a_part_of_each_interval_add_up() -> None:
    grid = one_day()
    amounts = np.random.default_rng(5).integers(0, KWH, len(grid))
    costs = cost_per_interval([period(time_of_use())], LONDON, grid, amounts)
    inside = np.array([0] * 16 + [600_000] + [1_800_000] * 20 + [0] * 11)
    opened, closed = split_costs(costs, inside, grid)
    known = [cost for cost in costs if cost is not None]
    assert opened + closed == sum(known)
    assert opened == known[16] / 3 + sum(known[17:37])


COMPONENTS: list[dict[str, Any]] = [
    flat("0.31415926"),
    flat("0.04", flow="export", name="Export"),
    {"kind": "levy", "name": "Levy", "price_per_kwh": "0.00775"},
    time_of_use(name="Time of use"),
    blocks(("40.5", "0.11"), ("90", "0.07"), (None, "0.03"), name="Blocks"),
    demand(),
    standing(),
    {"kind": "minimum", "name": "Minimum", "amount_per_month": "99"},
    tax(),
    tax("5", name="Other tax", on_rounded=False, on_credits=True),
]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    chosen=st.lists(st.sampled_from(range(len(COMPONENTS))), min_size=1, unique=True),
    change_h=st.integers(0, 59 * 24),
    zone=st.sampled_from(["Europe/London", "Asia/Kathmandu", "Australia/Lord_Howe"]).map(ZoneInfo),
)
def test_a_bill_is_the_sum_of_its_months_and_its_intervals(
    seed: int, chosen: list[int], change_h: int, zone: ZoneInfo
) -> None:
    first, middle, last = date(2026, 3, 1), date(2026, 4, 1), date(2026, 4, 30)
    whole = make_grid(first, last, zone, 1800)
    march, april = make_grid(first, middle - timedelta(days=1), zone, 1800), make_grid(middle, last, zone, 1800)
    rng = np.random.default_rng(seed)
    amounts, exports = rng.integers(0, 2 * KWH, len(whole)), rng.integers(0, KWH // 3, len(whole))
    components = [COMPONENTS[n] for n in chosen]
    change = utc(2026, 3, 1) + timedelta(hours=change_h, minutes=10)
    prices = [period(*components, until=change), period(*components, start=change)]
    bill = price(prices, zone, whole, amounts, exports)
    cut = len(march)
    months = [
        price(prices, zone, march, amounts[:cut], exports[:cut]),
        price(prices, zone, april, amounts[cut:], exports[cut:]),
    ]
    assert bill.total == sum(month.total for month in months)
    assert [each.exact for each in bill.lines] == [each.exact for month in months for each in month.lines]
    of_energy = sum((each.exact for each in bill.lines if each.unit == "kWh"), D())
    costs = cost_per_interval(prices, zone, whole, amounts, exports)
    assert sum((cost for cost in costs if cost is not None), D()) == of_energy
    assert bill.total == bill.net + bill.tax == sum(each.amount for each in bill.lines)


def test_a_band_over_midnight_belongs_to_the_day_it_begins_on() -> None:
    night = {"name": "friday night", "price_per_kwh": "1", "when": {"days": ["friday"], "spans": ["22:00-04:00"]}}
    prices = [period(time_of_use(night, DAY))]

    def found(day: date) -> list[tuple[int, ...]]:
        bill = price(prices, LONDON, one_day(day), even(one_day(day)))
        return [each.intervals for each in bill.lines if each.name == "Energy: friday night"]

    assert found(date(2026, 1, 8)) == []
    assert found(date(2026, 1, 9)) == [(44, 45, 46, 47)]
    assert found(date(2026, 1, 10)) == [tuple(range(8))]


def test_an_interval_within_which_the_price_changes_makes_demand_once() -> None:
    grid = month_grid(1)
    amounts = even(grid)
    amounts[20] = 5 * KWH
    change = utc(2026, 1, 1, 10, 10)
    bill = price([period(demand("1"), until=change), period(demand("1"), start=change)], LONDON, grid, amounts)
    assert [each.quantity for each in bill.lines] == [10, 2]
    assert [each.intervals for each in bill.lines] == [(20,), (21,)]


def test_a_minimum_is_of_charges_before_credits() -> None:
    grid = month_grid(2)
    least = {"kind": "minimum", "name": "Minimum", "amount_per_month": "20"}
    credit = flat("0.01", name="Export", flow="export")
    bill = price([period(flat("0.01"), credit, least)], LONDON, grid, even(grid), even(grid))
    assert line(bill, "Minimum").amount == D("6.56")
    assert bill.net == 20 - D("13.44")
