"""RangeSet behaves as a set of whole numbers does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.ranges import Range, RangeSet

numbers = st.sets(st.integers(0, 60))


def from_numbers(members: set[int]) -> RangeSet:
    return RangeSet((number, number) for number in members)


def to_numbers(ranges: RangeSet) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}


@given(numbers)
def test_ranges_hold_exactly_the_numbers_put_in(members: set[int]) -> None:
    ranges = from_numbers(members)
    assert to_numbers(ranges) == members
    assert ranges.size == len(members)
    assert all(a.last + 1 < b.first for a, b in zip(ranges.ranges, ranges.ranges[1:], strict=False))


@given(numbers, numbers)
def test_arithmetic_is_that_of_sets(left: set[int], right: set[int]) -> None:
    a, b = from_numbers(left), from_numbers(right)
    assert to_numbers(a | b) == left | right
    assert to_numbers(a & b) == left & right
    assert to_numbers(a - b) == left - right
    assert a.covers(b) == (right <= left)
    assert bool(a) == bool(left)


@given(numbers, st.integers(0, 60))
def test_membership(members: set[int], number: int) -> None:
    assert (number in from_numbers(members)) == (number in members)


@given(numbers)
def test_equal_sets_are_equal_and_hash_alike(members: set[int]) -> None:
    assert from_numbers(members) == RangeSet(from_numbers(members).ranges)
    assert hash(from_numbers(members)) == hash(RangeSet(from_numbers(members).ranges))


def test_a_backward_range_is_refused() -> None:
    with pytest.raises(ValueError, match="backwards"):
        RangeSet([(3, 2)])


def test_size_counts_both_ends() -> None:
    assert Range(5, 5).size == 1
    assert Range(5, 9).size == 5
