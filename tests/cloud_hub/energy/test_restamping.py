from collections.abc import Sequence

import numpy as np
import pytest
from energy_factories import DAY_MS, HOUR_MS, MINUTE_MS, kinds

from cloud_hub.energy.model import FindingKind
from cloud_hub.energy.restamping import Restamped, restamp

SECOND_MS = 1000
COUNT = 40


def restamp_hours(shift: Sequence[int], travel: Sequence[int], values: Sequence[float] | None = None) -> Restamped:
    """Restamp hourly readings; `shift`: what their clock was off by, `travel`: how long they were on the way, in ms."""
    true = DAY_MS + HOUR_MS * np.arange(len(shift), dtype=np.int64)
    observed, received = true + np.array(shift, dtype=np.int64), true + np.array(travel, dtype=np.int64)
    numbers = np.arange(len(shift), dtype=np.float64) if values is None else np.array(values)
    return restamp(observed, received, numbers, interval_ms=HOUR_MS, tolerance_ms=30 * SECOND_MS)


def hours(restamped: Restamped) -> list[float]:
    return [(at_ms - DAY_MS) / HOUR_MS for at_ms in restamped.observed_ms.tolist()]


def off(amount_ms: int, first: int = 10, last: int = 20) -> list[int]:
    return [amount_ms if first <= n <= last else 0 for n in range(COUNT)]


def test_readings_of_a_right_clock_stay() -> None:
    restamped = restamp_hours([0] * COUNT, [n % 7 * SECOND_MS for n in range(COUNT)])
    assert hours(restamped) == list(range(COUNT))
    assert restamped.findings == ()
    assert not restamped.shifted.any()


@pytest.mark.parametrize("amount_ms", [HOUR_MS, 2 * HOUR_MS, 15 * MINUTE_MS, 90 * SECOND_MS, -HOUR_MS, -3 * HOUR_MS])
def test_a_block_of_a_wrong_clock_is_shifted_as_a_block(amount_ms: int) -> None:
    restamped = restamp_hours(off(amount_ms), [0] * COUNT)
    assert hours(restamped) == list(range(COUNT))
    assert restamped.shifted.tolist() == [10 <= n <= 20 for n in range(COUNT)]
    (finding,) = restamped.findings
    assert finding.kind is FindingKind.CLOCK_SHIFT
    assert (finding.from_ms, finding.to_ms) == (DAY_MS + 10 * HOUR_MS, DAY_MS + 20 * HOUR_MS)
    assert finding.detail == {"shift_ms": -amount_ms, "readings": 11}


def test_the_usual_time_on_the_way_is_not_taken_for_a_clock() -> None:
    restamped = restamp_hours(off(HOUR_MS), [5 * SECOND_MS] * COUNT)
    assert hours(restamped) == list(range(COUNT))


def test_an_hour_is_an_hour_to_the_second_in_spite_of_the_time_on_the_way() -> None:
    restamped = restamp_hours(off(HOUR_MS), [n % 9 * SECOND_MS for n in range(COUNT)])
    assert hours(restamped) == list(range(COUNT))


def test_a_clock_that_was_always_fast_is_set_right() -> None:
    assert hours(restamp_hours([HOUR_MS] * COUNT, [0] * COUNT)) == list(range(COUNT))


def test_readings_that_waited_for_the_line_are_not_shifted() -> None:
    waiting = [(20 - n) * HOUR_MS if 10 <= n <= 20 else 0 for n in range(COUNT)]
    restamped = restamp_hours([0] * COUNT, waiting)
    assert hours(restamped) == list(range(COUNT))
    assert restamped.findings == ()


def test_a_line_that_is_always_late_is_no_clock() -> None:
    restamped = restamp_hours([0] * COUNT, [30 * MINUTE_MS] * COUNT)
    assert hours(restamped) == list(range(COUNT))
    assert restamped.findings == ()


def test_a_line_that_becomes_late_is_no_clock() -> None:
    restamped = restamp_hours([0] * COUNT, [2 * HOUR_MS if n >= 10 else 0 for n in range(COUNT)])
    assert restamped.findings == ()


def test_what_was_received_twice_is_named_and_marked_once() -> None:
    observed = DAY_MS + HOUR_MS * np.array([0, 1, 1, 2, 2, 3, 4, 4], dtype=np.int64)
    received = observed + np.array([0, 0, 40, 0, 40, 0, 0, 9], dtype=np.int64) * SECOND_MS
    values = np.array([0, 1, 1, 2, 2, 3, 4, 5], dtype=np.float64)
    restamped = restamp(observed, received, values, interval_ms=HOUR_MS, tolerance_ms=30_000)
    assert restamped.repeated.tolist() == [False, False, True, False, True, False, False, False]
    (finding,) = restamped.findings
    assert (finding.kind, finding.from_ms, finding.to_ms) == (
        FindingKind.DUPLICATE,
        DAY_MS + HOUR_MS,
        DAY_MS + 2 * HOUR_MS,
    )
    assert finding.detail == {"readings": 2}


def test_what_was_overtaken_is_named_and_stays() -> None:
    travel = [0] * COUNT
    travel[5], travel[6] = 3 * HOUR_MS, 2 * HOUR_MS - SECOND_MS
    restamped = restamp_hours([0] * COUNT, travel)
    assert hours(restamped) == list(range(COUNT))
    (finding,) = restamped.findings
    assert (finding.kind, finding.from_ms, finding.to_ms) == (
        FindingKind.OUT_OF_ORDER,
        DAY_MS + 5 * HOUR_MS,
        DAY_MS + 6 * HOUR_MS,
    )


def test_events_far_apart_are_named_apart() -> None:
    travel = [0] * COUNT
    travel[5], travel[25] = 2 * HOUR_MS, 2 * HOUR_MS
    assert kinds(restamp_hours([0] * COUNT, travel).findings) == [FindingKind.OUT_OF_ORDER] * 2


def test_the_order_in_the_file_makes_no_difference() -> None:
    observed = DAY_MS + HOUR_MS * np.arange(COUNT, dtype=np.int64) + np.array(off(HOUR_MS))
    received = DAY_MS + HOUR_MS * np.arange(COUNT, dtype=np.int64)
    values = np.arange(COUNT, dtype=np.float64)
    order = np.random.default_rng(3).permutation(COUNT)
    plain = restamp(observed, received, values, interval_ms=HOUR_MS, tolerance_ms=30_000)
    mixed = restamp(observed[order], received[order], values[order], interval_ms=HOUR_MS, tolerance_ms=30_000)
    assert mixed.observed_ms.tolist() == plain.observed_ms[order].tolist()
    assert mixed.findings == plain.findings


def test_nothing_is_nothing() -> None:
    none = np.zeros(0, dtype=np.int64)
    restamped = restamp(none, none, np.zeros(0), interval_ms=HOUR_MS, tolerance_ms=30_000)
    assert len(restamped.observed_ms) == 0
    assert restamped.findings == ()
