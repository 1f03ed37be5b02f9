"""A household's registers over the spring clock change, and one of them with deliberate faults."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from energy_factories import (
    HOUR_MS,
    UTC_ZONE,
    causes,
    kinds,
    load_counters,
    make_limits,
    make_register_series,
    micro,
    ms_of,
    total,
)

from cloud_hub.calendar.days import day_number, make_grid
from cloud_hub.energy.measuring import measure
from cloud_hub.energy.model import Cause, Exchange, Finding, FindingKind, IntervalQuality, Measured, Register
from cloud_hub.energy.restamping import Restamped, restamp

LIMITS = make_limits(HOUR_MS)
FAULT_DAYS = make_grid(date(2016, 3, 20), date(2016, 4, 2), UTC_ZONE, 3600)
KNOWN_TOTAL = micro("116.966")
EXCHANGE = Exchange(ms_of("2016-03-28T11:00:00Z"), Decimal("2769.880"), Decimal("15.300"))
STUCK = (ms_of("2016-03-23T02:00:00Z"), ms_of("2016-03-23T11:00:00Z"))

ROLLOVER_AT = {"B_rollover": Decimal(1000)}


def measure_channel(channel: str) -> tuple[Measured, dict[int, int]]:
    """Measure a channel of the real data; also return its sum of each local day."""
    rows = [row for row in load_counters("spring_2016") if row[f"{channel}_kwh"]]
    series = make_register_series((ms_of(row["utc_time"]), float(row[f"{channel}_kwh"])) for row in rows)
    grid = make_grid(date(2016, 3, 16), date(2016, 5, 15), ZoneInfo("Europe/Berlin"), 3600)
    measured = measure(series, [Register()], [], grid, limits=LIMITS)
    days: dict[int, int] = defaultdict(int)
    for day, amount in zip(grid.day.tolist(), measured.intervals.amounts_micro.tolist(), strict=True):
        days[day] += amount
    return measured, days


def restamp_meter(meter: str) -> tuple[Restamped, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    rows = [row for row in load_counters("fault_injected") if row["meter"] == meter]
    observed, received = ([ms_of(row[column]) for row in rows] for column in ("sample_utc", "received_utc"))
    values = np.array([float(row["register_kwh"]) for row in rows])
    columns = (np.array(observed, dtype=np.int64), np.array(received, dtype=np.int64), values)
    return restamp(*columns, interval_ms=HOUR_MS, tolerance_ms=30_000), values


def measure_meter(meter: str, exchanges: Sequence[Exchange] = ()) -> tuple[Measured, list[Finding]]:
    """Measure one of the faulty meters; also return all that was found, with what setting right its clock found."""
    restamped, values = restamp_meter(meter)
    series = make_register_series(zip(restamped.observed_ms.tolist(), values.tolist(), strict=True))
    register = Register(rollover=ROLLOVER_AT.get(meter, Decimal(100_000)))
    measured = measure(series, [register], exchanges, FAULT_DAYS, limits=LIMITS)
    return measured, [*restamped.findings, *measured.findings]


@pytest.mark.parametrize("channel", ["grid_import", "grid_export", "pv"])
def test_every_complete_local_day_has_the_difference_of_its_midnights(channel: str) -> None:
    _, days = measure_channel(channel)
    complete = [row for row in load_counters("expected_daily") if row["complete"] == "1"]
    expected = {day_number(date.fromisoformat(row["local_date"])): micro(row[f"{channel}_kwh"]) for row in complete}
    assert len(expected) > 50
    assert {day: days[day] for day in expected} == expected


def test_the_day_of_23_hours_is_one_of_them() -> None:
    _, days = measure_channel("grid_import")
    assert days[day_number(date(2016, 3, 27))] == micro("11.005")


@pytest.mark.parametrize("hole", load_counters("gaps"), ids=lambda row: row["channel"])
def test_every_hole_keeps_its_catch_up_and_says_so(hole: dict[str, str]) -> None:
    measured, _ = measure_channel(hole["channel"])
    (gap,) = measured.gaps
    assert (gap.from_ms, gap.to_ms) == (ms_of(hole["last_good_utc"]), ms_of(hole["first_good_utc"]))
    assert gap.amount_micro == micro(hole["catch_up_kwh"])
    inside = measured.intervals.causes == Cause.GAP
    assert int(measured.intervals.amounts_micro[inside].sum()) == gap.amount_micro
    assert set(measured.intervals.qualities[inside].tolist()) == {IntervalQuality.ESTIMATED}
    assert int(inside.sum()) == int(hole["missing_hours"]) + 1
    assert kinds(measured.findings) == [FindingKind.GAP]


@pytest.mark.parametrize(
    ("meter", "exchanges"),
    [("A_clean", []), ("B_rollover", []), ("C_reset", []), ("D_exchange", [EXCHANGE]), ("E_dirty", [])],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_faulty_meter_gives_the_known_total(meter: str, exchanges: list[Exchange]) -> None:
    measured, _ = measure_meter(meter, exchanges)
    assert total(measured) == KNOWN_TOTAL


def test_without_its_record_an_exchange_leaves_out_what_nobody_knows_and_says_so() -> None:
    measured, findings = measure_meter("D_exchange")
    assert total(measured) == KNOWN_TOTAL - micro("0.670")
    unknown = [n for n, quality in enumerate(measured.intervals.qualities) if quality == IntervalQuality.MISSING]
    assert [int(FAULT_DAYS.bounds_ms[n]) for n in unknown] == [
        ms_of(f"2016-03-28T{hour:02}:00:00Z") for hour in (8, 9, 10, 11)
    ]
    assert all(Cause.RESET in causes(measured)[n] for n in unknown)
    assert FindingKind.RESET in kinds(findings)


@pytest.mark.parametrize("meter", ["A_clean", "B_rollover", "C_reset", "D_exchange", "E_dirty"])
def test_each_hour_is_the_truth_or_an_estimate_that_says_so(meter: str) -> None:
    """The frozen register is left to validation: its zeros and the catch-up are what the register says."""
    measured, _ = measure_meter(meter, [EXCHANGE] if meter == "D_exchange" else [])
    truth = [micro(row["true_kwh"]) for row in load_counters("fault_truth_hourly")]
    frozen = (FAULT_DAYS.bounds_ms[:-1] >= STUCK[0]) & (FAULT_DAYS.bounds_ms[:-1] < STUCK[1])
    untold = (measured.intervals.amounts_micro != truth) & (measured.intervals.qualities == IntervalQuality.MEASURED)
    assert not (untold & ~frozen).any()
    assert bool(untold.any()) == (meter == "E_dirty")


def test_a_frozen_register_catches_up_in_one_hour() -> None:
    measured, _ = measure_meter("E_dirty")
    frozen = (FAULT_DAYS.bounds_ms[:-1] >= STUCK[0]) & (FAULT_DAYS.bounds_ms[:-1] < STUCK[1])
    assert measured.intervals.amounts_micro[frozen].tolist() == [0] * 8 + [micro("4.152")]


@pytest.mark.parametrize(
    "event",
    [event for event in load_counters("fault_events") if event["event"] != FindingKind.STUCK],
    ids=lambda event: f"{event['meter']}-{event['event']}",
)
def test_every_event_is_found_under_its_name(event: dict[str, str]) -> None:
    exchanges = [EXCHANGE] if event["event"] == FindingKind.EXCHANGE else []
    _, findings = measure_meter(event["meter"], exchanges)
    at_ms = ms_of(event["utc"])
    spans = [(finding.from_ms, finding.to_ms) for finding in findings if finding.kind == event["event"]]
    assert len(spans) == 1
    assert spans[0][0] <= at_ms <= spans[0][1]


def test_the_unbroken_meter_has_no_findings() -> None:
    measured, findings = measure_meter("A_clean")
    assert findings == []
    assert not measured.intervals.causes.any()


def test_a_clock_an_hour_fast_is_set_right_as_a_block() -> None:
    restamped, _ = restamp_meter("E_dirty")
    assert int(restamped.shifted.sum()) == 24
    assert int(restamped.repeated.sum()) == 2
    assert len(set(restamped.observed_ms[~restamped.repeated].tolist())) == int((~restamped.repeated).sum())
