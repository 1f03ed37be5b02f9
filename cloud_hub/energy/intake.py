"""From a series and what is known of its register to readings that can be compared. Pure."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cloud_hub.energy.model import MICRO, Exchange, Register
from cloud_hub.energy.plausibility import Limits, Readings, Regime, make_regimes
from cloud_hub.readings.series import Series
from protocol.quality import EXCEPTION_BASE, Quality, has_value

_VALUE_MAX = 4e12
"""Differences of two such fit into 64 bits as micro. No register of Wh comes near."""
_VALUELESS = np.array([code for code in Quality if not has_value(code)], dtype=np.int16)


def prepare(series: Series, registers: Sequence[Register], exchanges: Sequence[Exchange], limits: Limits) -> Readings:
    """Take what has a value, in whole millionths, once each, with the readings that exchanges bring.

    Readings at an instant for which there is no register's record are left out; where two records hold, the one that
    begins later does. Without any record all readings are taken as they are (scale 1).
    """
    records = sorted(registers, key=_beginning) or [Register()]
    readings = _with_value(series, make_regimes(records, limits))
    if exchanges:
        readings = _with_exchanges(readings, sorted(exchanges, key=lambda exchange: exchange.at_ms))
    if (readings.at_ms[1:] <= readings.at_ms[:-1]).any():
        readings = _once_each(readings)
    return _with_regimes(readings, records)


def _beginning(record: Register) -> float:
    return -np.inf if record.from_ms is None else record.from_ms


def _with_value(series: Series, regimes: tuple[Regime, ...]) -> Readings:
    kept = np.isfinite(series.value)
    if series.quality.any():
        kept &= (series.quality < EXCEPTION_BASE) & ~np.isin(series.quality, _VALUELESS)
    if not kept.all():
        series = series.take(np.flatnonzero(kept))
    value = np.clip(series.value, -_VALUE_MAX, _VALUE_MAX)
    whole = np.floor(value)  # apart from its fraction: together they have more digits than a double holds
    return Readings(
        series.observed_at_ms,
        whole.astype(np.int64) * MICRO + np.rint((value - whole) * MICRO).astype(np.int64),
        series.quality == Quality.CLOCK_UNCERTAIN,
        value.astype(np.float32) == value,
        np.zeros(len(value), dtype=np.int64),
        np.zeros(len(value), dtype=np.int64),
        np.zeros(len(value), dtype=np.bool_),
        regimes,
    )


def _with_exchanges(readings: Readings, exchanges: Sequence[Exchange]) -> Readings:
    """Add each exchange's closing reading to the era before it and the opening one to the era after.

    A reading of the very instant of an exchange is of the meter whose entered reading it is closer to.
    """
    instants = np.array([exchange.at_ms for exchange in exchanges], dtype=np.int64)
    entered = [round(value * MICRO) for exchange in exchanges for value in (exchange.closing, exchange.opening)]
    era = np.searchsorted(instants, readings.at_ms, side="left").astype(np.int64)
    for number, exchange in enumerate(exchanges):
        here = (readings.at_ms == exchange.at_ms) & (era == number)
        closing, opening = entered[2 * number : 2 * number + 2]
        era[here & (abs(readings.micro - opening) <= abs(readings.micro - closing))] += 1
    eras = [number + side for number in range(len(exchanges)) for side in (0, 1)]
    return replace(readings, era=era).with_virtual(np.repeat(instants, 2).tolist(), entered, eras, [0] * len(eras))


def _once_each(readings: Readings) -> Readings:
    """Order by time, era and value, and keep one of those that are alike.

    At an exchange's instant the closing reading comes last in its era, the opening one first. One of an uncertain
    clock gives way to one of a certain clock, and what was read to what was entered.
    """
    place = np.zeros(len(readings), dtype=np.int64)
    entered = np.flatnonzero(readings.virtual)  # closing and opening by turns
    place[entered] = np.tile([1, -1], len(entered) // 2)
    order = np.lexsort((readings.clock_uncertain, readings.micro, place, readings.era, readings.at_ms))
    ordered = readings.take(order)
    alike = (np.diff(ordered.at_ms) == 0) & (np.diff(ordered.era) == 0) & (np.diff(ordered.micro) == 0)
    drop = np.append(False, alike & ~ordered.virtual[1:]) | np.append(alike & ordered.virtual[1:], False)
    return ordered.take(~drop)


def _with_regimes(readings: Readings, records: Sequence[Register]) -> Readings:
    """Say of each reading which record it is understood by; what none speaks for is left out."""
    if len(records) == 1 and records[0].from_ms is None and records[0].until_ms is None:
        return readings
    closes = np.append((np.diff(readings.era) > 0) & (np.diff(readings.at_ms) == 0), False)
    instant = readings.at_ms - closes  # a closing reading belongs to the record that ends with it
    regime = np.full(len(readings), -1, dtype=np.int64)
    for number, record in enumerate(records):
        covered = np.ones(len(readings), dtype=np.bool_)
        if record.from_ms is not None:
            covered &= instant >= record.from_ms
        if record.until_ms is not None:
            covered &= instant < record.until_ms
        regime[covered] = number
    return replace(readings, regime=regime).take(regime >= 0)
