"""Groups of a meter are polled on their own grids; policies, live views and thinning decide what is recorded."""

import time

import pytest
from polling_factories import Meters, Polling, SettableClock, poll, scans
from site_factories import make_energy_point, make_meter_config, make_point, make_profile

from edge_agent.polling.status import MeterState
from protocol.quality import Quality

SUMMARY = {"policy": "aggregate", "every_s": 1800}
CHANGES = {"policy": "on_change", "deadband": 5}
GAUGE = make_profile([make_point()])
TWO_GAUGES = make_profile([make_point(), make_point("current", address=1, quantity="current")])
HALF_HOUR_MS = 1_800_000


def before_half_hour(ms: int) -> SettableClock:
    """Make a clock that shows so many milliseconds before a half hour, and runs on from there."""
    now_ms = time.time_ns() // 1_000_000
    return SettableClock(skew_ms=-(now_ms % HALF_HOUR_MS) - ms)


def test_groups_of_a_meter_are_polled_on_their_own_grids() -> None:
    meter = make_meter_config(period_s=0.05, groups=[{"points": ["current"], "period_s": 0.2}])
    polling = poll(scans(3, layout=1), meters=[meter], profiles=[TWO_GAUGES])
    assert len(polling.recorded.of(0)) >= 2 * len(polling.recorded.of(1))
    assert {len(scan.values) for scan in polling.recorded.scans} == {1}


