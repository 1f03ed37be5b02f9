from dataclasses import replace
from decimal import Decimal

import pytest
from energy_factories import DAY_MS, HALF_HOUR_MS, Sample, kinds, make_limits, make_register_series, micro, steady

from cloud_hub.energy.chain import Chain, Kind, make_chain, reading_text
from cloud_hub.energy.intake import prepare
from cloud_hub.energy.model import Cause, Direction, Exchange, FindingKind, Register

RATE = Register(max_rate_per_h=Decimal(30))


def make_day_chain(
    samples: list[Sample], *registers: Register, exchanges: tuple[Exchange, ...] = (), rate: str | None = "30"
) -> Chain:
    limits = make_limits(rate=rate)
    return make_chain(prepare(make_register_series(samples), registers, exchanges, limits), limits)


def every_half_hour(*values: float) -> list[Sample]:
    return [(DAY_MS + n * HALF_HOUR_MS, value) for n, value in enumerate(values)]


def at(half_hours: float) -> int:
    return DAY_MS + round(half_hours * HALF_HOUR_MS)


def test_a_segment_is_the_difference_of_its_readings() -> None:
    chain = make_day_chain(every_half_hour(100, 100.25, 101))
    assert chain.amounts_micro.tolist() == [250_000, 750_000]
    assert chain.kinds.tolist() == [Kind.NORMAL] * 2
    assert chain.findings == ()


def test_readings_two_intervals_apart_are_no_gap() -> None:
    chain = make_day_chain([(at(0), 100.0), (at(2), 101.0)])
    assert chain.kinds.tolist() == [Kind.NORMAL]
    assert chain.causes.tolist() == [0]


def test_readings_further_apart_are_known_in_total() -> None:
    chain = make_day_chain([(at(0), 100.0), (at(2.1), 101.0)])
    assert chain.amounts_micro.tolist() == [1_000_000]
    assert chain.kinds.tolist() == [Kind.GAP]
    assert chain.causes.tolist() == [Cause.GAP]
    assert kinds(chain.findings) == [FindingKind.GAP]


def test_a_year_without_readings_is_still_known_in_total() -> None:
    chain = make_day_chain([*every_half_hour(100, 101), (at(2 * 24 * 365), 9_000.0)])
    assert chain.amounts_micro.tolist() == [1_000_000, 8_899_000_000]
    assert chain.kinds.tolist() == [Kind.NORMAL, Kind.GAP]


def test_a_rollover_counts_through_the_top() -> None:
    chain = make_day_chain(every_half_hour(998, 999.5, 0.25, 1), replace(RATE, rollover=Decimal(1000)))
    assert chain.amounts_micro.tolist() == [1_500_000, 750_000, 750_000]
    assert chain.kinds.tolist() == [Kind.NORMAL] * 3
    assert chain.causes.tolist() == [0, Cause.ROLLOVER, 0]
    assert kinds(chain.findings) == [FindingKind.ROLLOVER]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [(950.0, 20.0, FindingKind.ROLLOVER), (800.0, 20.0, FindingKind.RESET), (950.0, 200.0, FindingKind.RESET)],
)
def test_without_a_rate_a_rollover_leads_from_the_last_tenth_to_the_first(
    before: float, after: float, expected: FindingKind
) -> None:
    samples = every_half_hour(before - 1, before, after, after + 1)
    chain = make_day_chain(samples, Register(rollover=Decimal(1000)), rate=None)
    assert kinds(chain.findings) == [expected]


def test_a_rollover_in_a_gap_is_both_and_says_when_it_may_have_turned_more_than_once() -> None:
    register = replace(RATE, rollover=Decimal(1000))
    once = make_day_chain([(at(0), 990.0), (at(10), 10.0)], register)
    often = make_day_chain([(at(0), 990.0), (at(500), 10.0)], register)
    assert once.amounts_micro.tolist() == often.amounts_micro.tolist() == [20_000_000]
    assert once.causes.tolist() == [Cause.ROLLOVER | Cause.GAP]
    assert "turns_possible" not in once.findings[-1].detail
    assert often.findings[-1].detail["turns_possible"] == 9


