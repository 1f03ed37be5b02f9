"""The words of the arithmetic: what goes in, what comes out, and what is known of each interval. Pure.

Amounts are whole millionths of the register's unit (`_micro`): differences of integers add up exactly, and
a result does not depend on the order in which it was summed. Instants are UTC milliseconds since 1970.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum, IntFlag, StrEnum

import numpy as np
from numpy.typing import NDArray

CALCULATION = 1
"""The version of this arithmetic: raise it with every change that can change a result."""

MICRO = 1_000_000
COMPLETE = 1_000
"""Completeness is in thousandths of an interval's time."""

Int64s = NDArray[np.int64]
Int32s = NDArray[np.int32]
Int16s = NDArray[np.int16]


class Direction(StrEnum):
    """Where what a register counts flows, as seen from the site."""

    IMPORT = "import"
    EXPORT = "export"
    NET = "net"
    """Import less export: may run backwards."""


class IntervalQuality(IntEnum):
    """How well an interval's amount is known. The order is that of trust for display, not of arithmetic."""

    MEASURED = 0
    ESTIMATED = 1
    """In full or in part: known in total from both ends of a gap, or taken from other days."""
    EDITED = 2
    PARTIAL = 3
    """A lower bound: some of the interval's time or energy is not known."""
    MISSING = 4
    ABSENT = 5
    """Not expected: before the register's first reading. Stored as such, shown as nothing."""


class Method(IntEnum):
    """How an estimated or edited amount came about."""

    NONE = 0
    LINEAR = 1
    """Spread evenly between two readings of the register."""
    REFERENCE_DAYS = 2
    """Shaped like the same intervals of like days; scaled to the register where both ends are known."""
    MANUAL = 3


class Cause(IntFlag):
    """Why an interval is not simply measured, or deserves a look although it is."""

    NONE = 0
    GAP = 1 << 0
    """Readings further apart than two intervals."""
    NO_DATA = 1 << 1
    """No reading since."""
    ROLLOVER = 1 << 2
    RESET = 1 << 3
    EXCHANGE = 1 << 4
    ZERO_READ = 1 << 5
    DIP = 1 << 6
    SPIKE = 1 << 7
    STUCK = 1 << 8
    JUMP = 1 << 9
    """The register went up by more than can be, and stayed: what it is worth, nobody knows."""
    CLOCK = 1 << 10
    """Readings whose time is uncertain, or was set right."""
    CONFLICT = 1 << 11
    """Different values at one instant."""
    SCALE_CHANGE = 1 << 12
    NEGATIVE = 1 << 13
    MAX_DEMAND = 1 << 14
    HIGH_USE = 1 << 15
    LOW_USE = 1 << 16
    ZERO_USE = 1 << 17
    EDIT = 1 << 18
    SUSPECT = 1 << 19
    """Readings there wait for a person's judgement."""
    RESOLUTION = 1 << 20
    """The register's steps are coarse beside the amount, as a float32 register's are above 2**24 steps."""
    VALIDATION_SPIKE = 1 << 21
    """The interval stands out of its day, by the spike check."""


class FindingKind(StrEnum):
    """The names under which events of a register are reported."""

    GAP = "gap"
    ROLLOVER = "rollover"
    RESET = "reset"
    EXCHANGE = "meter_exchange"
    ZERO_READ = "zero_read"
    DIP = "dip"
    SPIKE = "spike"
    STUCK = "stuck"
    JUMP = "jump"
    CLOCK_SHIFT = "clock_shift"
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out_of_order"
    CONFLICT = "conflict"
    SCALE_CHANGE = "scale_change"
    NEGATIVE = "negative"
    MAX_DEMAND = "max_demand"
    HIGH_USE = "high_use"
    LOW_USE = "low_use"
    ZERO_USE = "zero_use"
    VALIDATION_SPIKE = "validation_spike"
    SUM_CHECK = "sum_check"
    FUTURE = "future"
    BEFORE_COMMISSIONING = "before_commissioning"


@dataclass(frozen=True, slots=True)
class Finding:
    """An event, when it was, and the numbers that speak for it."""

    kind: FindingKind
    from_ms: int
    to_ms: int
    detail: Mapping[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Register:
    """How the readings in `[from_ms, until_ms)` are to be understood; None is without an end."""

    from_ms: int | None = None
    until_ms: int | None = None
    scale: Decimal = Decimal(1)
    """Unit of the amounts per unit of the readings."""
    rollover: Decimal | None = None
    """The reading that is 0 again, in the unit of the readings."""
    max_rate_per_h: Decimal | None = None
    """In the unit of the amounts."""
    direction: Direction = Direction.IMPORT


@dataclass(frozen=True, slots=True)
class Exchange:
    """One register ended with `closing`, the next began with `opening`, in the unit of the readings."""

    at_ms: int
    closing: Decimal
    opening: Decimal


@dataclass(frozen=True, slots=True)
class Edit:
    """An amount for `[from_ms, to_ms)`, both on borders of intervals, spread evenly over them."""

    from_ms: int
    to_ms: int
    amount_micro: int


@dataclass(frozen=True, slots=True)
class Intervals:
    """Equally long columns, one entry per interval of a `cloud_hub.calendar.days.Grid`."""

    amounts_micro: Int64s
    """0 where the quality is missing or absent."""
    qualities: Int16s
    completenesses: Int16s
    causes: Int32s

    def __len__(self) -> int:
        return len(self.amounts_micro)


@dataclass(frozen=True, slots=True)
class Gap:
    """Energy that is known in total, between two readings too far apart to say when."""

    from_ms: int
    to_ms: int
    amount_micro: int
    """What the register went on by meanwhile; it is in the intervals already, spread evenly over time."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What the register alone says."""

    intervals: Intervals
    gaps: tuple[Gap, ...]
    """Those that touch the grid, oldest first; each as long as it is, also beyond the grid."""
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Computed:
    """The intervals as they go into the ledger."""

    registered: Intervals
    """Before validation: what the register alone says."""
    final: Intervals
    methods: Int16s
    findings: tuple[Finding, ...]
