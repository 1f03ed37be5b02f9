"""The checks: each finds what it is for, names it, and lets alone what only looks like it."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from estimation_factories import (
    HOUR_MS,
    MONDAY,
    make_context,
    make_days,
    make_intervals,
    make_measured,
    make_reference_days,
    number,
    rhythm,
)

from cloud_hub.calendar.days import Grid
from cloud_hub.energy.compute import settle
from cloud_hub.energy.model import (
    MICRO,
    Cause,
    Computed,
    Direction,
    Finding,
    FindingKind,
    IntervalQuality,
    Intervals,
    Method,
    Register,
)
from cloud_hub.energy.rules import Override

_WH = MICRO
_TODAY = date(2026, 3, 5)
_FIRST = _TODAY - timedelta(days=3)
"""The day under test is the fourth of six."""


def _grid() -> Grid:
    return make_days(_FIRST, 6)


def _at(hour: int) -> int:
    """Return the place of an hour of the day under test."""
    return 72 + hour


def _load(*, base_wh: int = 400, changed: Mapping[int, int] | None = None) -> Intervals:
    """Make six days of a base load that never quite rests, with some amounts in Wh put in by hour."""
    amounts = np.array([(base_wh + 10 * (hour % 7)) * _WH for hour in range(144)], np.int64)
    for hour, amount in (changed or {}).items():
        amounts[_at(hour)] = amount * _WH
    return make_intervals(amounts)


def _check(intervals: Intervals, register: Register | None = None, **context: Any) -> Computed:
    context.setdefault("off", ())
    return settle(
        make_measured(intervals),
        [register or Register()],
        _grid(),
        make_context(**context),
        silent_since_ms=int(_grid().bounds_ms[-1]),
    )


def _found(computed: Computed, kind: FindingKind) -> list[Finding]:
    return [one for one in computed.findings if one.kind is kind]


def _marked(computed: Computed, cause: Cause) -> list[int]:
    """Return the hours, counted from midnight of the day under test, that have a cause."""
    return [int(row) - 72 for row in np.flatnonzero(computed.final.causes & int(cause))]


def _frozen(hours: range, caught_up_wh: Sequence[int]) -> dict[int, int]:
    return dict.fromkeys(hours, 0) | {hours.stop + n: amount for n, amount in enumerate(caught_up_wh)}


def test_ordinary_load_is_left_alone() -> None:
    computed = _check(_load())
    assert computed.findings == ()
    assert not computed.final.causes.any()
    assert computed.final.amounts_micro.tolist() == computed.registered.amounts_micro.tolist()


def test_frozen_register_is_spread_anew_over_the_time_it_stood_still() -> None:
    no_references = Override("*", "estimation", {"references_min": 9, "references_max": 9})
    computed = _check(_load(changed=_frozen(range(2, 11), [4_152])), overrides=[no_references])
    assert _marked(computed, Cause.STUCK) == list(range(2, 12))
    stuck = slice(_at(2), _at(12))
    assert set(computed.final.qualities[stuck].tolist()) == {IntervalQuality.ESTIMATED}
    assert computed.final.amounts_micro[stuck].tolist() == [415_200_000] * 10
    assert not computed.final.completenesses[stuck].any()
    assert computed.registered.amounts_micro[_at(2) : _at(11)].tolist() == [0] * 9
    (finding,) = _found(computed, FindingKind.STUCK)
    assert (finding.from_ms, finding.to_ms) == tuple(_grid().bounds_ms[[_at(2), _at(12)]])
    assert finding.detail == {"amount_micro": 4_152 * _WH, "spread_anew": 1}


def test_frozen_register_read_between_the_borders_catches_up_in_two_intervals() -> None:
    computed = _check(_load(changed=_frozen(range(2, 11), [2_500, 2_100])))
    assert _marked(computed, Cause.STUCK) == list(range(2, 13))
    assert int(computed.final.amounts_micro[_at(2) : _at(13)].sum()) == 4_600 * _WH


def test_frozen_register_takes_the_shape_of_reference_days() -> None:
    asked = []
    reference = make_reference_days(_TODAY)

    def look_up(first: int, last: int) -> Any:
        asked.append((first, last))
        return reference

    computed = _check(
        _load(changed=_frozen(range(2, 11), [4_152])),
        look_up=look_up,
        written=(number(_TODAY), number(_TODAY)),
        off=("high_use", "low_use"),
    )
    stuck = slice(_at(2), _at(12))
    assert set(computed.methods[stuck].tolist()) == {Method.REFERENCE_DAYS}
    assert int(computed.final.amounts_micro[stuck].sum()) == 4_152 * _WH
    assert np.ptp(computed.final.amounts_micro[stuck]) > 0
    assert asked == [(number(_TODAY) - 60, number(_TODAY) - 1)]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        pytest.param(_frozen(range(2, 7), [2_500]), [], id="too short"),
        pytest.param(_frozen(range(2, 27), [12_000]), [], id="longer than a day"),
        pytest.param(_frozen(range(2, 11), [900]), [], id="goes on as before"),
        pytest.param(dict.fromkeys(range(-24, -8), 0) | _frozen(range(2, 11), [60_000]), [], id="appliance starts"),
        pytest.param(
            dict.fromkeys(range(-24, -12), 0) | _frozen(range(2, 11), [4_152]), list(range(2, 12)), id="often still"
        ),
        pytest.param(_frozen(range(2, 11), [50_000]), list(range(2, 12)), id="far more than hidden use"),
    ],
)
def test_what_may_be_a_frozen_register_or_not_stays_as_it_is(changed: dict[int, int], expected: list[int]) -> None:
    computed = _check(_load(changed=changed), off=("spike",))
    assert _marked(computed, Cause.STUCK) == expected
    assert computed.final.amounts_micro.tolist() == computed.registered.amounts_micro.tolist()
    assert set(computed.final.qualities.tolist()) == {IntervalQuality.MEASURED}


def test_run_without_a_measured_day_before_it_is_not_judged() -> None:
    load = _load(changed=_frozen(range(2, 11), [4_152]))
    load.qualities[_at(-22) : _at(2)] = IntervalQuality.ABSENT
    assert _marked(_check(load), Cause.STUCK) == []


def test_run_too_near_the_beginning_of_what_is_looked_at_is_not_judged() -> None:
    frozen = {hour - 60: amount for hour, amount in _frozen(range(2, 11), [4_152]).items()}
    assert _marked(_check(_load(changed=frozen), off=("spike",)), Cause.STUCK) == []
    frozen = {hour - 40: amount for hour, amount in _frozen(range(2, 11), [4_152]).items()}
    assert _marked(_check(_load(changed=frozen), off=("spike",)), Cause.STUCK) == list(range(-38, -28))


def test_where_the_organisation_says_flag_a_frozen_register_is_only_marked() -> None:
    override = Override("*", "stuck", {"action": "flag"})
    computed = _check(_load(changed=_frozen(range(2, 11), [4_152])), overrides=[override])
    assert _marked(computed, Cause.STUCK) == list(range(2, 12))
    assert computed.final.amounts_micro.tolist() == computed.registered.amounts_micro.tolist()


@pytest.mark.parametrize(
    ("direction", "found"),
    [
        pytest.param(Direction.IMPORT, 1, id="import"),
        pytest.param(Direction.EXPORT, 0, id="export rests every night"),
        pytest.param(Direction.NET, 0, id="net may rest at any time"),
    ],
)
def test_only_consumption_is_thought_to_be_stuck(direction: Direction, found: int) -> None:
    load = _load(changed=_frozen(range(2, 11), [4_152]))
    assert len(_found(_check(load, Register(direction=direction)), FindingKind.STUCK)) == found


@pytest.mark.parametrize(
    ("direction", "marked"),
    [
        pytest.param(Direction.IMPORT, [5, 6], id="import"),
        pytest.param(Direction.NET, [], id="net runs backwards"),
    ],
)
def test_less_than_nothing_is_marked(direction: Direction, marked: list[int]) -> None:
    computed = _check(_load(changed={5: -3, 6: -20}), Register(direction=direction))
    assert _marked(computed, Cause.NEGATIVE) == marked
    assert [one.detail for one in _found(computed, FindingKind.NEGATIVE)] == (
        [{"intervals": 2, "worst_micro": -20 * _WH}] if marked else []
    )


def test_more_than_the_register_can_count_is_marked_and_told_by_the_day() -> None:
    computed = _check(
        _load(changed={22: 1_050, 23: 1_000, 24: 1_001}), Register(max_rate_per_h=Decimal(1_000)), off=("spike",)
    )
    assert _marked(computed, Cause.MAX_DEMAND) == [22, 24]
    midnight = int(_grid().bounds_ms[_at(24)])
    assert [(one.from_ms - midnight, one.to_ms - midnight) for one in computed.findings] == [
        (-2 * HOUR_MS, -HOUR_MS),
        (0, HOUR_MS),
    ]


@pytest.mark.parametrize(
    ("peak_wh", "base_wh", "marked"),
    [
        pytest.param(1_400, 460, [], id="just below"),
        pytest.param(1_800, 560, [18], id="stands out"),
        pytest.param(1_200, 100, [], id="on a day that sleeps"),
    ],
)
def test_interval_that_stands_out_of_its_day_is_marked(peak_wh: int, base_wh: int, marked: list[int]) -> None:
    computed = _check(_load(base_wh=base_wh, changed={18: peak_wh}), off=("high_use", "low_use"))
    assert _marked(computed, Cause.VALIDATION_SPIKE) == marked
    assert len(_found(computed, FindingKind.VALIDATION_SPIKE)) == len(marked)


def test_day_that_is_not_over_is_not_judged_by_its_peak() -> None:
    load = _load(base_wh=560, changed={67: 1_900})
    grid = _grid()
    open_grid = Grid(grid.bounds_ms[:-1], grid.day[:-1], grid.slot[:-1])
    open_load = make_intervals(load.amounts_micro[:-1])
    computed = settle(
        make_measured(open_load), [Register()], open_grid, make_context(off=()), silent_since_ms=int(grid.bounds_ms[-2])
    )
    assert _found(computed, FindingKind.VALIDATION_SPIKE) == []
    assert len(_found(_check(load), FindingKind.VALIDATION_SPIKE)) == 1


def test_two_days_of_nothing_are_told_once_where_they_begin() -> None:
    computed = _check(_load(changed=dict.fromkeys(range(-10, 50), 0)))
    assert _marked(computed, Cause.ZERO_USE) == list(range(-10, 50))
    (finding,) = _found(computed, FindingKind.ZERO_USE)
    assert finding.from_ms == int(_grid().bounds_ms[_at(-10)])
    assert finding.to_ms - finding.from_ms == 48 * HOUR_MS


@pytest.mark.parametrize(
    "load",
    [
        pytest.param(_load(changed=dict.fromkeys(range(-10, 37), 0)), id="47 hours"),
        pytest.param(_load(changed=dict.fromkeys(range(-10, 50), 0) | {12: 1}), id="with a little between"),
    ],
)
def test_shorter_rest_is_none_of_our_business(load: Intervals) -> None:
    assert _marked(_check(load), Cause.ZERO_USE) == []


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        pytest.param(3, [FindingKind.HIGH_USE], id="three times"),
        pytest.param(1, [], id="as before"),
        pytest.param(0.4, [FindingKind.LOW_USE], id="less than half"),
        pytest.param(1.9, [], id="nearly twice"),
    ],
)
def test_a_days_use_is_compared_with_the_same_weekdays(times: float, expected: list[FindingKind]) -> None:
    grid = _grid()
    amounts = (rhythm(grid) * times).astype(np.int64)
    day = (number(_TODAY), number(_TODAY))
    context = make_context(off=("spike",), written=day, look_up=lambda _first, _last: make_reference_days(_TODAY))
    computed = settle(make_measured(make_intervals(amounts)), [Register()], grid, context, silent_since_ms=None)
    assert [one.kind for one in computed.findings] == expected
    marked = _marked(computed, Cause.HIGH_USE | Cause.LOW_USE)
    assert marked == (list(range(24)) if expected else [])


def test_use_that_differs_a_lot_from_week_to_week_is_not_marked() -> None:
    grid = make_days(MONDAY - timedelta(days=28), 29)
    week = (grid.day - grid.day[0]) // 7
    amounts = rhythm(grid) * np.array([1, 8, 2, 4, 9])[week]
    computed = settle(
        make_measured(make_intervals(amounts)),
        [Register()],
        grid,
        make_context(off=("spike",), written=(number(MONDAY), number(MONDAY))),
        silent_since_ms=None,
    )
    assert computed.findings == ()


def test_holidays_are_compared_with_no_weekday() -> None:
    grid = _grid()
    context = make_context(
        off=("spike",),
        written=(number(_TODAY), number(_TODAY)),
        holidays=frozenset({number(_TODAY)}),
        look_up=lambda _first, _last: make_reference_days(_TODAY),
    )
    load = make_intervals(rhythm(grid) * 5)
    assert settle(make_measured(load), [Register()], grid, context, silent_since_ms=None).findings == ()
