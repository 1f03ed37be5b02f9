"""Laws of the whole way from readings to the ledger, on registers that are broken in every way we could think of."""

from datetime import date, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from estimation_factories import HOUR_MS, contents, make_context, make_days, number, rhythm, series_of
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_hub.calendar.days import Grid
from cloud_hub.energy.compute import REACH_MS, compute
from cloud_hub.energy.model import MICRO, Cause, Computed, IntervalQuality, Register
from cloud_hub.energy.reference import REFERENCE_DAYS, LookUp, ReferenceDays, looks_back, make_reference
from cloud_hub.readings.series import Series

_FIRST, _COUNT = date(2026, 3, 1), 40
_ZONES = [ZoneInfo(name) for name in ("Europe/Berlin", "Asia/Kathmandu", "America/Los_Angeles", "Australia/Lord_Howe")]

holes = st.lists(
    st.tuples(st.integers(0, _COUNT * 24), st.integers(1, 80)).map(
        lambda hole: (hole[0], min(hole[0] + hole[1], _COUNT * 24 + 12))
    ),
    max_size=5,
)
freezes = st.lists(
    st.tuples(st.integers(0, _COUNT * 24), st.integers(4, 26)).map(lambda run: (run[0], run[0] + run[1])), max_size=3
)


def _broken(zone: ZoneInfo, seed: int, holes: list[tuple[int, int]], freezes: list[tuple[int, int]]) -> Series:
    """Make a register of half-hourly readings, of which some are missing and some stood still, some days on both ends."""
    grid = make_days(_FIRST - timedelta(days=2), _COUNT + 4, zone, 1800)
    random = np.random.default_rng(seed)
    amounts = rhythm(grid) * random.integers(50, 150, len(grid)) // (100 * MICRO) * MICRO
    series = series_of(grid, amounts)
    start = int(make_days(_FIRST, 1, zone).bounds_ms[0])
    value = series.value.copy()
    for first, end in freezes:
        still = (series.observed_at_ms > start + first * HOUR_MS) & (series.observed_at_ms < start + end * HOUR_MS)
        if still.any():
            value[still] = value[np.flatnonzero(still)[0] - 1]
    kept = np.ones(len(series), np.bool_)
    for first, end in holes:
        kept &= (series.observed_at_ms < start + first * HOUR_MS) | (series.observed_at_ms >= start + end * HOUR_MS)
    return Series(series.observed_at_ms[kept], value[kept], series.quality[kept])


def _whole(series: Series, zone: ZoneInfo) -> tuple[Grid, Computed]:
    grid = make_days(_FIRST, _COUNT, zone, 1800)
    return grid, compute(series, [Register()], [], grid, make_context(zone, 1800, off=()))


def _ledger(grid: Grid, computed: Computed) -> LookUp:
    """Make a ledger that has what was computed."""

    def look_up(first: int, last: int) -> ReferenceDays:
        rows = (grid.day >= first) & (grid.day <= last)
        final = computed.final
        return make_reference(
            grid.day[rows],
            grid.slot[rows],
            final.amounts_micro[rows],
            final.qualities[rows],
            final.causes[rows],
            interval_s=1800,
        )

    return look_up


@pytest.mark.parametrize("zone", _ZONES, ids=str)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 99), holes=holes, freezes=freezes)
def test_what_the_register_went_on_by_is_in_the_intervals_once(
    zone: ZoneInfo, seed: int, holes: list[tuple[int, int]], freezes: list[tuple[int, int]]
) -> None:
    series = _broken(zone, seed, holes, freezes)
    grid, computed = _whole(series, zone)
    bounds = grid.bounds_ms[[0, -1]]
    counted = np.interp(bounds, series.observed_at_ms, series.value)
    assert abs(int(computed.registered.amounts_micro.sum()) - (counted[1] - counted[0]) * MICRO) <= 2
    crosses = [one for one in computed.findings if one.from_ms < bounds[0] or one.to_ms > bounds[1]]
    if not crosses:
        assert int(computed.final.amounts_micro.sum()) == int(computed.registered.amounts_micro.sum())
    moved = computed.final.amounts_micro != computed.registered.amounts_micro
    assert set(computed.final.qualities[moved].tolist()) <= {IntervalQuality.ESTIMATED}
    assert int(computed.final.amounts_micro.min()) >= 0