def test_a_reset_credits_what_can_have_been_counted_since() -> None:
    chain = make_day_chain(every_half_hour(100, 101, 102, 0.75, 1.75), RATE)
    assert chain.amounts_micro.tolist() == [1_000_000, 1_000_000, 750_000, 1_000_000]
    assert chain.kinds.tolist() == [Kind.NORMAL, Kind.NORMAL, Kind.LOWER_BOUND, Kind.NORMAL]
    (finding,) = chain.findings
    assert finding.kind is FindingKind.RESET
    assert finding.detail == {"from": "102", "to": "0.75", "credited": "0.75"}


@pytest.mark.parametrize(
    ("samples", "kind"),
    [
        pytest.param(every_half_hour(100, 101, 102, 15.3, 16), FindingKind.RESET, id="faster than it ever went"),
        pytest.param(every_half_hour(100, 101, 102, 80, 81), FindingKind.JUMP, id="faster than it can go"),
        pytest.param(every_half_hour(100, 101, 102, 900, 901), FindingKind.JUMP, id="upwards"),
    ],
)
def test_no_register_of_another_meter_is_booked(samples: list[Sample], kind: FindingKind) -> None:
    chain = make_day_chain(samples, RATE)
    assert chain.amounts_micro.tolist()[2] == 0
    assert chain.kinds.tolist()[2] == Kind.UNKNOWN
    assert kinds(chain.findings) == [kind]


def test_a_reset_in_a_gap_credits_nothing() -> None:
    chain = make_day_chain([*every_half_hour(100, 101, 102), (at(6), 0.5), (at(7), 1.5)], RATE)
    assert chain.amounts_micro.tolist()[2] == 0
    assert chain.kinds.tolist()[2] == Kind.UNKNOWN
    assert chain.causes.tolist()[2] == Cause.RESET | Cause.GAP


def test_an_exchange_uses_both_registers() -> None:
    exchange = Exchange(at(2.5), Decimal("102.4"), Decimal("7000.1"))
    chain = make_day_chain(every_half_hour(100, 101, 102, 7000.5, 7001.5), RATE, exchanges=(exchange,))
    assert int(chain.amounts_micro.sum()) == micro("2.4") + micro("1.4")
    assert set(chain.kinds.tolist()) == {Kind.NORMAL}
    (finding,) = chain.findings
    assert (finding.kind, finding.from_ms) == (FindingKind.EXCHANGE, at(2.5))
    assert finding.detail == {"closing": "102.4", "opening": "7000.1"}


@pytest.mark.parametrize(("read", "expected"), [(102.4, "2.4"), (7000.1, "2.4"), (7000.3, "2.4")])
def test_a_reading_of_the_very_instant_of_an_exchange_is_of_the_meter_that_it_fits(read: float, expected: str) -> None:
    exchange = Exchange(at(3), Decimal("102.4"), Decimal("7000.1"))
    chain = make_day_chain(every_half_hour(100, 101, 102, read, 7001.1), RATE, exchanges=(exchange,))
    assert int(chain.amounts_micro.sum()) == micro(expected) + 1_000_000


def test_a_new_meter_may_have_another_scale() -> None:
    exchange = Exchange(at(2.5), Decimal(102), Decimal(0))
    old = replace(RATE, until_ms=at(2.5))
    new = replace(RATE, from_ms=at(2.5), scale=Decimal("0.5"))
    chain = make_day_chain(every_half_hour(100, 101, 102, 1, 3), old, new, exchanges=(exchange,))
    assert int(chain.amounts_micro.sum()) == micro(2) + micro("1.5")
    assert set(chain.kinds.tolist()) == {Kind.NORMAL}


