import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.domain.send_schedule import SendPlan, SendTimes
from protocol.site_config import SendSchedule

HALF_HOUR_MS = 1_800_000
BOUNDARY_MS = 1_000_000 * HALF_HOUR_MS
LONG_AGO_S = -1e6


def make_half_hourly(controller_id: str = "hut-0001", *, spread_s: float = 0) -> SendTimes:
    return SendTimes(SendPlan(send=SendSchedule.HALF_HOUR, spread_s=spread_s), controller_id)


def sends_at(times: SendTimes, from_ms: int, to_ms: int, *, step_ms: int = 1_000, stored_s: float = 0) -> list[int]:
    """Walk through time and note when something was due."""
    sent = []
    for now_ms in range(from_ms, to_ms, step_ms):
        now_s = (now_ms - from_ms) / 1000
        if times.is_due(now_s, now_ms, LONG_AGO_S if stored_s == 0 else now_s - stored_s):
            sent.append(now_ms)
            times.done(now_s, now_ms)
    return sent


def test_everything_is_due_at_first_contact() -> None:
    times = make_half_hourly()
    assert times.is_due(0, BOUNDARY_MS + 600_000, 0)
    times.done(0, BOUNDARY_MS + 600_000)
    assert not times.is_due(1, BOUNDARY_MS + 601_000, 0)


def test_half_hourly_batches_follow_each_boundary() -> None:
    times = make_half_hourly()
    times.done(0, BOUNDARY_MS - 1_000)
    sent = sends_at(times, BOUNDARY_MS - 1_000, BOUNDARY_MS + 3 * HALF_HOUR_MS)
    assert [at_ms % HALF_HOUR_MS for at_ms in sent] == [10_000] * 3


def test_scans_that_still_come_are_waited_for_but_not_for_ever() -> None:
    times = make_half_hourly()
    times.done(0, BOUNDARY_MS - 1_000)
    sent = sends_at(times, BOUNDARY_MS - 1_000, BOUNDARY_MS + HALF_HOUR_MS, stored_s=1)
    assert sent == [BOUNDARY_MS + 70_000]


def test_a_thousand_controllers_share_out_the_boundary() -> None:
    firsts = []
    for number in range(1000):
        times = make_half_hourly(f"hut-{number:04}", spread_s=300)
        times.done(0, BOUNDARY_MS)
        wait_s = times.wait_s(0, BOUNDARY_MS)
        firsts.append(wait_s)
    assert min(firsts) >= 10
    assert max(firsts) <= 310
    per_minute = [sum(minute * 60 <= first - 10 < minute * 60 + 60 for first in firsts) for minute in range(5)]
    assert all(150 < count < 250 for count in per_minute)


@pytest.mark.parametrize("step_ms", [-3_600_000, 3_600_000, 86_400_000])
def test_a_clock_that_is_set_makes_scans_due_rather_than_late(step_ms: int) -> None:
    times = make_half_hourly()
    times.done(0, BOUNDARY_MS + 60_000)
    assert times.is_due(1, BOUNDARY_MS + 61_000 + step_ms, LONG_AGO_S)


def test_every_is_counted_from_the_last_time() -> None:
    times = SendTimes(SendPlan(every_s=60), "hut-0001")
    times.done(5, 0)
    assert not times.is_due(64, 0, 0)
    assert times.wait_s(64, 0) == 1
    assert times.is_due(65, 0, 0)


def test_at_once_is_always_due() -> None:
    times = SendTimes(SendPlan(send=SendSchedule.AT_ONCE, every_s=60), "hut-0001")
    times.done(5, 0)
    assert times.is_due(5, 0, 5)


def test_while_somebody_watches_scans_go_at_once_and_then_by_the_plan_again() -> None:
    times = make_half_hourly()
    times.done(0, BOUNDARY_MS + 60_000)
    times.at_once(100)
    assert times.is_due(99, BOUNDARY_MS + 159_000, 99)
    times.done(99, BOUNDARY_MS + 159_000)
    assert not times.is_due(100, BOUNDARY_MS + 160_000, 99)


def test_widened_batches_go_no_more_often_than_that() -> None:
    times = SendTimes(SendPlan(every_s=60), "hut-0001")
    times.widen(300)
    times.done(0, 0)
    assert not times.is_due(299, 0, 0)
    times.widen(0)
    assert times.is_due(60, 0, 0)


def test_another_plan_holds_from_now_on() -> None:
    times = SendTimes(SendPlan(every_s=3600), "hut-0001")
    times.done(0, 0)
    times.follow(SendPlan(every_s=10))
    assert times.is_due(10, 0, 0)


@given(now_ms=st.integers(0, 4 * 10**12), spread_s=st.floats(0, 1500))
def test_the_wait_never_passes_the_next_boundarys_turn(now_ms: int, spread_s: float) -> None:
    times = make_half_hourly(spread_s=spread_s)
    times.done(0, now_ms)
    wait_s = times.wait_s(0, now_ms)
    assert 0 < wait_s <= 1800
    after_ms = now_ms + round(wait_s * 1000)
    assert times.is_due(wait_s, after_ms, LONG_AGO_S)
