import pytest
from clock_world import DAY_MS, HOUR_MS, YEAR_MS, World
from edge_factories import START_MS
from structlog.testing import capture_logs

from edge_agent.clock.clock import AgentClock, Anchor, Source
from edge_agent.clock.kernel import boottime_ms, is_kernel_synchronised, wall_ms


def error_ms(world: World, clock: AgentClock) -> int:
    """Return by how much the clock is wrong."""
    return clock.now_ms() - world.now_ms


def hear(world: World, clock: AgentClock, *, hub_error_ms: int = 0, round_trip_ms: int = 200) -> bool:
    asked_ms = world.monotonic_ms()
    world.pass_time(round_trip_ms)
    hub_ms = world.now_ms - round_trip_ms // 2 + hub_error_ms
    return clock.hear_hub(hub_ms, asked_ms=asked_ms, answered_ms=world.monotonic_ms())


def test_kernel_that_nobody_vouches_for_is_not_trusted() -> None:
    world = World()
    clock = world.clock()
    assert not clock.is_trusted
    assert clock.anchor is None
    assert clock.report() == {"state": "untrusted", "source": "none", "offset_of_system_ms": None, "steps": 0}
    assert clock.now_ms() == world.wall_ms()


def test_synchronised_kernel_is_trusted() -> None:
    world = World(is_synchronised=True)
    clock = world.clock()
    assert clock.source is Source.KERNEL
    assert error_ms(world, clock) == 0


@pytest.mark.parametrize("shows_ms", [0, 999_999, 9_999_999_999_999], ids=["1970", "1970 later", "2286"])
def test_synchronised_kernel_with_an_impossible_time_is_not_trusted(shows_ms: int) -> None:
    world = World(is_synchronised=True, wall_error_ms=shows_ms - START_MS)
    assert not world.clock().is_trusted


@pytest.mark.parametrize("wall_error_ms", [-START_MS, 10 * YEAR_MS, -HOUR_MS], ids=["1970", "+10 years", "-1 h"])
def test_answer_of_the_hub_puts_the_clock_right_whatever_the_system_shows(wall_error_ms: int) -> None:
    world = World(wall_error_ms=wall_error_ms)
    clock = world.clock()
    assert hear(world, clock)
    assert clock.source is Source.HUB
    assert abs(error_ms(world, clock)) <= 1
    assert abs(clock.report()["offset_of_system_ms"] - wall_error_ms) <= 1


@pytest.mark.parametrize("hub_ms", [0, -5, 1_000_000, 9_999_999_999_999])
def test_hub_with_an_impossible_time_is_not_believed(hub_ms: int) -> None:
    clock = World().clock()
    assert not clock.hear_hub(hub_ms, asked_ms=0, answered_ms=10)
    assert not clock.is_trusted


def test_slow_answer_is_refused_until_no_quicker_one_comes() -> None:
    world = World()
    clock = world.clock()
    assert not hear(world, clock, round_trip_ms=30_000)
    assert not hear(world, clock, round_trip_ms=30_000)
    assert hear(world, clock, round_trip_ms=30_000)
    assert clock.is_trusted
    assert abs(error_ms(world, clock)) <= 15_000


def test_quicker_answer_improves_what_a_slow_one_said() -> None:
    world = World()
    clock = world.clock()
    assert hear(world, clock, round_trip_ms=8_000, hub_error_ms=3_000)
    assert hear(world, clock, round_trip_ms=100)
    assert abs(error_ms(world, clock)) <= 50
    assert hear(world, clock, round_trip_ms=8_000, hub_error_ms=3_000)
    assert abs(error_ms(world, clock)) <= 50


@pytest.mark.parametrize("by_ms", [-HOUR_MS, HOUR_MS, 10 * YEAR_MS])
def test_step_that_nobody_vouches_for_changes_nothing_and_is_said(by_ms: int) -> None:
    world = World()
    clock = world.clock()
    hear(world, clock)
    world.wall_error_ms += by_ms
    with capture_logs() as logs:
        clock.check()
        clock.check()
    assert [entry["by_ms"] for entry in logs if entry["event"] == "system_clock_stepped"] == [by_ms]
    assert abs(error_ms(world, clock)) <= 1
    assert clock.steps == 1


