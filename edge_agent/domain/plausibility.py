"""A decoded value to its quality code. Pure. Doubt never drops a value: it travels with its code."""

from protocol.manifest import PointKind
from protocol.profile import Point
from protocol.quality import Quality
from protocol.quantities import get_quantity

_NEAR_ROLLOVER = 0.1
"""A counter rolls over from the last tenth of its range into the first; any other way back is a reset."""


def assess(point: Point, value: float | None, previous: float | None = None) -> Quality:
    """Judge one value of a point.

    `previous` is the last value that this point had, None when there is none; it matters for counters only.
    """
    if value is None:
        return Quality.NOT_AVAILABLE
    if not _is_possible(point, value):
        return Quality.OUT_OF_RANGE
    if point.kind is PointKind.COUNTER and previous is not None and value < previous:
        return Quality.GOOD if _has_rolled_over(point, value, previous) else Quality.COUNTER_REGRESSED
    return Quality.GOOD


def _is_possible(point: Point, value: float) -> bool:
    quantity = get_quantity(point.quantity)
    return (quantity.lowest is None or value >= quantity.lowest) and (
        quantity.highest is None or value <= quantity.highest
    )


def _has_rolled_over(point: Point, value: float, previous: float) -> bool:
    if point.rollover is None:
        return False
    rollover = float(point.rollover)
    return value <= _NEAR_ROLLOVER * rollover and previous >= (1 - _NEAR_ROLLOVER) * rollover
