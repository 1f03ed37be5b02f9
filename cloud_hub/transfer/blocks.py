"""Tables on their way out: named columns of a few kinds, and blocks of rows, each about one point. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from cloud_hub.transfer.selection import Chosen


class Kind(Enum):
    """What a column holds, and as what type it comes."""

    WORD = auto()
    """Texts; one for the whole block, or a sequence of them."""
    INSTANT = auto()
    """int64: UTC milliseconds since 1970."""
    LOCAL = auto()
    """The same, to be shown by the site's clock. Only where people read: a table for machines has no such column."""
    DATE = auto()
    """int32: days since 1970-01-01."""
    NUMBER = auto()
    """float64; NaN is nothing."""
    AMOUNT = auto()
    """`Amounts`: exact, in millionths."""
    SHARE = auto()
    """Integers in thousandths."""
    COUNT = auto()
    """Whole numbers."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Amounts:
    """Exact amounts, and which of them are known."""

    micro: NDArray[np.int64]
    is_known: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows of a table: equally long columns by name; a text stands for all rows."""

    rows: int
    zone: ZoneInfo
    columns: Mapping[str, NDArray[Any] | Amounts | Sequence[str] | str]


_PLACE = tuple(
    Column(name, Kind.WORD)
    for name in ("organisation", "site", "time_zone", "controller", "meter", "meter_label", "point", "unit")
)

READINGS = (
    *_PLACE,
    Column("observed_at", Kind.INSTANT),
    Column("local_time", Kind.LOCAL),
    Column("value", Kind.NUMBER),
    Column("quality", Kind.WORD),
)
INTERVALS = (
    *_PLACE,
    Column("start_at", Kind.INSTANT),
    Column("end_at", Kind.INSTANT),
    Column("local_start", Kind.LOCAL),
    Column("local_day", Kind.DATE),
    Column("period", Kind.COUNT),
    Column("amount", Kind.AMOUNT),
    Column("registered", Kind.AMOUNT),
    Column("quality", Kind.WORD),
    Column("completeness", Kind.SHARE),
    Column("causes", Kind.WORD),
    Column("method", Kind.WORD),
    Column("calculation", Kind.COUNT),
    Column("known_at", Kind.INSTANT),
)
TOTALS = (
    *_PLACE,
    Column("from_day", Kind.DATE),
    Column("start_at", Kind.INSTANT),
    Column("end_at", Kind.INSTANT),
    Column("amount", Kind.AMOUNT),
    Column("measured", Kind.AMOUNT),
    Column("estimated", Kind.AMOUNT),
    Column("edited", Kind.AMOUNT),
    Column("partial", Kind.AMOUNT),
    Column("intervals", Kind.COUNT),
    Column("missing_intervals", Kind.COUNT),
    Column("completeness", Kind.SHARE),
)


def describe_place(chosen: Chosen, unit: str | None = None) -> dict[str, str]:
    """Return the columns that say where a point is; `unit` when it is not the point's own."""
    return {
        "organisation": chosen.organisation,
        "site": chosen.site,
        "time_zone": chosen.zone.key,
        "controller": chosen.controller,
        "meter": chosen.meter,
        "meter_label": chosen.meter_label,
        "point": chosen.point,
        "unit": chosen.unit if unit is None else unit,
    }