@pytest.mark.parametrize("zone", _ZONES, ids=str)
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 99),
    broken=st.tuples(holes, freezes),
    first=st.integers(0, _COUNT - 1),
    length=st.integers(0, 5),
)
def test_days_computed_alone_are_as_in_one_go(
    zone: ZoneInfo,
    seed: int,
    broken: tuple[list[tuple[int, int]], list[tuple[int, int]]],
    first: int,
    length: int,
) -> None:
    series = _broken(zone, seed, *broken)
    grid, whole = _whole(series, zone)
    first_day = number(_FIRST) + first
    written = first_day, min(first_day + length, number(_FIRST) + _COUNT - 1)
    around = -(-REACH_MS // (23 * HOUR_MS))
    part_first = max(0, first - around)
    part_count = min(_COUNT - part_first, length + first - part_first + 1 + around)
    part_grid = make_days(_FIRST + timedelta(days=part_first), part_count, zone, 1800)
    context = make_context(zone, 1800, off=(), written=written, look_up=_ledger(grid, whole))
    part = compute(series, [Register()], [], part_grid, context)
    rows = [(one.day >= written[0]) & (one.day <= written[1]) for one in (grid, part_grid)]
    spans = [slice(int(np.argmax(row)), int(np.argmax(row)) + int(row.sum())) for row in rows]
    assert contents(part, spans[1]) == contents(whole, spans[0])
    bounds = part_grid.bounds_ms[[spans[1].start, spans[1].stop]]
    assert list(part.findings) == [
        one for one in whole.findings if one.from_ms < bounds[1] and (one.to_ms > bounds[0] or one.from_ms >= bounds[0])
    ]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 99),
    holes=holes,
    freezes=freezes,
    changed=st.tuples(st.integers(5, _COUNT - 5), st.integers(0, 40)),
)
def test_a_change_reaches_no_further_than_declared(
    seed: int, holes: list[tuple[int, int]], freezes: list[tuple[int, int]], changed: tuple[int, int]
) -> None:
    zone = _ZONES[0]
    series = _broken(zone, seed, holes, freezes)
    grid, before = _whole(series, zone)
    start = int(grid.bounds_ms[0]) + changed[0] * 24 * HOUR_MS
    end = start + changed[1] * HOUR_MS
    near = (series.observed_at_ms >= start) & (series.observed_at_ms <= end)
    value = series.value.copy()
    value[near] = np.round(value[near].min()) if near.any() else 0
    _, after = _whole(Series(series.observed_at_ms, value, series.quality), zone)
    differs = np.zeros(len(grid), np.bool_)
    for one, other in zip(contents(before), contents(after), strict=True):
        differs |= np.array(one) != np.array(other)
    raw = np.flatnonzero(before.registered.amounts_micro != after.registered.amounts_micro)
    if not len(raw):
        assert not differs.any()
        return
    low, high = int(grid.bounds_ms[raw[0]]) - REACH_MS, int(grid.bounds_ms[raw[-1] + 1]) + REACH_MS
    starts = grid.bounds_ms[:-1]
    near = (starts >= low) & (starts < high)
    later = (starts >= high) & (starts < high + REFERENCE_DAYS * 25 * HOUR_MS)
    compared = ((before.final.causes | after.final.causes) & int(Cause.HIGH_USE | Cause.LOW_USE)) != 0
    back = looks_back(before.final.qualities, before.final.causes) | compared
    assert not (differs & ~near & ~(later & back)).any()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99), holes=holes, freezes=freezes)
def test_the_same_readings_give_the_same_bytes(
    seed: int, holes: list[tuple[int, int]], freezes: list[tuple[int, int]]
) -> None:
    series = _broken(_ZONES[0], seed, holes, freezes)
    once, again = (_whole(series, _ZONES[0])[1] for _ in range(2))
    assert contents(once) == contents(again)
    assert once.findings == again.findings
