"""True load curves, registers derived from them, broken: what can be known is kept, what cannot be known says so."""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from random import Random

import numpy as np
from energy_factories import (
    DAY,
    DAY_MS,
    HALF_HOUR_MS,
    MINUTE_MS,
    Sample,
    day_grid,
    make_limits,
    make_register_series,
    measure_day,
    total,
)
from hypothesis import assume, given
from hypothesis import strategies as st

from cloud_hub.energy.measuring import READINGS_BESIDE, measure
from cloud_hub.energy.model import COMPLETE, Cause, Exchange, IntervalQuality, Measured, Register
from cloud_hub.energy.plausibility import Limits
from cloud_hub.readings.series import Series

RATE = 30
MODULUS = 10_000_000
"""In thousandths, as all registers here: they have three decimals."""
LIMITS = make_limits(rate=str(RATE))
GRID = day_grid(days=2)
BEFORE, AFTER = 16, 16
"""So many readings lie beyond each end of the grid."""
COUNT = BEFORE + 2 * 48 + AFTER + 1
APART = 14


class Fault(StrEnum):
    """What is done to a stretch of readings. The energy stays known in total with all but the last three."""

    GAP = "gap"
    LONG_GAP = "long gap"
    ZERO_READ = "zero read"
    DIP = "dip"
    SPIKE = "spike"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    RECORDED_EXCHANGE = "exchange"
    RESET = "reset"
    UNRECORDED_EXCHANGE = "exchange without a record"
    JUMP = "jump"


UNKNOWABLE = frozenset({Fault.RESET, Fault.UNRECORDED_EXCHANGE, Fault.JUMP})


@dataclass(frozen=True)
class Story:
    """What happened, and what was read of it."""

    truth: tuple[int, ...]
    """The true register at each half hour, in thousandths, never falling."""
    samples: tuple[Sample, ...]
    exchanges: tuple[Exchange, ...]
    faults: tuple[tuple[int, Fault], ...]

    @property
    def known(self) -> bool:
        return not any(fault in UNKNOWABLE for _, fault in self.faults)

    def true_amounts(self) -> list[int]:
        """Of each interval of the grid, in micro."""
        inside = self.truth[BEFORE : len(self.truth) - AFTER]
        return [1000 * (later - earlier) for earlier, later in pairwise(inside)]


@st.composite
def stories(draw: st.DrawFn, faults: frozenset[Fault] = frozenset(Fault)) -> Story:
    """Draw a load curve in steps of half an hour, its register, and faults that are well apart from each other."""
    chance = np.random.default_rng(draw(st.integers(0, 2**32)))
    loads = chance.integers(0, draw(st.sampled_from([1, 10, 300, 8_001])), COUNT - 1)
    loads[chance.random(COUNT - 1) < draw(st.sampled_from([0.0, 0.5]))] = 0
    start = draw(st.integers(20_000, MODULUS - 1))
    truth = np.concatenate([[start], start + np.cumsum(loads)]).tolist()
    slots = range(BEFORE + 2, COUNT - AFTER - 4, APART)
    chosen = [draw(st.none() | st.sampled_from(sorted(faults))) for _ in slots]
    broken = tuple((slot, fault) for slot, fault in zip(slots, chosen, strict=True) if fault)
    samples: dict[int, list[int]] = {n: [value % MODULUS] for n, value in enumerate(truth)}
    exchanges: list[Exchange] = []
    for slot, fault in broken:
        length = draw(st.integers(2 if fault is Fault.GAP else 1, 3))  # one alone is no gap, only less exact
        if fault is Fault.LONG_GAP:
            for n in range(slot, slot + 8):
                samples.pop(n, None)
            continue
        if fault is Fault.RECORDED_EXCHANGE:
            exchanges.append(_exchange(draw, samples, slot))
        elif fault in UNKNOWABLE:
            _restart(draw, samples, slot, fault)
        else:
            _spoil(draw, samples, range(slot, slot + length), fault)
    rows = [(DAY_MS + (n - BEFORE) * HALF_HOUR_MS, value / 1000) for n, values in samples.items() for value in values]
    return Story(tuple(truth), tuple(rows), tuple(exchanges), broken)


