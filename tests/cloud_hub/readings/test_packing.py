"""A day's values in the narrowest form that gives each of them back to the bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_hub.readings.packing import Packed, pack, shortest_decimals, unpack
from protocol.registers import shortest_float32

decimals = st.builds(lambda whole, places: whole / 10**places, st.integers(-(10**12), 10**12), st.integers(0, 9))
singles = st.floats(width=32, allow_nan=False).map(lambda value: float(shortest_float32(value)))
anything = st.one_of(decimals, singles, st.floats(allow_nan=False), st.just(float("nan")), st.just(-0.0))


def same_bits(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.array_equal(one.view(np.int64), other.view(np.int64)))


def form_of(packed: Packed) -> str:
    forms = ("int2s", "int4s", "float4s", "float8s")
    return next((name for name in forms if getattr(packed, name) is not None), "none")


@given(st.one_of(st.lists(decimals, max_size=60), st.lists(singles, max_size=60), st.lists(anything, max_size=60)))
def test_every_value_comes_back_to_the_bit(values: list[float]) -> None:
    given_values = np.array(values, dtype=np.float64)
    assert same_bits(unpack(pack(given_values), len(values)), given_values)


@pytest.mark.parametrize(
    ("values", "form"),
    [
        ([230.1, 230.4, 229.9], "int2s"),
        ([1_234_567.8, 1_234_570.1], "int2s"),
        ([0.0, 6_553.4], "int2s"),
        ([0.0, 6_553.5], "int4s"),
        ([-2_000_000_000.0, 2_000_000_000.0], "int4s"),
        ([0.0012345671, 3_000.1235], "float4s"),
        ([0.1 + 0.2, 1e6], "float8s"),
        ([float("nan")] * 3, "none"),
        ([-0.0, 1.0], "float4s"),
        ([float("inf"), 1.0], "float4s"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_the_form_is_as_narrow_as_the_values_let_it_be(values: list[float], form: str) -> None:
    with_hole = np.array([*values, float("nan")])
    packed = pack(with_hole)
    assert form_of(packed) == form
    assert same_bits(unpack(packed, len(with_hole)), with_hole)


def test_whole_numbers_stand_without_a_base_where_they_can() -> None:
    packed = pack(np.array([230.1, 231.0]))
    assert (packed.base, packed.divisor) == (0, 10)
    assert packed.int2s is not None
    assert packed.int2s.tolist() == [2301, 2310]


@given(st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**49), max_value=2.0**49))
def test_a_float32_means_the_decimal_that_a_meter_meant(value: float) -> None:
    meant = float(shortest_float32(value)) if abs(value) > 1e-12 else value
    assert shortest_decimals(np.array([value], np.float32))[0] == meant
