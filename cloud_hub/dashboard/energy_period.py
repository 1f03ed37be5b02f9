"""The stretch of local days that an energy page shows: a month, or any days. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from cloud_hub.errors import Invalid

DAYS_MAX = 3_660
"""Of one page: ten years."""
_YEARS = range(1971, 9_000)


@dataclass(frozen=True, slots=True)
class Period:
    """Local days, both included."""

    first: date
    last: date

    @property
    def days(self) -> int:
        """How many."""
        return (self.last - self.first).days + 1

    @property
    def is_month(self) -> bool:
        """True when it is exactly one month of the calendar."""
        return self == month_of(self.first)

    @property
    def name(self) -> str:
        """What it is called on a page."""
        if self.is_month:
            return f"{self.first:%B %Y}"
        if self.days == 1:
            return f"{self.first.day} {self.first:%B %Y}"
        return f"{self.first.day} {self.first:%b %Y} to {self.last.day} {self.last:%b %Y}"

    @property
    def query(self) -> dict[str, str]:
        """How its address names it."""
        if self.is_month:
            return {"month": f"{self.first:%Y-%m}"}
        return {"first": self.first.isoformat(), "last": self.last.isoformat()}

    def previous(self) -> "Period":
        """Return the month before a month; else as many days before."""
        if self.is_month:
            return month_of(self.first - timedelta(days=1))
        return Period(self.first - timedelta(days=self.days), self.first - timedelta(days=1))

    def next(self) -> "Period":
        """Return the month after a month; else as many days after."""
        if self.is_month:
            return month_of(self.last + timedelta(days=1))
        return Period(self.last + timedelta(days=1), self.last + timedelta(days=self.days))


def month_of(day: date) -> Period:
    """Return the month that a day lies in."""
    first = day.replace(day=1)
    return Period(first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1))


def parse_period(arguments: Mapping[str, str], today: date) -> Period:
    """Read `month=2026-11`, or `first` and `last`, both days included; without any, the month of `today`.

    Raises: Invalid.
    """
    first, last = arguments.get("first", ""), arguments.get("last", "")
    if first or last:
        if not (first and last):
            raise Invalid("A range needs both its first and its last day: choose both.")
        period = Period(parse_day(first, "The first day"), parse_day(last, "The last day"))
        if period.last < period.first:
            raise Invalid(f"The last day, {period.last}, is before the first, {period.first}: exchange them.")
        if period.days > DAYS_MAX:
            raise Invalid(f"The range has {period.days:,} days: choose {DAYS_MAX:,} at most.")
        return period
    month = arguments.get("month", "")
    return month_of(parse_day(f"{month}-01", "The month", "2026-11", shown=month)) if month else month_of(today)


def parse_day(text: str, what: str, example: str = "2026-11-20", *, shown: str | None = None) -> date:
    """Read a day of the calendar.

    Raises: Invalid, naming `what` is wrong and, where the caller gives it, the text as it was `shown`.
    """
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day.year not in _YEARS:
        raise Invalid(f"{what} is {shown if shown is not None else text!r}: write it like {example}.")
    return day
