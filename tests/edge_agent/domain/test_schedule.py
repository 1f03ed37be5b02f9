"""Polls fall on the wall-clock grid, and what was missed is counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.domain.schedule import Grid

HALF_HOUR_MS = 1_800_000
NOW_MS = 1_760_000_000_123

PERIODS_MS = st.integers(min_value=100, max_value=86_400_000)
TIMES_MS = st.integers(min_value=946_684_800_000, max_value=4_102_444_800_000)


def test_half_hours_are_met_by_every_period_that_divides_them() -> None:
    for period_ms in (1_000, 5_000, 60_000, 900_000, HALF_HOUR_MS):
        due = Grid(period_ms).first_due(NOW_MS // HALF_HOUR_MS * HALF_HOUR_MS)
        assert due.at_ms % HALF_HOUR_MS == 0


@given(period_ms=PERIODS_MS, now_ms=TIMES_MS)
def test_first_slot_begins_now_or_within_one_period(period_ms: int, now_ms: int) -> None:
    due = Grid(period_ms).first_due(now_ms)
    assert due.at_ms % period_ms == 0
    assert 0 <= due.at_ms - now_ms < period_ms


@given(period_ms=PERIODS_MS, now_ms=TIMES_MS, late_ms=st.integers(min_value=0, max_value=10**10))
def test_every_slot_that_passes_is_polled_or_counted(period_ms: int, now_ms: int, late_ms: int) -> None:
    polled = Grid(period_ms).first_due(now_ms)
    due = Grid(period_ms).next_due(polled.slot, polled.at_ms + late_ms)
    assert due.slot == polled.slot + 1 + due.missed
    assert due.at_ms == due.slot * period_ms


def test_late_poll_inside_its_slot_is_still_made() -> None:
    assert Grid(1_000).next_due(10, 11_900) == (11, 11_000, 0)


def test_slots_that_passed_are_counted_and_not_queued() -> None:
    assert Grid(1_000).next_due(10, 14_200) == (14, 14_000, 3)


@given(period_ms=PERIODS_MS, now_ms=TIMES_MS, polls=st.lists(st.floats(0, 0.99), min_size=1, max_size=50))
def test_polls_shorter_than_the_period_never_drift(period_ms: int, now_ms: int, polls: list[float]) -> None:
    start = Grid(period_ms).first_due(now_ms)
    due = start
    for share in polls:
        due = Grid(period_ms).next_due(due.slot, due.at_ms + int(share * period_ms))
    assert due.at_ms == start.at_ms + len(polls) * period_ms
    assert due.missed == 0


def test_clock_set_back_enters_the_grid_afresh() -> None:
    polled = Grid(60_000).first_due(NOW_MS)
    an_hour_before = NOW_MS - 3_600_000
    assert Grid(60_000).next_due(polled.slot, an_hour_before) == Grid(60_000).first_due(an_hour_before)


def test_clock_set_back_by_less_than_a_period_does_not_poll_a_slot_twice() -> None:
    polled = Grid(60_000).first_due(NOW_MS)
    assert Grid(60_000).next_due(polled.slot, polled.at_ms - 5_000).slot == polled.slot + 1


@pytest.mark.parametrize(("wait_ms", "slot", "missed"), [(0, 11, 0), (500, 11, 0), (2_000, 13, 2)])
def test_back_off_ends_on_the_grid_and_counts_what_it_skips(wait_ms: int, slot: int, missed: int) -> None:
    assert Grid(1_000).due_after(10, 10_300, wait_ms) == (slot, slot * 1_000, missed)


@given(period_ms=PERIODS_MS, now_ms=TIMES_MS, share=st.floats(0, 0.99))
def test_offset_moves_each_instant_inside_its_slot(period_ms: int, now_ms: int, share: float) -> None:
    grid = Grid(period_ms, int(share * period_ms))
    due = grid.first_due(now_ms)
    assert due.at_ms == due.slot * period_ms + grid.offset_ms
    assert 0 <= due.at_ms - now_ms < period_ms
    assert grid.next_due(due.slot, due.at_ms).slot == due.slot + 1
