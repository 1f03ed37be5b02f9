"""A bus is polled on the grid; a silent meter costs its own readings and nobody else's."""

import asyncio

import pytest
from polling_factories import (
    ENERGY,
    TIMEOUT_S,
    Meters,
    Polling,
    poll,
    polling_at,
    scans,
)
from scripted_modbus import scripted_server
from site_factories import make_energy_point, make_meter_config, make_point, make_profile, make_site_plan

from demo.processes import free_port
from edge_agent.polling.status import Circuit, MeterState
from protocol.quality import Quality, exception_quality

TWO_REQUESTS = make_profile([make_point(), make_energy_point(address=1_000)])


def test_scan_holds_the_decoded_values_in_the_layout_s_order() -> None:
    polling = poll(scans(3))
    scan = polling.recorded.scans[-1]
    assert (scan.layout, scan.values, scan.quality) == (0, (231.2, float(ENERGY)), None)
    assert polling.recorded.open_cycles == 0
    assert polling.statuses["meter-1"].state is MeterState.GOOD
    assert polling.statuses["meter-1"].polls_ok == len(polling.recorded.scans)


def test_every_slot_is_polled_once_or_counted() -> None:
    polling = poll(scans(8))
    status = polling.statuses["meter-1"]
    first, last = -(-polling.begun_at_ms // 100), polling.recorded.scans[-1].observed_at_ms // 100
    assert len(polling.recorded.scans) + status.polls_skipped == last - first + 1


def test_meters_of_a_bus_are_asked_in_the_order_of_the_configuration() -> None:
    meters = [make_meter_config(f"meter-{unit}", unit_id=unit) for unit in (3, 1, 2)]
    polling = poll(scans(2, layout=2), meters=meters)
    assert [asked.unit_id for asked in polling.meters.asked[:3]] == [3, 1, 2]
    assert [scan.layout for scan in polling.recorded.scans[:3]] == [0, 1, 2]


def test_fast_meter_does_not_starve_a_slow_one() -> None:
    meters = [make_meter_config("fast", period_s=0.05), make_meter_config("slow", unit_id=2, period_s=0.3)]
    poll(scans(3, layout=1), meters=meters)


def test_exception_costs_its_block_only() -> None:
    polling = poll(scans(2), profiles=[TWO_REQUESTS], behaviour=Meters(refused={1_000: 4}))
    scan = polling.recorded.scans[0]
    assert scan.values == (231.2, None)
    assert scan.quality == (Quality.GOOD, exception_quality(4))
    status = polling.statuses["meter-1"]
    assert (status.state, status.polls_failed) == (MeterState.REFUSING, 0)
    assert "server device failure" in str(status.last_error)
    assert polling.events == ["meter_refuses"]


def test_first_exception_does_not_keep_the_second_block_from_being_asked() -> None:
    polling = poll(scans(1), profiles=[TWO_REQUESTS], behaviour=Meters(refused={0: 4}))
    assert polling.recorded.scans[0].quality == (exception_quality(4), Quality.GOOD)


def test_answer_of_somebody_else_costs_its_block_only() -> None:
    polling = poll(scans(2), profiles=[TWO_REQUESTS], behaviour=Meters(garbled={0}))
    assert polling.recorded.scans[0].quality == (Quality.TIMEOUT, Quality.GOOD)
    status = polling.statuses["meter-1"]
    assert (status.state, status.polls_failed, status.circuit) == (MeterState.GARBLED, 0, Circuit.CLOSED)
    assert polling.events == ["meter_garbled"]


def test_meter_that_says_nothing_usable_is_left_alone_like_a_silent_one() -> None:
    polling = poll(scans(1), profiles=[TWO_REQUESTS], behaviour=Meters(garbled={0, 1_000}))
    status = polling.statuses["meter-1"]
    assert (status.state, status.circuit, status.failures) == (MeterState.UNREACHABLE, Circuit.OPEN, 1)
    assert polling.meters.spans == [(0, 1), (1_000, 2)]


def test_silent_meter_gives_one_scan_of_timeouts_and_is_then_left_alone() -> None:
    meters = [make_meter_config("dead"), make_meter_config("alive", unit_id=2)]
    polling = poll(scans(10, layout=1), meters=meters, profiles=[TWO_REQUESTS], behaviour=Meters(dead={1}))
    first = polling.recorded.of(0)[0]
    assert (first.values, first.quality) == ((None, None), (Quality.TIMEOUT, Quality.TIMEOUT))
    assert all(scan.quality is None for scan in polling.recorded.of(1))
    dead = polling.statuses["dead"]
    assert (dead.state, dead.circuit) == (MeterState.UNREACHABLE, Circuit.OPEN)
    assert dead.next_attempt_ms is not None
    assert dead.next_attempt_ms >= polling.begun_at_ms + 2_000
    assert dead.polls_failed == len(polling.recorded.of(0)) == sum(asked.unit_id == 1 for asked in polling.meters.asked)
    assert dead.polls_failed < 5, "its second request is not sent, and it backs off"
    assert polling.statuses["alive"].polls_failed == 0
    assert polling.events == ["meter_unreachable"]


@pytest.mark.parametrize("code", [10, 11])
def test_gateway_that_speaks_for_a_silent_meter_ends_the_visit(code: int) -> None:
    polling = poll(scans(1), profiles=[TWO_REQUESTS], behaviour=Meters(refused={0: code}))
    assert polling.recorded.scans[0].quality == (exception_quality(code), exception_quality(code))
    assert polling.statuses["meter-1"].state is MeterState.UNREACHABLE
    assert len(polling.meters.asked) == 1


def test_return_of_a_meter_is_logged_once_and_its_skipped_slots_are_counted() -> None:
    async def use(polling: Polling) -> None:
        await polling.until(lambda: polling.statuses["meter-1"].state is MeterState.UNREACHABLE)
        polling.meters.dead.clear()
        await polling.until(lambda: polling.statuses["meter-1"].polls_ok >= 2)

    polling = poll(use, behaviour=Meters(dead={1}))
    assert polling.events == ["meter_unreachable", "meter_recovered"]
    assert len(polling.changes) == 2
    status = polling.statuses["meter-1"]
    assert (status.last_error, status.circuit, status.next_attempt_ms) == (None, Circuit.CLOSED, None)
    assert polling.statuses["meter-1"].polls_skipped >= 15


def test_meters_of_a_bus_that_comes_back_do_not_wait_for_one_another() -> None:
    """The second meter, in back-off because nobody listened, is polled as soon as the first one answers."""

    async def inner() -> None:
        port, behind = free_port(), Meters()
        meters = [make_meter_config("a"), make_meter_config("b", unit_id=2, period_s=0.2)]
        plan = make_site_plan(meters, port=port, timeout_s=TIMEOUT_S)
        async with polling_at(plan, behind) as polling:
            await polling.until(lambda: all(s.state is MeterState.UNREACHABLE for s in polling.statuses.values()))
            assert "no connection to" in str(polling.statuses["a"].last_error)
            # A back-off that ends long after the other's, as after an outage of minutes.
            [_, waiting] = polling.poller._meters
            waiting.wait_ms = 300_000
            for group in waiting.groups:
                group.back_off(300_000)
            async with scripted_server(behind.answer, port=port):
                await polling.until(lambda: polling.statuses["b"].state is MeterState.GOOD)

    asyncio.run(inner())


def test_clock_set_back_does_not_silence_the_bus() -> None:
    async def use(polling: Polling) -> None:
        await scans(2)(polling)
        polling.clock.skew_ms = -3_600_000
        seen = len(polling.recorded.scans)
        await polling.until(lambda: len(polling.recorded.scans) >= seen + 3)

    poll(use)


def test_counter_that_runs_backwards_is_marked_once_and_keeps_its_value() -> None:
    async def use(polling: Polling) -> None:
        await scans(2)(polling)
        polling.meters.words[10] = polling.meters.words[11] = 0
        seen = len(polling.recorded.scans)
        await polling.until(lambda: len(polling.recorded.scans) >= seen + 3)

    polling = poll(use)
    marked = [scan for scan in polling.recorded.scans if scan.quality is not None]
    assert [(scan.values, scan.quality) for scan in marked] == [
        ((231.2, 0.0), (Quality.GOOD, Quality.COUNTER_REGRESSED))
    ]


def test_marker_of_the_meter_for_no_value_becomes_a_quality_code() -> None:
    profile = make_profile([make_point(not_available=[0xFFFF])])
    polling = poll(scans(1), profiles=[profile], behaviour=Meters(words={0: 0xFFFF}))
    assert polling.recorded.scans[0].values == (None,)
    assert polling.recorded.scans[0].quality == (Quality.NOT_AVAILABLE,)


def test_exponent_of_the_same_visit_is_applied() -> None:
    profile = make_profile(
        [
            make_point(exponent_point="power"),
            make_point("power", address=1, type="int16", quantity="exponent", scale="1"),
        ]
    )
    polling = poll(
        scans(1),
        meters=[make_meter_config(points=["voltage"])],
        profiles=[profile],
        behaviour=Meters(words={0: 23, 1: 2}),
    )
    assert polling.recorded.scans[0].values == (230.0,)
