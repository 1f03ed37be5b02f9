"""How a file of readings is to be understood: which column is what, which meter, which unit, which time. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

OBSERVED_AT, RECEIVED_AT, METER, POINT, VALUE, QUALITY, UNIT = ROLES = (
    "observed_at",
    "received_at",
    "meter",
    "point",
    "value",
    "quality",
    "unit",
)
"""What a column can be. A column of that title is it, unless the options name another."""


@dataclass(frozen=True, slots=True)
class ValueColumn:
    """A column that holds the readings of one point."""

    title: str
    point: str
    unit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What a file does not say of itself."""

    meter: str | None = None
    """The meter of all readings, for a file without such a column."""
    titles: Mapping[str, str] = field(default_factory=dict)
    """The titles of columns, by their role (`ROLES`)."""
    value_columns: tuple[ValueColumn, ...] = ()
    """In the wide form: the columns that hold readings. Left out: all that have no role."""
    unit: str | None = None
    """Of all numbers whose column names none."""
    time_zone: ZoneInfo | None = None
    """Of stamps without an offset from UTC; None refuses those."""
    time_format: str | None = None
    """As `strptime` takes it; None for ISO 8601."""
    delimiter: str = ","
    decimal_comma: bool = False
    clock_tolerance_s: float = 60.0
    """With a column `received_at`: a meter's clock that is off by no more is not set right."""
