"""From readings to the ledger: estimates true up, edits come last and go again, and nothing depends on the window."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from estimation_factories import (
    BERLIN,
    HOUR_MS,
    UTC_ZONE,
    contents,
    make_context,
    make_days,
    make_intervals,
    make_reference_days,
    number,
    rhythm,
    series_of,
    without,
)

from cloud_hub.calendar.days import Grid
from cloud_hub.energy.compute import compute, cut, gap_days, touches
from cloud_hub.energy.model import (
    MICRO,
    Cause,
    Computed,
    Edit,
    Finding,
    FindingKind,
    Int64s,
    IntervalQuality,
    Method,
    Register,
)
from cloud_hub.energy.reference import ReferenceDays
from cloud_hub.energy.rules import Override
from cloud_hub.energy.settling import check_sum, make_draft
from cloud_hub.readings.series import Series

_FIRST = date(2026, 2, 2)
_TODAY = date(2026, 3, 5)
_DAYS = 35
"""Four weeks and more before today, and three days after."""


def _grid() -> Grid:
    return make_days(_FIRST, _DAYS)


def _register() -> Series:
    grid = make_days(_FIRST - timedelta(days=1), _DAYS + 2)
    return series_of(grid, rhythm(grid))


def _hour(hour: int) -> int:
    """Return the instant of an hour after the midnight that today began with."""
    return int(make_days(_TODAY).bounds_ms[0]) + hour * HOUR_MS


def _row(hour: int) -> int:
    return int(np.searchsorted(_grid().bounds_ms, _hour(hour)))


def _compute(series: Series, grid: Grid | None = None, **context: Any) -> Computed:
    return compute(series, [Register()], [], _grid() if grid is None else grid, make_context(**context))


def _span(computed: Computed, first: int, end: int) -> Int64s:
    return computed.final.amounts_micro[_row(first) : _row(end)]


def test_clean_register_is_measured_and_nothing_is_looked_up() -> None:
    def look_up(first: int, last: int) -> ReferenceDays:
        raise AssertionError(f"looked up {first} to {last}")

    computed = _compute(_register(), look_up=look_up)
    assert computed.final.amounts_micro.tolist() == rhythm(_grid()).tolist()
    assert not computed.methods.any()
    assert computed.findings == ()


def test_gap_of_two_hours_is_spread_evenly() -> None:
    computed = _compute(without(_register(), _hour(7), _hour(8)), overrides=[Override("*", "gap", {"intervals": 1})])
    assert set(computed.methods[_row(6) : _row(8)].tolist()) == {Method.LINEAR}
    assert _span(computed, 6, 8).tolist() == [int(rhythm(_grid())[_row(6) : _row(8)].sum()) // 2] * 2


def test_longer_gap_has_the_shape_of_days_before_and_the_sum_of_the_register() -> None:
    computed = _compute(without(_register(), _hour(6), _hour(20)))
    gap = slice(_row(5), _row(20))
    assert set(computed.final.qualities[gap].tolist()) == {IntervalQuality.ESTIMATED}
    assert set(computed.methods[gap].tolist()) == {Method.REFERENCE_DAYS}
    assert computed.final.amounts_micro.tolist() == rhythm(_grid()).tolist()
    assert np.ptp(computed.registered.amounts_micro[gap]) <= 1
    (finding,) = computed.findings
    assert (finding.kind, finding.from_ms, finding.to_ms) == (FindingKind.GAP, _hour(5), _hour(20))


def test_gap_that_shows_more_than_the_register_can_count_when_shaped_stays_even() -> None:
    register = Register(max_rate_per_h=Decimal(700))
    series = without(_register(), _hour(2), _hour(20))
    computed = compute(series, [register], [], _grid(), make_context())
    assert set(computed.methods[_row(1) : _row(20)].tolist()) == {Method.LINEAR}
    assert int(_span(computed, 1, 20).max()) <= 700 * MICRO


def test_gap_that_begins_before_the_grid_is_shaped_as_a_whole() -> None:
    series = without(_register(), _hour(-40), _hour(20))
    whole = _compute(series)
    part_grid = make_days(_TODAY, 3)
    reference = make_reference_days(_TODAY - timedelta(days=2))
    part = _compute(series, part_grid, look_up=lambda _first, _last: reference)
    assert part.final.amounts_micro[:48].tolist() == _span(whole, 0, 48).tolist()
    assert not [one for one in part.findings if one.kind is FindingKind.SUM_CHECK]


def test_silence_is_estimated_for_three_days_and_trued_up_when_the_register_comes() -> None:
    series = _register()
    before = series.take(np.flatnonzero(series.observed_at_ms <= _hour(-30)))
    silent = _compute(before)
    assert set(silent.final.qualities[_row(-30) : _row(42)].tolist()) == {IntervalQuality.ESTIMATED}
    assert set(silent.final.qualities[_row(42) :].tolist()) == {IntervalQuality.MISSING}
    assert _span(silent, -30, 42).tolist() == rhythm(_grid())[_row(-30) : _row(42)].tolist()
    assert not silent.registered.amounts_micro[_row(-30) :].any()
    late = np.flatnonzero((series.observed_at_ms <= _hour(-30)) | (series.observed_at_ms >= _hour(30)))
    trued_up = _compute(series.take(late))
    counted = int(rhythm(_grid())[_row(-30) : _row(30)].sum())
    assert int(_span(trued_up, -30, 30).sum()) == counted


def test_true_up_is_what_the_register_says_whatever_was_estimated() -> None:
    series = _register()
    value = np.where(series.observed_at_ms >= _hour(30), series.value + 7_000, series.value)
    kept = np.flatnonzero((series.observed_at_ms <= _hour(-30)) | (series.observed_at_ms >= _hour(30)))
    computed = _compute(Series(series.observed_at_ms[kept], value[kept], series.quality[kept]))
    usual = int(rhythm(_grid())[_row(-30) : _row(30)].sum())
    assert int(_span(computed, -30, 30).sum()) == usual + 7_000 * MICRO


def test_a_reading_that_is_only_a_little_late_starts_no_estimate() -> None:
    series = _register()
    until = series.take(np.flatnonzero(series.observed_at_ms <= _hour(10)))
    computed = _compute(until, cut(_grid(), _hour(12)))
    assert computed.final.qualities[_row(10) :].tolist() == [IntervalQuality.MISSING] * 2
    assert not computed.methods.any()


def test_nothing_is_estimated_forward_where_an_organisation_does_not_want_it() -> None:
    series = _register()
    until = series.take(np.flatnonzero(series.observed_at_ms <= _hour(0)))
    computed = _compute(until, overrides=[Override("*", "estimation", {"forward_days": 0})])
    assert set(computed.final.qualities[_row(0) :].tolist()) == {IntervalQuality.MISSING}


def test_edit_is_spread_evenly_and_comes_after_everything_else() -> None:
    edit = Edit(_hour(4), _hour(11), 1_000_000_001)
    computed = _compute(without(_register(), _hour(6), _hour(20)), edits=[edit])
    rows = slice(_row(4), _row(11))
    assert sum(computed.final.amounts_micro[rows].tolist()) == 1_000_000_001
    assert int(np.ptp(computed.final.amounts_micro[rows])) <= 1
    assert set(computed.final.qualities[rows].tolist()) == {IntervalQuality.EDITED}
    assert set(computed.methods[rows].tolist()) == {Method.MANUAL}
    assert (computed.final.causes[rows] & int(Cause.EDIT)).all()
    unedited = _compute(without(_register(), _hour(6), _hour(20)))
    assert computed.registered.amounts_micro.tolist() == unedited.registered.amounts_micro.tolist()
    assert _span(computed, 11, 30).tolist() == _span(unedited, 11, 30).tolist()


def test_edit_that_is_undone_leaves_no_trace() -> None:
    before = _compute(_register())
    _compute(_register(), edits=[Edit(_hour(4), _hour(11), 5)])
    assert contents(_compute(_register())) == contents(before)


def test_edit_over_the_edge_of_the_grid_gives_each_side_its_part() -> None:
    edit = Edit(_hour(-5), _hour(6), 11_000_003)
    sides = [_compute(_register(), make_days(day), edits=[edit]) for day in (_TODAY - timedelta(days=1), _TODAY)]
    edited = [side.final.amounts_micro[side.final.qualities == IntervalQuality.EDITED] for side in sides]
    assert [len(part) for part in edited] == [5, 6]
    assert sum(int(part.sum()) for part in edited) == 11_000_003


def test_edit_made_for_shorter_intervals_leaves_the_rest_of_an_interval() -> None:
    half_hour = Edit(_hour(4), _hour(4) + HOUR_MS // 2, 9_000_000)
    computed = _compute(_register(), edits=[half_hour])
    assert int(computed.final.amounts_micro[_row(4)]) == 9_000_000 + int(rhythm(_grid())[_row(4)]) // 2


def test_edited_intervals_are_no_reference() -> None:
    amounts = rhythm(make_days(_FIRST - timedelta(days=1), _DAYS + 2))
    today = (_TODAY - _FIRST).days + 1
    amounts[24 * (today - 7) : 24 * today] = 100 * MICRO
    flat_week = series_of(make_days(_FIRST - timedelta(days=1), _DAYS + 2), amounts)
    series = without(flat_week, _hour(6), _hour(12))
    shape = rhythm(_grid())[_row(5) : _row(12)]
    edited = _compute(series, edits=[Edit(_hour(-168), _hour(0), 1)])
    assert _span(edited, 5, 12).tolist() == shape.tolist()
    assert _span(_compute(series), 5, 12).tolist() != shape.tolist()


def test_suspect_readings_leave_their_mark() -> None:
    computed = _compute(_register(), suspect=[(_hour(3), _hour(5))])
    marked = np.flatnonzero(computed.final.causes & int(Cause.SUSPECT)).tolist()
    assert marked == [_row(3), _row(4), _row(5)]


@pytest.mark.parametrize(
    "day", [pytest.param(date(2026, 3, 29), id="spring"), pytest.param(date(2026, 10, 25), id="autumn")]
)
def test_gap_over_a_clock_change_adds_up(day: date) -> None:
    grid = make_days(day - timedelta(days=28), 30, BERLIN, 1800)
    wide = make_days(day - timedelta(days=29), 32, BERLIN, 1800)
    midnight = int(make_days(day, 1, BERLIN).bounds_ms[0])
    series = without(series_of(wide, rhythm(wide)), midnight - 3 * HOUR_MS, midnight + 30 * HOUR_MS)
    computed = compute(series, [Register()], [], grid, make_context(BERLIN, 1800))
    assert Method.REFERENCE_DAYS in computed.methods
    assert int(computed.final.amounts_micro.sum()) == int(rhythm(grid).sum())


def test_look_up_is_asked_once_for_days_before_what_is_written() -> None:
    asked = []

    def look_up(first: int, last: int) -> ReferenceDays:
        asked.append((first, last))
        return make_reference_days(_TODAY - timedelta(days=1))

    series = without(without(_register(), _hour(-20), _hour(-10)), _hour(6), _hour(20))
    written = number(_TODAY) - 1, number(_TODAY)
    computed = _compute(series, make_days(_TODAY - timedelta(days=4), 7), look_up=look_up, written=written)
    assert asked == [(written[0] - 60, written[0] - 1)]
    whole = _compute(series)
    assert computed.final.amounts_micro[72:120].tolist() == _span(whole, -24, 24).tolist()


def test_only_what_touches_the_written_days_is_found() -> None:
    series = without(without(_register(), _hour(-60), _hour(-50)), _hour(-3), _hour(5))
    written = number(_TODAY), number(_TODAY)
    computed = _compute(series, written=written)
    (gap,) = computed.findings
    assert (gap.from_ms, gap.to_ms) == (_hour(-4), _hour(5))
    assert gap_days(computed.findings, UTC_ZONE, written) == (number(_TODAY) - 1, number(_TODAY))


@pytest.mark.parametrize(
    ("from_hour", "to_hour", "expected"),
    [
        pytest.param(-2, 0, False, id="ends with the beginning"),
        pytest.param(-2, 1, True, id="reaches in"),
        pytest.param(0, 0, True, id="an instant at the beginning"),
        pytest.param(23, 30, True, id="reaches out"),
        pytest.param(24, 24, False, id="an instant at the end"),
        pytest.param(-9, 99, True, id="around"),
    ],
)
def test_findings_belong_to_the_days_they_touch(from_hour: int, to_hour: int, *, expected: bool) -> None:
    finding = Finding(FindingKind.GAP, _hour(from_hour), _hour(to_hour))
    assert touches(finding, _hour(0), _hour(24)) is expected


@pytest.mark.parametrize(
    ("until", "count"),
    [
        pytest.param(_hour(10), 10, id="on a border"),
        pytest.param(_hour(10) - 1, 9, id="just before"),
        pytest.param(_hour(0) - 1, 0, id="before the grid"),
        pytest.param(_hour(99), 24, id="after the grid"),
    ],
)
def test_grid_is_cut_to_what_has_ended(until: int, count: int) -> None:
    grid = cut(make_days(_TODAY), until)
    assert (len(grid), len(grid.bounds_ms), len(grid.slot)) == (count, count + 1, count)


def test_grid_without_intervals_and_register_without_readings_are_no_trouble() -> None:
    empty = _compute(_register(), cut(_grid(), 0))
    assert len(empty.final) == 0
    nothing = _compute(_register().take(np.array([], np.int64)))
    assert set(nothing.final.qualities.tolist()) == {IntervalQuality.ABSENT}


def test_sum_that_is_not_the_registers_is_reported() -> None:
    registered = make_intervals(rhythm(make_days(_TODAY)))
    draft = make_draft(make_days(_TODAY), registered, np.zeros(24, np.int32), ())
    check_sum(draft, registered.amounts_micro, (_hour(0), _hour(24)))
    assert draft.findings == []
    draft.amounts_micro[3] += 1
    check_sum(draft, registered.amounts_micro, (_hour(0), _hour(24)))
    (finding,) = draft.findings
    assert (finding.kind, finding.detail) == (FindingKind.SUM_CHECK, {"missed_micro": 1})
