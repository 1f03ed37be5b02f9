from decimal import Decimal

import pytest
from energy_factories import (
    DAY_MS,
    HALF_HOUR_MS,
    MINUTE_MS,
    make_limits,
    make_register_series,
    steady,
)

from cloud_hub.energy.cleaning import Verdict, judge
from cloud_hub.energy.intake import prepare
from cloud_hub.energy.model import Direction, Exchange, Register
from protocol.quality import EXCEPTION_BASE, Quality

GOOD, ZERO, DIP, SPIKE, NOISE, CONFLICT = Verdict


def judge_values(
    values: list[float],
    *,
    rate: str | None = "30",
    register: Register | None = None,
    every_ms: int = HALF_HOUR_MS,
    exchanges: tuple[Exchange, ...] = (),
) -> list[Verdict]:
    """Judge readings that are `every_ms` apart, in half hours."""
    series = make_register_series((DAY_MS + n * every_ms, value) for n, value in enumerate(values))
    limits = make_limits(rate=rate)
    return [Verdict(code) for code in judge(prepare(series, [register or Register()], exchanges, limits), limits)]


@pytest.mark.parametrize("rate", ["30", None], ids=["rate known", "rate unknown"])
@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        pytest.param([100, 101, 0, 103, 104, 105], {2: ZERO}, id="a zero read"),
        pytest.param([100, 101, 40, 103, 104, 105], {2: DIP}, id="a dip"),
        pytest.param([100, 101, 9_000, 103, 104, 105], {2: SPIKE}, id="a spike"),
        pytest.param([100, 101, 0, 0, 104, 105, 106], {2: ZERO, 3: ZERO}, id="two zero reads in a row"),
        pytest.param([97, 98, 99, 0, 0, 0, 103, 104, 105], {3: ZERO, 4: ZERO, 5: ZERO}, id="three in a row"),
        pytest.param([99, 100, 101, 9_000, 9_001, 104, 105, 106], {3: SPIKE, 4: SPIKE}, id="two spikes in a row"),
        pytest.param([100, 0, 101, 0, 102, 0, 103], {1: ZERO, 3: ZERO, 5: ZERO}, id="every other one zero"),
        pytest.param([100, 101, 102, 0, 104], {3: ZERO}, id="with one reading after it"),
        pytest.param([100, 101, -5, 103, 104], {2: DIP}, id="a negative reading"),
        pytest.param([100, 101, 0, 0.5, 1, 1.5, 2], {}, id="a reset"),
        pytest.param([100, 101, 102, 0], {}, id="a drop at the end of what is known"),
        pytest.param([0, 100, 101, 102], {}, id="a zero at the beginning of what is known"),
        pytest.param([100, 100, 100, 100], {}, id="a register at rest"),
        pytest.param([0, 0, 0, 9_000, 0, 0, 0], {3: SPIKE}, id="a spike of a register that never counted"),
        pytest.param([100, 101, 0, 0.5, 60, 1, 1.5], {4: SPIKE}, id="a spike soon after a reset"),
        pytest.param([100, 101, 0, 103, 104, 0, 0.5, 1, 1.5, 2], {2: ZERO}, id="a zero read just before a reset"),
    ],
)
def test_what_lies_off_the_way_of_its_neighbours_is_dropped(
    values: list[float], wrong: dict[int, Verdict], rate: str | None
) -> None:
    verdicts = judge_values(values, rate=rate)
    assert {n: verdict for n, verdict in enumerate(verdicts) if verdict is not GOOD} == wrong


def test_a_jump_that_stays_is_believed() -> None:
    assert set(judge_values([100, 101, 9_000, 9_001, 9_002])) == {GOOD}


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        pytest.param([998, 999, 0, 1, 2], {}, id="alone"),
        pytest.param([998, 999, 999.5, 0.5, 0, 1, 2], {4: ZERO}, id="with a zero read after it"),
        pytest.param([997, 998, 0, 999, 0.5, 1, 2], {2: ZERO}, id="with a zero read before it"),
        pytest.param([997, 998, 999, 500, 0.5, 1, 2], {3: DIP}, id="with a wrong reading in between"),
    ],
)
def test_a_rollover_is_no_dip(values: list[float], wrong: dict[int, Verdict]) -> None:
    verdicts = judge_values(values, register=Register(rollover=Decimal(1000), max_rate_per_h=Decimal(10)))
    assert {n: verdict for n, verdict in enumerate(verdicts) if verdict is not GOOD} == wrong