def test_a_group_that_is_seldom_read_is_read_at_the_start_too() -> None:
    polling = poll(scans(1), meters=[make_meter_config(period_s=1800)], clock=before_half_hour(HALF_HOUR_MS // 2))
    assert polling.recorded.scans[0].observed_at_ms % HALF_HOUR_MS >= HALF_HOUR_MS // 2
    assert polling.statuses["meter-1"].polls_skipped == 0


def test_summary_is_recorded_at_the_half_hour_with_the_counters_beside_it() -> None:
    async def use(polling: Polling) -> None:
        await polling.until(lambda: bool(polling.recorded.of(0) and len(polling.recorded.of(2)) == 2))

    meter = make_meter_config(period_s=0.1, report=SUMMARY)
    polling = poll(use, meters=[meter], clock=before_half_hour(1_500))
    [summary] = polling.recorded.of(0)
    assert summary.values[:4] == (231.2, 231.2, 231.2, 231.2)
    assert (summary.values[-1] or 0) >= 1
    at_start, boundary = polling.recorded.of(2)
    assert at_start.values == boundary.values == (123_456.0,)
    assert boundary.observed_at_ms // HALF_HOUR_MS == summary.observed_at_ms // HALF_HOUR_MS + 1
    assert polling.recorded.of(1) == [], "nobody looks"


def test_counters_at_the_half_hour_go_before_all_that_is_overdue() -> None:
    """The gauges of the first meter are due as often as it can be asked; the counter is asked first all the same."""
    meters = [
        make_meter_config("gauges", period_s=0.05, points=["voltage"]),
        make_meter_config("counter", unit_id=2, period_s=1800, points=["energy"]),
    ]
    polling = poll(scans(2, layout=1), meters=meters, clock=before_half_hour(1_000), pause_between_requests_s=0.04)
    _, boundary = polling.recorded.of(1)
    after = [
        s for s in polling.recorded.of(0) if s.observed_at_ms // HALF_HOUR_MS == boundary.observed_at_ms // HALF_HOUR_MS
    ]
    assert len(after) <= 1, "one visit may have been under way"


def test_changes_alone_are_recorded() -> None:
    async def use(polling: Polling) -> None:
        await polling.until(lambda: polling.statuses["meter-1"].polls_ok >= 5)
        polling.meters.words[0] = 2400
        await scans(2)(polling)

    polling = poll(use, meters=[make_meter_config(report=CHANGES)], profiles=[GAUGE])
    assert [scan.values for scan in polling.recorded.of(0)] == [(231.2,), (240.0,)]


@pytest.mark.parametrize("report", [SUMMARY, CHANGES])
def test_live_view_records_each_sample_beside_the_ordinary_reports_and_ends_by_itself(
    report: dict[str, object],
) -> None:
    async def use(polling: Polling) -> None:
        until_ms = polling.clock.monotonic_ms() + 60_000
        polling.poller.go_live(period_ms=50, until_monotonic_ms=until_ms, meter_ids=None)
        await scans(6, layout=1)(polling)
        assert "live_until_ms" in polling.statuses["meter-1"].report()
        polling.clock.slept_ms = 61_000
        assert "live_until_ms" not in polling.statuses["meter-1"].report()
        seen = len(polling.recorded.of(1))
        polls = polling.statuses["meter-1"].polls_ok
        await polling.until(lambda: polling.statuses["meter-1"].polls_ok > polls + 2)
        assert len(polling.recorded.of(1)) <= seen + 1

    polling = poll(use, meters=[make_meter_config(period_s=0.5, report=report)], profiles=[GAUGE])
    polling.poller.report_rest()
    assert len(polling.recorded.of(0)) <= 2
    assert all(scan.values == (231.2,) for scan in polling.recorded.of(1))


def test_live_view_of_a_meter_that_reports_each_sample_is_more_of_them() -> None:
    async def use(polling: Polling) -> None:
        until_ms = polling.clock.monotonic_ms() + 60_000
        polling.poller.go_live(period_ms=50, until_monotonic_ms=until_ms, meter_ids={"meter-1"})
        await scans(5)(polling)
        polling.poller.go_live(period_ms=50, until_monotonic_ms=0, meter_ids=None)
        assert polling.statuses["meter-1"].live_until_ms is None

    polling = poll(use, meters=[make_meter_config(period_s=1800), make_meter_config("other", unit_id=2, period_s=1800)])
    assert len(polling.recorded.of(1)) == 1, "the other one was read at the start only"


def test_thinned_gauges_are_asked_as_before_and_recorded_less_often() -> None:
    async def use(polling: Polling) -> None:
        polling.poller.thin_gauges(3)
        await polling.until(lambda: polling.statuses["meter-1"].polls_ok >= 9)
        assert polling.statuses["meter-1"].keep_every == 3

    polling = poll(use, meters=[make_meter_config(period_s=0.05)], profiles=[GAUGE])
    slots = [scan.observed_at_ms // 50 for scan in polling.recorded.scans]
    assert all(slot % 3 == 0 for slot in slots[1:])
    assert len(slots) < polling.statuses["meter-1"].polls_ok


def test_counters_alone_are_never_thinned() -> None:
    async def use(polling: Polling) -> None:
        polling.poller.thin_gauges(5)
        await polling.until(lambda: polling.statuses["meter-1"].polls_ok >= 6)

    polling = poll(use, profiles=[make_profile([make_energy_point()])])
    assert len(polling.recorded.scans) == polling.statuses["meter-1"].polls_ok


def test_reading_now_breaks_into_a_back_off_and_records_what_it_finds() -> None:
    async def use(polling: Polling) -> None:
        await polling.until(lambda: polling.statuses["meter-1"].state is MeterState.UNREACHABLE)
        polling.meters.dead.clear()
        visits = await polling.poller.read_now({"meter-1"})
        assert visits["meter-1"][0].scan.values == (231.2, 123_456.0)
        assert polling.statuses["meter-1"].state is MeterState.GOOD
        assert polling.recorded.scans[-1].quality is None

    poll(use, behaviour=Meters(dead={1}))


def test_silent_meter_costs_its_first_group_only() -> None:
    meter = make_meter_config(period_s=0.1, groups=[{"points": ["current"], "period_s": 0.2}])
    polling = poll(scans(1), meters=[meter], profiles=[TWO_GAUGES], behaviour=Meters(dead={1}))
    assert len(polling.meters.asked) == 1
    assert polling.recorded.scans[0].quality == (Quality.TIMEOUT,)


@pytest.mark.parametrize("skew_ms", [-1_600_000_000_000, 315_360_000_000, 90_000])
def test_clock_that_is_set_neither_silences_the_bus_nor_counts_slots_that_never_were(skew_ms: int) -> None:
    async def use(polling: Polling) -> None:
        await scans(2)(polling)
        polling.clock.skew_ms = skew_ms
        seen = len(polling.recorded.scans)
        await scans(seen + 3)(polling)

    polling = poll(use)
    assert polling.statuses["meter-1"].polls_skipped < 300


def test_connection_is_closed_after_each_cycle_where_the_device_has_few() -> None:
    polling = poll(scans(3), close_after_poll=True)
    assert polling.poller.bus.stats.connects >= 3
    assert poll(scans(3)).poller.bus.stats.connects == 1