def test_step_of_a_synchronised_kernel_is_followed() -> None:
    world = World(is_synchronised=True, wall_error_ms=HOUR_MS)
    clock = world.clock()
    world.synchronise()
    with capture_logs() as logs:
        clock.check()
    assert error_ms(world, clock) == 0
    assert [(entry["event"], entry["by_ms"]) for entry in logs] == [
        ("system_clock_stepped", -HOUR_MS),
        ("clock_corrected", -HOUR_MS),
    ]


def test_kernel_that_loses_its_time_service_stays_trusted() -> None:
    world = World(is_synchronised=True)
    clock = world.clock()
    world.is_synchronised = False
    world.wall_error_ms = -HOUR_MS
    world.pass_time(DAY_MS)
    clock.check()
    assert clock.is_trusted
    assert error_ms(world, clock) == 0


def test_kernel_and_hub_that_differ_by_minutes_are_a_fault_and_the_hub_is_believed() -> None:
    world = World(is_synchronised=True, wall_error_ms=HOUR_MS)
    clock = world.clock()
    with capture_logs() as logs:
        hear(world, clock)
        hear(world, clock)
    assert [entry["event"] for entry in logs].count("clock_fault") == 1
    report = clock.report()
    assert (report["state"], report["source"]) == ("fault", "hub")
    assert abs(error_ms(world, clock)) <= 1


def test_fault_ends_when_kernel_and_hub_agree_again() -> None:
    world = World(is_synchronised=True, wall_error_ms=HOUR_MS)
    clock = world.clock()
    hear(world, clock)
    world.synchronise()
    with capture_logs() as logs:
        clock.check()
    assert "clock_fault_ended" in [entry["event"] for entry in logs]
    assert (clock.report()["state"], clock.source) == ("trusted", Source.KERNEL)


def test_kernel_that_jumps_away_from_the_hub_is_a_fault_before_the_hub_is_asked_again() -> None:
    world = World(is_synchronised=True)
    clock = world.clock()
    hear(world, clock)
    assert clock.source is Source.KERNEL
    world.wall_error_ms = HOUR_MS
    clock.check()
    assert clock.report()["state"] == "fault"
    assert abs(error_ms(world, clock)) <= 1


def test_small_difference_between_kernel_and_hub_is_no_fault() -> None:
    world = World(is_synchronised=True)
    clock = world.clock()
    hear(world, clock, hub_error_ms=120_000)
    assert clock.report()["state"] != "fault"
    assert error_ms(world, clock) == 0


def test_what_an_earlier_run_of_the_boot_knew_is_trusted_at_once() -> None:
    world = World(wall_error_ms=-START_MS)
    first = world.clock()
    hear(world, first)
    world.pass_time(HOUR_MS)
    second = world.clock()
    second.recall(first.anchor)
    assert second.source is Source.ANCHOR
    assert abs(error_ms(world, second)) <= 1


def test_anchor_from_later_than_now_is_of_another_boot() -> None:
    clock = World().clock()
    clock.recall(Anchor(offset_ms=START_MS, at_monotonic_ms=DAY_MS))
    assert not clock.is_trusted


def test_change_of_trust_is_told_once() -> None:
    world = World()
    clock = world.clock()
    told: list[bool] = []
    clock.on_change = lambda: told.append(clock.is_trusted)
    clock.check()
    hear(world, clock)
    clock.check()
    assert told == [True]


def test_clocks_that_are_read_a_moment_apart_are_no_news() -> None:
    world = World(is_synchronised=True)
    clock = world.clock()
    told: list[int] = []
    clock.on_change = lambda: told.append(clock.offset_ms)
    for jitter_ms in (3, -4, 2, 0):
        world.wall_error_ms = jitter_ms
        clock.check()
    assert told == []


def test_system_answers_for_its_own_clocks() -> None:
    """Whether this machine is synchronised is its own affair; that it can be asked is ours."""
    assert is_kernel_synchronised() in {True, False}
    assert wall_ms() > START_MS
    before_ms = boottime_ms()
    assert boottime_ms() >= before_ms > 0