def test_a_dip_next_to_a_gap_is_dropped() -> None:
    samples = [
        *steady(100, 1, 4),
        (DAY_MS + 40 * HALF_HOUR_MS, 50.0),
        *steady(141, 1, 4, start_ms=DAY_MS + 41 * HALF_HOUR_MS),
    ]
    limits = make_limits()
    verdicts = judge(prepare(make_register_series(samples), [Register()], [], limits), limits)
    assert verdicts.tolist() == [GOOD] * 4 + [DIP] + [GOOD] * 4


def test_a_quarter_of_an_hour_of_zeros_between_minute_readings_is_dropped() -> None:
    samples = steady(100, 0.01, 120, every_ms=MINUTE_MS)
    spoilt = [(at_ms, 0.0 if 50 <= n < 65 else value) for n, (at_ms, value) in enumerate(samples)]
    limits = make_limits()
    verdicts = judge(prepare(make_register_series(spoilt), [Register()], [], limits), limits)
    assert verdicts.tolist() == [ZERO if 50 <= n < 65 else GOOD for n in range(120)]


def test_readings_that_went_over_the_rate_for_a_moment_but_fit_are_kept() -> None:
    values = [100, 100, 100.9, 101, 101]
    assert set(judge_values(values, rate="1", every_ms=HALF_HOUR_MS)) == {GOOD}


def test_the_last_digit_of_a_single_precision_register_may_tremble() -> None:
    values = [16_777_216.0, 16_777_218.0, 16_777_216.0, 16_777_218.0, 16_777_220.0, 16_777_222.0]
    assert set(judge_values(values, rate="100000")) == {GOOD, NOISE}


def test_a_net_register_may_run_backwards_but_not_jump() -> None:
    register = Register(direction=Direction.NET, max_rate_per_h=Decimal(30))
    values = [100.0, 95, 90, 9_000, 92, 0, 85, 80]
    assert judge_values(values, register=register) == [GOOD, GOOD, GOOD, SPIKE, GOOD, ZERO, GOOD, GOOD]


def test_of_two_values_at_one_instant_the_one_that_fits_is_believed() -> None:
    samples = [*steady(100, 1, 5), (DAY_MS + 2 * HALF_HOUR_MS, 55.0)]
    limits = make_limits()
    readings = prepare(make_register_series(samples), [Register()], [], limits)
    verdicts = judge(readings, limits)
    assert readings.micro[verdicts == CONFLICT].tolist() == [55_000_000]


def test_of_two_values_that_fit_the_greater_is_believed() -> None:
    samples = [*steady(100, 1, 5), (DAY_MS + 2 * HALF_HOUR_MS, 102.25)]
    limits = make_limits()
    readings = prepare(make_register_series(samples), [Register()], [], limits)
    verdicts = judge(readings, limits)
    assert readings.micro[verdicts == CONFLICT].tolist() == [102_000_000]


def test_the_same_value_twice_at_one_instant_is_one_reading() -> None:
    samples = [*steady(100, 1, 5), (DAY_MS + 2 * HALF_HOUR_MS, 102.0)]
    assert len(prepare(make_register_series(samples), [Register()], [], make_limits())) == 5


def test_readings_of_the_old_meter_after_an_exchange_was_entered_too_early_are_dropped() -> None:
    exchange = Exchange(DAY_MS + HALF_HOUR_MS + MINUTE_MS, Decimal(102), Decimal(0))
    verdicts = judge_values([100, 101, 101.5, 101.8, 0.5, 1, 1.5], exchanges=(exchange,))
    assert verdicts == [
        GOOD,
        GOOD,
        GOOD,
        GOOD,
        SPIKE,
        SPIKE,
        GOOD,
        GOOD,
        GOOD,
    ]  # the entered ones stand third and fourth


def test_readings_without_a_value_are_not_looked_at() -> None:
    samples = [(DAY_MS + n * HALF_HOUR_MS, value) for n, value in enumerate([100.0, float("nan"), 5.0, 7.0, 102.0])]
    quality = [Quality.GOOD, Quality.TIMEOUT, EXCEPTION_BASE + 2, Quality.SUPPRESSED, Quality.CLOCK_UNCERTAIN]
    readings = prepare(make_register_series(samples, quality=quality), [Register()], [], make_limits())
    assert readings.micro.tolist() == [100_000_000, 102_000_000]
    assert readings.clock_uncertain.tolist() == [False, True]


def test_more_glitch_samples_than_are_looked_at_are_refused() -> None:
    limits = make_limits(glitch_samples=13)
    readings = prepare(make_register_series(steady(100, -1, 5)), [Register()], [], limits)
    with pytest.raises(ValueError, match="glitch_samples is 13"):
        judge(readings, limits)


def test_an_absurd_value_does_not_overflow() -> None:
    assert judge_values([100, 101, 1.8e19, 103, 104]) == [GOOD, GOOD, SPIKE, GOOD, GOOD]