def _spoil(draw: st.DrawFn, samples: dict[int, list[int]], places: range, fault: Fault) -> None:
    for n in places:
        (value,) = samples[n]
        if fault is Fault.GAP:
            del samples[n]
        elif fault is Fault.DUPLICATE:
            samples[n] = [value, value]
        elif fault is Fault.CONFLICT:
            samples[n] = [value, (value + draw(st.integers(200_000, MODULUS - 200_000))) % MODULUS]
        elif fault in {Fault.ZERO_READ, Fault.DIP}:
            if value > 300_000:  # of a register that has just begun, a dip is no less likely than a second reset
                samples[n] = [0 if fault is Fault.ZERO_READ else draw(st.integers(1, value - 200_000))]
        else:
            samples[n] = [value + draw(st.integers(400_000, 4 * MODULUS))]


def _exchange(draw: st.DrawFn, samples: dict[int, list[int]], slot: int) -> Exchange:
    """Let a new meter count from `slot` on; both are read at that moment, which is no reading's."""
    closing, opening = samples[slot][0], draw(st.integers(0, MODULUS - 1))
    del samples[slot]
    for n in [n for n in samples if n > slot]:
        samples[n] = [(value - closing + opening) % MODULUS for value in samples[n]]
    at_ms = DAY_MS + (slot - BEFORE) * HALF_HOUR_MS
    return Exchange(at_ms, Decimal(closing) / 1000, Decimal(opening) / 1000)


def _restart(draw: st.DrawFn, samples: dict[int, list[int]], slot: int, fault: Fault) -> None:
    lost = samples[slot][0]
    assume(lost < MODULUS - 100_000)  # nobody can tell a reset from a rollover there
    opening = 0
    if fault is not Fault.RESET:  # nobody can tell a new meter that begins where the old one ended, nor one near 0
        most = MODULUS - 200_000 if fault is Fault.UNRECORDED_EXCHANGE else max(200_000, MODULUS - lost - 200_000)
        opening = (lost + draw(st.integers(200_000, most))) % MODULUS
        assume(opening > 100_000 and abs(opening - lost) > 100_000)
    for n in [n for n in samples if n >= slot]:
        samples[n] = [(value - lost + opening) % MODULUS for value in samples[n]]


REGISTER = Register(rollover=Decimal(MODULUS) / 1000)


def measure_story(story: Story) -> Measured:
    series = make_register_series(story.samples)
    return measure(series, [REGISTER], story.exchanges, GRID, limits=LIMITS)


def plainly_measured(measured: Measured) -> list[bool]:
    """Say of which intervals nothing is to be said: their amounts must be true."""
    intervals = measured.intervals
    spotless = (intervals.qualities == IntervalQuality.MEASURED) & (intervals.causes == Cause.NONE)
    return [bool(one) for one in spotless & (intervals.completenesses == COMPLETE)]


@given(stories(frozenset(Fault) - UNKNOWABLE))
def test_what_can_be_known_is_kept_to_the_millionth(story: Story) -> None:
    assert total(measure_story(story)) == sum(story.true_amounts())


@given(stories())
def test_an_interval_of_which_nothing_is_said_is_true(story: Story) -> None:
    measured = measure_story(story)
    amounts = measured.intervals.amounts_micro.tolist()
    for amount, true, spotless in zip(amounts, story.true_amounts(), plainly_measured(measured), strict=True):
        assert amount == true or not spotless


@given(stories())
def test_nothing_is_booked_twice_nor_invented(story: Story) -> None:
    measured = measure_story(story)
    assert total(measured) <= sum(story.true_amounts())
    assert int(measured.intervals.amounts_micro.min()) >= 0


@given(stories())
def test_what_is_missing_in_total_is_said_to_be(story: Story) -> None:
    measured = measure_story(story)
    doubted = (measured.intervals.qualities == IntervalQuality.PARTIAL) | (
        measured.intervals.qualities == IntervalQuality.MISSING
    )
    assert total(measured) == sum(story.true_amounts()) or doubted.any()
    assert bool(measured.findings) or not [fault for _, fault in story.faults if fault in UNKNOWABLE - {Fault.RESET}]


