"""Instants and days in requests, and stretches of them: half-open, within the years that the hub knows.

The queries of routes over time derive from `InstantRange` or `DayRange`.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, ClassVar, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from cloud_hub.web.documents import Document

EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2300, 1, 1, tzinfo=UTC)
FIRST_DAY, LAST_DAY = date(1971, 1, 1), date(2199, 12, 31)
YEARS_MAX = 100


def read_instant(given: object) -> datetime:
    """Read an instant with its offset from UTC; answer it in UTC.

    Raises: ValueError.
    """
    instant = given if isinstance(given, datetime) else _parse_instant(given)
    if instant is None or instant.tzinfo is None:
        raise ValueError(
            "is no instant with its offset from UTC: send one such as 2026-01-31T12:00:00Z "
            "(a '+' in an address is written %2B)"
        )
    # Compared before it is turned: at the ends of the calendar, turning would leave it.
    if not EARLIEST <= instant <= LATEST:
        raise ValueError("lies outside the years 1970 to 2299")
    return instant.astimezone(UTC)


def read_day(given: object) -> date:
    """Read a day of a local calendar.

    Raises: ValueError.
    """
    day = given if isinstance(given, date) and not isinstance(given, datetime) else _parse_day(given)
    if day is None:
        raise ValueError("is no day: send a day of the site's calendar such as 2026-01-31")
    if not FIRST_DAY <= day <= LAST_DAY:
        raise ValueError("is a day that no ledger reaches: send one from 1971 to 2199")
    return day


def _parse_instant(given: object) -> datetime | None:
    try:
        return datetime.fromisoformat(given) if isinstance(given, str) else None
    except ValueError:
        return None


def _parse_day(given: object) -> date | None:
    try:
        return date.fromisoformat(given) if isinstance(given, str) else None
    except ValueError:
        return None


InstantIn = Annotated[
    datetime,
    BeforeValidator(read_instant),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-01-31T12:00:00Z"]}),
]
"""An instant as ISO 8601 with its offset from UTC, in the years 1970 to 2299. A number is none: it names no unit."""

DayIn = Annotated[
    date,
    BeforeValidator(read_day),
    WithJsonSchema({"type": "string", "format": "date", "examples": ["2026-01-31"]}),
]
"""A day of a local calendar, in the years 1971 to 2199."""


class InstantRange(Document):
    """A stretch of time."""

    longest: ClassVar[timedelta] = timedelta(days=366 * YEARS_MAX)
    """What a shape that derives from this one takes at once."""

    start: InstantIn = Field(alias="from", description="Where it begins.")
    end: InstantIn = Field(alias="to", description="Where it ends; not part of it.")

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.end <= self.start:
            raise ValueError("to is not after from: a range of time begins at from and ends before to")
        if self.end - self.start > self.longest:
            raise ValueError(f"the range is longer than {self.longest.days:,} days: ask for less at once")
        return self


class DayRange(Document):
    """A stretch of local days."""

    longest_days: ClassVar[int] = 366 * YEARS_MAX

    start: DayIn = Field(alias="from", description="Its first day.")
    end: DayIn = Field(alias="to", description="The day after its last.")

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.end <= self.start:
            raise ValueError("to is not after from: a range begins with the day from and ends before the day to")
        if (self.end - self.start).days > self.longest_days:
            raise ValueError(f"the range has more than {self.longest_days:,} days: ask for less at once")
        return self

    @property
    def last(self) -> date:
        """Its last day, itself included."""
        return self.end - timedelta(days=1)
