"""A day's values of one point, in the narrowest form that gives each of them back to the bit. Pure.

A meter's values are decimals in disguise: 230.4 V is 2304 tenths. As whole numbers they take two or four bytes where
a double takes eight, and SQL reads them without a library: value = (base + n) / divisor.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64s = NDArray[np.float64]
Int64s = NDArray[np.int64]

INT2_MISSING, INT4_MISSING = -(2**15), -(2**31)
"""Stand for a missing value; null would cost a bitmap, and numpy has none."""

_DECIMALS_MAX = 9
_EXACT_MAX = float(2**53)
"""Up to here a double holds every whole number, so that a division by a power of ten rounds once, as a parser does."""
_SAMPLE = 32
_SINGLE_DIGITS = (6, 7, 8, 9)
"""Six digits always survive a float32; nine always suffice."""
_SINGLE_MIN, _SINGLE_MAX = 1e-12, 1e15
"""Of what is worth trying as a float32: here, powers of ten and products with them are exact enough."""


@dataclass(frozen=True, slots=True)
class Packed:
    """One of four forms, or none at all when no value is there. Missing is NaN, in whole numbers `INT?_MISSING`."""

    base: int = 0
    divisor: int = 1
    int2s: NDArray[np.int16] | None = None
    int4s: NDArray[np.int32] | None = None
    float4s: NDArray[np.float32] | None = None
    """Each stands for the shortest decimal that gives it: how a meter's float32 is written."""
    float8s: Float64s | None = None


def pack(values: Float64s) -> Packed:
    """Find the narrowest form; NaN is missing, and no NaN is told from another."""
    is_there = ~np.isnan(values)
    present = values[is_there]
    if not len(present):
        return Packed()
    scaled = _as_whole_numbers(present)
    if scaled is not None:
        whole, divisor = scaled
        packed = _narrow(whole, divisor, is_there)
        if packed is not None:
            return packed
    with np.errstate(over="ignore", under="ignore"):
        singles = present.astype(np.float32)
    if _is_same(shortest_decimals(singles), present):
        return Packed(float4s=_spread(singles, is_there, np.float32(np.nan)))
    return Packed(float8s=values)


def unpack(packed: Packed, count: int) -> Float64s:
    """Return the `count` values that were packed."""
    if packed.int2s is not None:
        return _to_values(packed.int2s, INT2_MISSING, packed)
    if packed.int4s is not None:
        return _to_values(packed.int4s, INT4_MISSING, packed)
    if packed.float4s is not None:
        return shortest_decimals(packed.float4s)
    if packed.float8s is not None:
        return packed.float8s
    return np.full(count, np.nan)


def shortest_decimals(singles: NDArray[np.float32]) -> Float64s:
    """Return of each float32 the shortest decimal that gives it, as the double nearest to that decimal.

    The same as `protocol.registers.shortest_float32` and as PostgreSQL's `::text::float8` between
    1e-12 and 1e15; outside, where no meter measures, the float32 as it is.
    """
    values = singles.astype(np.float64)
    size = np.abs(values)
    todo = np.flatnonzero((size > _SINGLE_MIN) & (size < _SINGLE_MAX))
    for digits in _SINGLE_DIGITS:
        if not len(todo):
            break
        exact = singles[todo].astype(np.float64)
        # Right or one too low, by the rounding of log10; one too low gives a digit less, which then must hold as well.
        places = digits - 1 - np.floor(np.log10(np.abs(exact))).astype(np.int64)
        near = _round_to(exact, places)
        is_found = near.astype(np.float32) == singles[todo]
        values[todo[is_found]] = near[is_found]
        todo = todo[~is_found]
    return values


def _round_to(values: Float64s, places: Int64s) -> Float64s:
    """Round to so many decimal places; negative ones are before the point."""
    up, down = 10.0 ** np.maximum(places, 0), 10.0 ** np.maximum(-places, 0)
    return np.rint(values * up / down) * down / up


def _as_whole_numbers(present: Float64s) -> tuple[Float64s, int] | None:
    """Return the values times the smallest power of ten that makes them whole, and that power; None if none does."""
    largest = float(np.abs(present).max())
    sample = present[:: max(1, len(present) // _SAMPLE)]
    for decimals in range(_DECIMALS_MAX + 1):
        divisor = 10.0**decimals
        if not largest * divisor < _EXACT_MAX:
            return None
        if not _is_same((np.rint(sample * divisor) + 0.0) / divisor, sample):
            continue
        whole = np.rint(present * divisor) + 0.0  # makes 0.0 of -0.0, which no whole number is
        if _is_same(whole / divisor, present):
            return whole, 10**decimals
    return None


def _narrow(whole: Float64s, divisor: int, is_there: NDArray[np.bool_]) -> Packed | None:
    lowest, highest = int(whole.min()), int(whole.max())
    for kind, missing in ((np.int16, INT2_MISSING), (np.int32, INT4_MISSING)):
        reach = -missing - 1
        if highest - lowest > 2 * reach:
            continue
        # Without a base wherever that will do: then the numbers can be read as they stand.
        base = 0 if -reach <= lowest and highest <= reach else lowest + reach
        numbers = _spread((whole - base).astype(kind), is_there, kind(missing))
        if kind is np.int16:
            return Packed(base, divisor, int2s=numbers.astype(np.int16))
        return Packed(base, divisor, int4s=numbers.astype(np.int32))
    return None


def _spread(present: NDArray[Any], is_there: NDArray[np.bool_], missing: object) -> NDArray[Any]:
    if is_there.all():
        return present
    spread = np.full(len(is_there), missing, present.dtype)
    spread[is_there] = present
    return spread


def _to_values(numbers: NDArray[np.int16] | NDArray[np.int32], missing: int, packed: Packed) -> Float64s:
    values = (numbers.astype(np.float64) + packed.base) / packed.divisor
    values[numbers == missing] = np.nan
    return values


def _is_same(one: Float64s, other: Float64s) -> bool:
    """Compare to the bit: -0.0 is not 0.0."""
    return bool(np.array_equal(one.view(np.int64), other.view(np.int64)))
