"""A real household's register with every fault that was put into it, from readings to the ledger."""

import csv
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from estimation_factories import BERLIN, UTC_ZONE, make_days, make_series

from cloud_hub.calendar.days import make_grid, ms_of_instant
from cloud_hub.energy.compute import Context, compute
from cloud_hub.energy.model import Computed, Direction, Exchange, FindingKind, IntervalQuality, Method, Register
from cloud_hub.energy.rules import load_ruleset
from cloud_hub.readings.series import Series

_DATA = Path(__file__).parents[2] / "data" / "opsd_household_counters"
_GRID = make_days(date(2016, 3, 20), 14)
_TOTAL_WH = 116_966
_EXCHANGE = Exchange(
    ms_of_instant(datetime.fromisoformat("2016-03-28T11:00:00Z")), Decimal("2769.880"), Decimal("15.300")
)
_DIGITS = {"B_rollover": Decimal(1000), "C_reset": Decimal(100_000)}


def _rows(name: str) -> list[dict[str, str]]:
    with (_DATA / name).open(newline="") as file:
        return list(csv.DictReader(file))


def _ms(text: str) -> int:
    return ms_of_instant(datetime.fromisoformat(text))


def _series(meter: str) -> Series:
    """Take a meter's readings; none was observed after it was received, so the day of the fast clock is set right."""
    rows = [row for row in _rows("fault_injected.csv") if row["meter"] == meter]
    readings = {(min(_ms(row["sample_utc"]), _ms(row["received_utc"])), float(row["register_kwh"])) for row in rows}
    return make_series(*zip(*sorted(readings), strict=True))


def _compute(meter: str, *exchanges: Exchange) -> Computed:
    register = Register(scale=Decimal(1000), rollover=_DIGITS.get(meter))  # kWh are read, Wh are kept
    context = Context(zone=UTC_ZONE, interval_s=3600, ruleset=load_ruleset("electricity_meter", "active_energy"))
    return compute(_series(meter), [register], exchanges, _GRID, context)


def _truth_micro() -> list[int]:
    return [round(Decimal(row["true_kwh"]) * 10**9) for row in _rows("fault_truth_hourly.csv")]


def _kinds(computed: Computed) -> set[FindingKind]:
    """Return what was found beside the one hour that really stands out of its day."""
    return {one.kind for one in computed.findings} - {FindingKind.VALIDATION_SPIKE}


@pytest.mark.parametrize(
    ("meter", "exchanges", "found"),
    [
        pytest.param("A_clean", [], set(), id="A_clean"),
        pytest.param("B_rollover", [], {FindingKind.ROLLOVER}, id="B_rollover"),
        pytest.param("C_reset", [], {FindingKind.RESET}, id="C_reset"),
        pytest.param("D_exchange", [_EXCHANGE], {FindingKind.EXCHANGE, FindingKind.GAP}, id="D_exchange"),
        pytest.param(
            "E_dirty",
            [],
            {FindingKind.ZERO_READ, FindingKind.SPIKE, FindingKind.STUCK, FindingKind.GAP},
            id="E_dirty, its clock set right",
        ),
    ],
)
def test_hours_are_true_or_flagged_and_the_total_is_exact(
    meter: str, exchanges: list[Exchange], found: set[FindingKind]
) -> None:
    computed = _compute(meter, *exchanges)
    assert int(computed.final.amounts_micro.sum()) == _TOTAL_WH * 10**6
    differs = computed.final.amounts_micro != np.array(_truth_micro())
    assert set(computed.final.qualities[differs].tolist()) <= {IntervalQuality.ESTIMATED}
    assert _kinds(computed) == found


def test_without_the_exchange_record_what_is_not_known_is_missing() -> None:
    computed = _compute("D_exchange")
    assert int(computed.final.amounts_micro.sum()) == (_TOTAL_WH - 670) * 10**6
    assert FindingKind.RESET in _kinds(computed)