@given(stories(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_makes_no_difference(story: Story, chance: Random) -> None:
    shuffled = list(story.samples)
    chance.shuffle(shuffled)
    again = measure_story(replace(story, samples=tuple(shuffled)))
    assert _bytes(again) == _bytes(measure_story(story))


def _bytes(measured: Measured) -> tuple[object, ...]:
    columns = measured.intervals
    arrays = (columns.amounts_micro, columns.qualities, columns.completenesses, columns.causes)
    return (*(column.tobytes() for column in arrays), measured.gaps, measured.findings)


messes = st.lists(
    st.tuples(
        st.sampled_from([1, 1, 2, 15, 30, 90]),
        st.one_of(st.integers(0, 20_000), st.just(0), st.integers(0, 9), st.integers(50_000, 10**8)),
        st.booleans(),
    ),
    min_size=2,
    max_size=160,
)
"""Minutes since the last reading, a number of thousandths, and whether it is to be added to the last or to be it."""


def mess_samples(mess: list[tuple[int, int, bool]]) -> list[Sample]:
    at_ms, value, samples = DAY_MS - 36 * 3_600_000, 5_000_000, []
    for minutes, number, is_step in mess:
        at_ms += minutes * MINUTE_MS
        read = value + number if is_step else number
        if is_step and number <= 20_000:
            value = read
        samples.append((at_ms, read / 1000))
    return samples


@given(messes)
def test_no_interval_holds_more_than_can_be(mess: list[tuple[int, int, bool]]) -> None:
    limits = make_limits(rate=str(RATE), slack_ms=0)
    grid = day_grid(DAY - timedelta(days=1), days=8)
    measured = measure(make_register_series(mess_samples(mess)), [REGISTER], [], grid, limits=limits)
    segments = 1 + len(mess)  # each of them may be one step of the register longer, which is a whole kWh at most
    most = int(RATE * Decimal("1.1") / 2 * 1_000_000) + segments * 1_000_000
    assert int(measured.intervals.amounts_micro.max()) <= most
    assert int(measured.intervals.amounts_micro.min()) >= 0


@given(messes, st.integers(-1, 3), st.sampled_from([None, RATE]))
def test_where_the_loaded_window_begins_and_ends_makes_no_difference(
    mess: list[tuple[int, int, bool]], offset: int, rate: int | None
) -> None:
    limits = make_limits(rate=None if rate is None else str(rate))
    series = make_register_series(mess_samples(mess))
    grid = day_grid(DAY + timedelta(days=offset))
    start, end = (int(bound) for bound in grid.bounds_ms[[0, -1]])
    whole = measure(series, [REGISTER], [], grid, limits=limits)
    loaded = _window(series, start, end, limits)
    assert _bytes(measure(loaded, [REGISTER], [], grid, limits=limits)) == _bytes(whole)


def _window(series: Series, start_ms: int, end_ms: int, limits: Limits) -> Series:
    """Take what the ledger loads at least."""
    margin = 2 * limits.gap_limit_ms
    instants = series.observed_at_ms
    first, start, end, last = np.searchsorted(instants, [start_ms - margin, start_ms, end_ms, end_ms + margin]).tolist()
    first, last = min(first, start - READINGS_BESIDE), max(last, end + READINGS_BESIDE + 1)
    return series.take(np.arange(max(0, first), min(len(series), last)))


@given(messes, st.data())
def test_a_changed_reading_changes_nothing_beyond_its_neighbours(
    mess: list[tuple[int, int, bool]], data: st.DataObject
) -> None:
    samples = mess_samples(mess)
    place = data.draw(st.integers(0, len(samples) - 1))
    changed = [*samples]
    changed[place] = (samples[place][0], data.draw(st.sampled_from([0.0, 9_000.0, samples[place][1] + 0.1])))
    grid = day_grid(DAY - timedelta(days=2), days=4)
    before, after = (measure_day(one, register=REGISTER, grid=grid, limits=LIMITS) for one in (samples, changed))
    margin = 2 * LIMITS.gap_limit_ms
    first = min(samples[max(0, place - READINGS_BESIDE)][0], samples[place][0] - margin)
    last = max(samples[min(len(samples) - 1, place + READINGS_BESIDE)][0], samples[place][0] + margin)
    away = (grid.bounds_ms[1:] <= first) | (grid.bounds_ms[:-1] >= last)
    assert (before.intervals.amounts_micro == after.intervals.amounts_micro)[away].all()
    assert (before.intervals.qualities == after.intervals.qualities)[away].all()
    assert (before.intervals.causes == after.intervals.causes)[away].all()


@given(stories())
def test_a_grid_computed_day_by_day_is_the_grid_computed_at_once(story: Story) -> None:
    whole = measure_story(story)
    series = make_register_series(story.samples)
    for number, part in enumerate((slice(0, 48), slice(48, 96))):
        grid = day_grid(date.fromordinal(DAY.toordinal() + number))
        one = measure(series, [REGISTER], story.exchanges, grid, limits=LIMITS)
        assert one.intervals.amounts_micro.tolist() == whole.intervals.amounts_micro[part].tolist()
        assert one.intervals.causes.tolist() == whole.intervals.causes[part].tolist()