def test_a_closing_reading_below_what_was_read_books_nothing_and_says_so() -> None:
    exchange = Exchange(at(2.5), Decimal(50), Decimal(0))
    chain = make_day_chain(every_half_hour(100, 101, 102, 0.5, 1), RATE, exchanges=(exchange,))
    assert int(chain.amounts_micro.sum()) == micro(2) + micro(1)
    assert FindingKind.JUMP in kinds(chain.findings)
    assert Kind.UNKNOWN in chain.kinds.tolist()


def test_where_the_scale_changes_each_side_counts_with_its_own() -> None:
    change = at(1.5)
    chain = make_day_chain(
        every_half_hour(100, 101, 102, 103),
        replace(RATE, until_ms=change),
        replace(RATE, from_ms=change, scale=Decimal(10)),
    )
    assert int(chain.amounts_micro.sum()) == micro("1.5") + micro(15)
    assert [bits for bits in chain.causes.tolist() if bits] == [Cause.SCALE_CHANGE] * 3
    assert kinds(chain.findings) == [FindingKind.SCALE_CHANGE]


def test_where_a_wrong_unit_is_mended_on_both_sides_the_energy_goes_on() -> None:
    change = at(1.5)
    kwh, wh = replace(RATE, until_ms=change), replace(RATE, from_ms=change, scale=Decimal("0.001"))
    chain = make_day_chain(every_half_hour(100, 101, 102_000, 103_000), kwh, wh)
    assert chain.amounts_micro.tolist() == [1_000_000] * 3
    assert kinds(chain.findings) == [FindingKind.SCALE_CHANGE]


def test_readings_that_no_record_speaks_for_are_left_out() -> None:
    chain = make_day_chain(every_half_hour(100, 101, 102, 103), replace(RATE, from_ms=at(1)))
    assert chain.at_ms.tolist() == [at(1), at(2), at(3)]


def test_a_step_back_of_the_last_digit_is_nothing() -> None:
    chain = make_day_chain(every_half_hour(16_777_218.0, 16_777_216.0), rate="100000")
    assert chain.amounts_micro.tolist() == [0]
    assert chain.kinds.tolist() == [Kind.NORMAL]
    assert chain.findings == ()


def test_a_net_register_counts_backwards() -> None:
    chain = make_day_chain(every_half_hour(100, 98, 99), replace(RATE, direction=Direction.NET))
    assert chain.amounts_micro.tolist() == [-2_000_000, 1_000_000]
    assert set(chain.kinds.tolist()) == {Kind.NORMAL}


@pytest.mark.parametrize("scale", ["1", "1000", "0.001", "0.3333333", "123456.789"])
def test_scaled_segments_add_up_to_the_scaled_register(scale: str) -> None:
    samples = [(at_ms, value) for at_ms, value in steady(5_000_000, 0.123457, 50)]
    chain = make_day_chain(samples, Register(scale=Decimal(scale)), rate=None)
    first, last = (Decimal(round(samples[n][1] * 1_000_000)) * Decimal(scale) for n in (0, -1))
    assert abs(int(chain.amounts_micro.sum()) - (last - first)) <= 1


def test_a_register_too_big_for_64_bits_after_scaling_is_still_exact() -> None:
    chain = make_day_chain(every_half_hour(1e12, 1e12 + 5), Register(scale=Decimal(1_000_000)), rate=None)
    assert chain.amounts_micro.tolist() == [5 * 10**12]


def test_a_glitch_between_readings_an_interval_apart_leaves_an_estimate() -> None:
    chain = make_day_chain(every_half_hour(100, 101, 0, 103, 104))
    assert chain.amounts_micro.tolist() == [1_000_000, 2_000_000, 1_000_000]
    assert chain.kinds.tolist() == [Kind.NORMAL, Kind.GAP, Kind.NORMAL]
    assert chain.causes.tolist() == [0, Cause.ZERO_READ, 0]
    (finding,) = chain.findings
    assert (finding.kind, finding.from_ms, finding.detail["value"]) == (FindingKind.ZERO_READ, at(2), "0")


def test_a_small_unit_is_written_out() -> None:
    assert reading_text(1) == "0.000001"
    assert reading_text(1_000_000_000_000) == "1000000"