def test_frozen_register_is_found_where_it_was_frozen_and_spread_over_those_hours() -> None:
    computed = _compute("E_dirty")
    (stuck,) = [one for one in computed.findings if one.kind is FindingKind.STUCK]
    assert (stuck.from_ms, stuck.to_ms) == (_ms("2016-03-23T02:00:00Z"), _ms("2016-03-23T11:00:00Z"))
    rows = slice(*np.searchsorted(_GRID.bounds_ms, [stuck.from_ms, stuck.to_ms]).tolist())
    assert set(computed.final.qualities[rows].tolist()) == {IntervalQuality.ESTIMATED}
    assert int(computed.final.amounts_micro[rows].sum()) == 4_152 * 10**6
    assert int(computed.final.amounts_micro[rows].min()) > 0
    assert computed.registered.amounts_micro[rows].tolist() == [0] * 8 + [4_152 * 10**6]


_CHANNELS = [
    pytest.param("grid_import", Direction.IMPORT, 5, id="grid_import"),
    pytest.param("grid_export", Direction.EXPORT, 1, id="grid_export"),
    pytest.param("pv", Direction.EXPORT, 1, id="pv"),
    pytest.param("heat_pump", Direction.IMPORT, 5, id="heat_pump"),
    pytest.param("refrigerator", Direction.IMPORT, 1, id="refrigerator"),
    pytest.param("freezer", Direction.IMPORT, 1, id="freezer"),
    pytest.param("ev", Direction.IMPORT, 6, id="ev"),
    pytest.param("dishwasher", Direction.IMPORT, 6, id="dishwasher"),
    pytest.param("washing_machine", Direction.IMPORT, 9, id="washing_machine"),
]


@pytest.mark.parametrize(("channel", "direction", "findings_max"), _CHANNELS)
def test_sixty_days_of_real_life_raise_few_questions(channel: str, direction: Direction, findings_max: int) -> None:
    """One of them is the gap that is really there; none is a frozen register, for none was."""
    computed = _spring(channel, direction)
    assert len(computed.findings) <= findings_max
    assert FindingKind.STUCK not in _kinds(computed)
    assert FindingKind.GAP in _kinds(computed)


@pytest.mark.parametrize("channel", ["grid_import", "heat_pump", "refrigerator", "ev", "washing_machine"])
def test_real_gap_has_the_shape_of_real_days_and_the_energy_of_the_register(channel: str) -> None:
    computed = _spring(channel, Direction.IMPORT)
    (gap,) = [one for one in computed.findings if one.kind is FindingKind.GAP]
    grid = make_grid(date(2016, 3, 16), date(2016, 5, 14), BERLIN, 3600)
    rows = slice(*np.searchsorted(grid.bounds_ms, [gap.from_ms, gap.to_ms]).tolist())
    expected = [row for row in _rows("gaps.csv") if row["file"] == "spring_2016" and row["channel"] == channel]
    assert int(computed.final.amounts_micro[rows].sum()) == round(Decimal(expected[0]["catch_up_kwh"]) * 10**9)
    assert set(computed.methods[rows].tolist()) == {Method.REFERENCE_DAYS}


def _spring(channel: str, direction: Direction) -> Computed:
    readings: list[Any] = [
        (_ms(row["utc_time"]), float(row[f"{channel}_kwh"]))
        for row in _rows("spring_2016.csv")
        if row[f"{channel}_kwh"]
    ]
    context = Context(zone=BERLIN, interval_s=3600, ruleset=load_ruleset("electricity_meter", "active_energy"))
    grid = make_grid(date(2016, 3, 16), date(2016, 5, 14), BERLIN, 3600)
    register = Register(scale=Decimal(1000), direction=direction)
    return compute(make_series(*zip(*readings, strict=True)), [register], [], grid, context)


def test_night_of_the_gap_in_solar_production_stays_dark() -> None:
    computed = _spring("pv", Direction.EXPORT)
    grid = make_grid(date(2016, 3, 16), date(2016, 5, 14), BERLIN, 3600)
    midnight = int(np.searchsorted(grid.bounds_ms, _ms("2016-04-23T22:00:00Z")))
    estimated = computed.methods[midnight : midnight + 4] == Method.REFERENCE_DAYS
    assert estimated.all()
    assert not computed.final.amounts_micro[midnight : midnight + 4].any()
