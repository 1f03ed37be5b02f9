import pytest
from factories import make_point

from edge_agent.domain.plausibility import assess
from protocol.quality import Quality, has_value

COUNTER = make_point("energy", type="uint32", quantity="active_energy", rollover=10_000)
ENDLESS = make_point("energy", type="uint64", quantity="active_energy")


@pytest.mark.parametrize(
    ("quantity", "value", "quality"),
    [
        ("voltage", 231.2, Quality.GOOD),
        ("voltage", -48.0, Quality.GOOD),
        ("active_power", -5000.0, Quality.GOOD),
        ("frequency", 50.02, Quality.GOOD),
        ("frequency", -0.1, Quality.OUT_OF_RANGE),
        ("frequency", 6553.5, Quality.OUT_OF_RANGE),
        ("power_factor", -1.0, Quality.GOOD),
        ("power_factor", 1.001, Quality.GOOD),
        ("power_factor", 1.2, Quality.OUT_OF_RANGE),
        ("power_factor_four_quadrant", 1.2, Quality.GOOD),
        ("temperature", -300.0, Quality.OUT_OF_RANGE),
        ("state_of_charge", 200.0, Quality.OUT_OF_RANGE),
    ],
)
def test_only_the_impossible_is_out_of_range(quantity: str, value: float, quality: Quality) -> None:
    assert assess(make_point(quantity=quantity), value) is quality


def test_missing_value_is_not_available() -> None:
    assert assess(COUNTER, None, 5.0) is Quality.NOT_AVAILABLE


@pytest.mark.parametrize(
    ("value", "previous", "quality"),
    [
        (100.0, None, Quality.GOOD),
        (100.0, 100.0, Quality.GOOD),
        (101.0, 100.0, Quality.GOOD),
        (5.0, 9_990.0, Quality.GOOD),
        (99.0, 100.0, Quality.COUNTER_REGRESSED),
        (0.0, 5_000.0, Quality.COUNTER_REGRESSED),
        (9_000.0, 9_990.0, Quality.COUNTER_REGRESSED),
    ],
    ids=["first", "same", "more", "rollover", "back", "reset", "back near the end"],
)
def test_counter_runs_backwards_only_when_it_rolls_over(value: float, previous: float | None, quality: Quality) -> None:
    assert assess(COUNTER, value, previous) is quality


def test_counter_without_a_known_rollover_never_rolls_over() -> None:
    assert assess(ENDLESS, 0.0, 2.0**63) is Quality.COUNTER_REGRESSED


def test_gauge_may_fall() -> None:
    assert assess(make_point(), 1.0, 230.0) is Quality.GOOD


def test_doubtful_value_travels_with_its_code() -> None:
    assert has_value(Quality.OUT_OF_RANGE)
    assert has_value(Quality.COUNTER_REGRESSED)
