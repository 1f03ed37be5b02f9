"""Laws of the hub's judgement: every number counts once, and nothing that is held is asked for again."""

from hypothesis import given
from hypothesis import strategies as st
from ingest_factories import STREAM, make_hello

from cloud_hub.ingest.contract import (
    StreamRanges,
    clip,
    contradicts,
    judge,
    never_arrived,
    next_incarnation,
    quarantine,
    touching,
)
from protocol.ranges import Range, RangeSet

numbers = st.integers(1, 30)
ranges = st.builds(lambda a, b: Range(min(a, b), max(a, b)), numbers, numbers)
sets = st.lists(ranges, max_size=4).map(RangeSet)


@st.composite
def batches(draw: st.DrawFn) -> tuple[RangeSet, RangeSet]:
    """Draw the scans and the gaps of one batch: they fill a range and share no number."""
    whole = RangeSet([draw(ranges)])
    gaps = whole & draw(sets)
    return whole - gaps, gaps


@st.composite
def histories(draw: st.DrawFn) -> StreamRanges:
    """Draw what a stream can come to by batches and quarantines."""
    stream = StreamRanges()
    for content in draw(st.lists(st.one_of(batches(), ranges), max_size=6)):
        stream = quarantine(stream, content) if isinstance(content, Range) else judge(stream, *content).after
    return stream


def disjoint(stream: StreamRanges) -> bool:
    return stream.held.size == stream.committed.size + stream.gaps.size + stream.quarantined.size


@given(histories(), batches())
def test_exactly_what_is_missing_is_inserted(stream: StreamRanges, batch: tuple[RangeSet, RangeSet]) -> None:
    judgement = judge(stream, *batch)
    assert judgement.insert == batch[0] - stream.committed
    assert judgement.after.committed == stream.committed | batch[0]


@given(histories(), batches())
def test_a_batch_that_comes_again_changes_nothing(stream: StreamRanges, batch: tuple[RangeSet, RangeSet]) -> None:
    after = judge(stream, *batch).after
    again = judge(after, *batch)
    assert (again.insert, again.record_gaps, again.replaced_gaps) == (RangeSet(), RangeSet(), RangeSet())
    assert again.after == after


@given(histories(), batches())
def test_a_number_is_in_one_set_and_never_forgotten(stream: StreamRanges, batch: tuple[RangeSet, RangeSet]) -> None:
    after = judge(stream, *batch).after
    assert disjoint(after)
    assert after.held == stream.held | batch[0] | batch[1]


@given(histories(), batches(), batches())
def test_the_order_of_scans_does_not_matter(
    stream: StreamRanges, one: tuple[RangeSet, RangeSet], other: tuple[RangeSet, RangeSet]
) -> None:
    this_way = judge(judge(stream, *one).after, *other).after
    that_way = judge(judge(stream, *other).after, *one).after
    assert this_way == that_way


@given(histories(), batches())
def test_data_takes_the_place_of_its_gap_records(stream: StreamRanges, batch: tuple[RangeSet, RangeSet]) -> None:
    judgement = judge(stream, *batch)
    assert judgement.replaced_gaps == stream.gaps & batch[0]
    assert not judgement.after.gaps & judgement.after.committed


@given(histories(), ranges)
def test_a_quarantined_batch_counts_as_held(stream: StreamRanges, refused: Range) -> None:
    after = quarantine(stream, refused)
    assert disjoint(after)
    assert after.held == stream.held | RangeSet([refused])
    assert after.accounted == stream.accounted


@given(histories(), st.integers(1, 40))
def test_what_never_arrived_is_what_was_announced_and_is_not_held(stream: StreamRanges, announced_next: int) -> None:
    missing = never_arrived(stream, announced_next)
    assert not missing & stream.held
    assert all(number < announced_next for one in missing for number in one)
    assert (missing | stream.held).covers(RangeSet([(1, announced_next - 1)] if announced_next > 1 else []))


def test_another_digest_for_the_same_numbers_contradicts() -> None:
    committed = RangeSet([(1, 10)])
    assert contradicts(committed, Range(1, 10), b"new", [b"old"])
    assert not contradicts(committed, Range(1, 10), b"old", [b"old"])
    assert not contradicts(committed, Range(1, 10), b"new", [])
    assert not contradicts(RangeSet(), Range(1, 10), b"new", [b"old"])


def test_an_agent_that_knows_more_raises_the_incarnation() -> None:
    hello = make_hello({STREAM: 11}, committed={STREAM: RangeSet([(1, 10)])}, incarnation=3)
    assert next_incarnation(3, hello, {STREAM: RangeSet([(1, 10)])}) == 3
    assert next_incarnation(3, hello, {STREAM: RangeSet([(1, 9)])}) == 4
    assert next_incarnation(3, hello, {}) == 4


def test_an_agent_of_a_higher_incarnation_raises_above_its_own() -> None:
    assert next_incarnation(1, make_hello({STREAM: 1}, incarnation=5), {}) == 6


def test_belief_of_an_older_incarnation_raises_nothing() -> None:
    hello = make_hello({STREAM: 11}, committed={STREAM: RangeSet([(1, 10)])}, incarnation=2)
    assert next_incarnation(3, hello, {}) == 3


@given(sets, numbers)
def test_clipping_leaves_what_is_not_below(whole: RangeSet, lowest: int) -> None:
    assert clip(whole, lowest) == whole & RangeSet([(lowest, 100)])


@given(sets, sets)
def test_touching_names_whole_ranges_that_hold_these_numbers(whole: RangeSet, these: RangeSet) -> None:
    touched = touching(whole, these)
    assert touched.covers(whole & these)
    assert all(one in whole.ranges and RangeSet([one]) & these for one in touched)
