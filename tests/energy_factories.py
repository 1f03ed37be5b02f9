"""Series of register readings, grids and limits for tests of the arithmetic."""

import csv
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from cloud_hub.calendar.days import Grid, make_grid, ms_of_instant
from cloud_hub.energy.measuring import measure
from cloud_hub.energy.model import MICRO, Cause, Exchange, Finding, FindingKind, IntervalQuality, Measured, Register
from cloud_hub.energy.plausibility import Limits
from cloud_hub.readings.series import Series
from protocol.quality import Quality

UTC_ZONE = ZoneInfo("UTC")
DAY = date(2026, 3, 10)
DAY_MS = ms_of_instant(datetime(2026, 3, 10, tzinfo=UTC))
MINUTE_MS = 60_000
HALF_HOUR_MS = 30 * MINUTE_MS
HOUR_MS = 60 * MINUTE_MS

COUNTERS = Path(__file__).parent / "data" / "opsd_household_counters"

Sample = tuple[int, float]
"""UTC milliseconds since 1970, value."""


def make_register_series(samples: Iterable[Sample], *, quality: Sequence[int] | None = None) -> Series:
    """Make a series of samples, in order of time; those of one instant stay as they are given."""
    rows = list(samples)
    order = sorted(range(len(rows)), key=lambda index: rows[index][0])
    codes = quality or [Quality.GOOD] * len(rows)
    return Series(
        np.array([rows[index][0] for index in order], dtype=np.int64),
        np.array([rows[index][1] for index in order], dtype=np.float64),
        np.array([codes[index] for index in order], dtype=np.int16),
    )


def steady(
    first: float, step: float, count: int, *, every_ms: int = HALF_HOUR_MS, start_ms: int = DAY_MS
) -> list[Sample]:
    """Make samples of a register that goes on by `step` from one to the next."""
    return [(start_ms + n * every_ms, round(first + n * step, 6)) for n in range(count)]


def make_limits(
    interval_ms: int = HALF_HOUR_MS, *, rate: str | None = "30", glitch_samples: int = 3, slack_ms: int = 30_000
) -> Limits:
    """Make limits for intervals of a length; the rate is per hour."""
    return Limits(
        gap_limit_ms=2 * interval_ms,
        max_rate_per_h=None if rate is None else Decimal(rate),
        glitch_samples=glitch_samples,
        slack_ms=slack_ms,
    )


def day_grid(day: date = DAY, *, zone: ZoneInfo = UTC_ZONE, interval_s: int = 1800, days: int = 1) -> Grid:
    """Make the grid of whole local days."""
    return make_grid(day, date.fromordinal(day.toordinal() + days - 1), zone, interval_s)


def measure_day(
    samples: Iterable[Sample],
    *,
    register: Register | Sequence[Register] | None = None,
    exchanges: Sequence[Exchange] = (),
    grid: Grid | None = None,
    limits: Limits | None = None,
) -> Measured:
    """Measure samples of one day of half hours, unless another grid is given."""
    registers = [register] if isinstance(register, Register) else list(register or [Register()])
    series = make_register_series(samples)
    return measure(series, registers, exchanges, grid or day_grid(), limits=limits or make_limits())


def total(measured: Measured) -> int:
    """Add up what is in the intervals."""
    return int(measured.intervals.amounts_micro.sum())


def qualities(measured: Measured) -> list[IntervalQuality]:
    """Return the quality of each interval."""
    return [IntervalQuality(int(code)) for code in measured.intervals.qualities]


def causes(measured: Measured) -> list[Cause]:
    """Return the causes of each interval."""
    return [Cause(int(bits)) for bits in measured.intervals.causes]


def kinds(findings: Sequence[Finding]) -> list[FindingKind]:
    """Return what was found, in order."""
    return [finding.kind for finding in findings]


def micro(amount: str | float) -> int:
    """Return an amount in millionths, exactly."""
    return int(Decimal(str(amount)) * MICRO)


def ms_of(stamp: str) -> int:
    """Return an ISO 8601 instant in milliseconds."""
    return ms_of_instant(datetime.fromisoformat(stamp))


@cache
def load_counters(name: str) -> list[dict[str, str]]:
    """Read a table of `tests/data/opsd_household_counters`."""
    with (COUNTERS / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
