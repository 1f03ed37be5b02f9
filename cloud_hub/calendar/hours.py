"""Operating hours of a site, and how much of each interval lies inside them. Pure.

Spans are by the wall clock: 00:00-06:00 has five hours on the day in spring, seven on the one in autumn, and a
span inside the hour that spring leaves out is empty. What counts on a date, the first that says anything:
a closure, an exception, a holiday, the weekly pattern. A span over midnight belongs to the date it begins on; only a
closure of the next date cuts it off.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta, tzinfo
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, model_validator

from cloud_hub.calendar.clock import DAY_MIN, Range, covered_ms, unite, utc_ranges
from cloud_hub.calendar.days import Grid, date_of_number
from cloud_hub.calendar.holidays import Holidays, is_holiday
from cloud_hub.web.documents import Document, parse_document, read_clock

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
WEEKDAYS: tuple[Weekday, ...] = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@lru_cache(maxsize=1024)
def read_span(text: str) -> tuple[int, int]:
    """Return `HH:MM-HH:MM` as minutes since midnight; the end is above 1440 when it lies on the next day.

    Raises: ValueError.
    """
    opens, dash, closes = text.partition("-")
    if not dash:
        raise ValueError(f"{text!r} is no span: write it as 08:00-18:00")
    start, end = read_clock(opens.strip()), read_clock(closes.strip())
    if start in {end, DAY_MIN}:
        raise ValueError(f"{text!r} has no length: write 00:00-24:00 for a whole day, and no span for a closed one")
    return start, end if end > start else end + DAY_MIN


def _check_span(text: str) -> str:
    read_span(text)
    return text


def _check_spans(texts: tuple[str, ...]) -> tuple[str, ...]:
    by_start = sorted((read_span(text), text) for text in texts)
    for ((_, end), first), ((start, _), second) in pairwise(by_start):
        if start < end:
            raise ValueError(f"{first} and {second} overlap: join them or move one")
    return texts


SpanText = Annotated[str, AfterValidator(_check_span)]
"""`HH:MM-HH:MM` by the wall clock; `20:00-02:00` ends on the next day, `00:00-24:00` is a whole day."""
Spans = Annotated[tuple[SpanText, ...], AfterValidator(_check_spans)]
"""Spans that begin on one date; none when it is closed."""


class HolidayHours(Holidays):
    """Holidays, and when the site is open on them."""

    spans: Spans = ()


class Closure(Document):
    """Dates on which the site is closed, whatever else is said of them."""

    first: date
    last: date
    """Itself included."""
    name: str = ""

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.last < self.first:
            raise ValueError(f"the last day {self.last} is before the first {self.first}: swap them")
        return self


class SpecialDay(Document):
    """A date with spans of its own."""

    day: date
    spans: Spans
    name: str = ""


class OperatingHours(Document):
    """When a site is in operation, by its own clock."""

    weekly: Mapping[Weekday, Spans] = Field(default_factory=dict)
    """Weekdays that are left out are closed."""
    holidays: HolidayHours | None = None
    exceptions: tuple[SpecialDay, ...] = ()
    closures: tuple[Closure, ...] = ()

    @model_validator(mode="after")
    def _names_a_date_once(self) -> Self:
        days = sorted(special.day for special in self.exceptions)
        for day, following in pairwise(days):
            if day == following:
                raise ValueError(f"exceptions: {day} is there twice: keep one")
        return self


@dataclass(frozen=True, slots=True)
class HoursFrom:
    """Hours that hold from a local date on, until the next ones do."""

    first_day: date | None
    """None: since ever."""
    hours: OperatingHours


def parse_operating_hours(given: object) -> OperatingHours:
    """Read a document of operating hours.

    Raises: Invalid.
    """
    return parse_document(OperatingHours, given, "operating hours")


def open_ms(hours: OperatingHours | Sequence[HoursFrom], zone: tzinfo, grid: Grid) -> NDArray[np.int64]:
    """Return how many milliseconds of each interval lie inside operating hours.

    A sequence of versions is in order of their first days; dates before the first have no hours, thus are closed.
    """
    versions = [HoursFrom(None, hours)] if isinstance(hours, OperatingHours) else list(hours)
    if not len(grid):
        return np.zeros(0, dtype=np.int64)
    days = [date_of_number(number) for number in np.unique(grid.day).tolist()]
    eve = days[0] - timedelta(days=1)  # its last span may reach into the first day
    found = [found for day in [eve, *days] for found in _open_ranges(versions, day, zone)]
    return covered_ms(unite(found), grid.bounds_ms)


def open_share(hours: OperatingHours | Sequence[HoursFrom], zone: tzinfo, grid: Grid) -> NDArray[np.float64]:
    """Return which share of each interval lies inside operating hours, 0 to 1. For display: amounts take `open_ms`."""
    shares: NDArray[np.float64] = open_ms(hours, zone, grid) / np.diff(grid.bounds_ms)
    return shares


def spans_of_day(hours: OperatingHours, day: date) -> tuple[str, ...]:
    """Return the spans that begin on a local date."""
    if _is_closed(hours, day):
        return ()
    for special in hours.exceptions:
        if special.day == day:
            return special.spans
    if hours.holidays is not None and is_holiday(hours.holidays, day):
        return hours.holidays.spans
    return hours.weekly.get(WEEKDAYS[day.weekday()], ())


def _open_ranges(versions: Sequence[HoursFrom], day: date, zone: tzinfo) -> list[Range]:
    hours = _hours_of_day(versions, day)
    if hours is None:
        return []
    tomorrow = day + timedelta(days=1)
    next_hours = _hours_of_day(versions, tomorrow)
    spills = next_hours is not None and not _is_closed(next_hours, tomorrow)
    found = []
    for start, end in map(read_span, spans_of_day(hours, day)):
        found += utc_ranges(day, zone, start, min(end, DAY_MIN))
        if spills and end > DAY_MIN:
            found += utc_ranges(tomorrow, zone, 0, end - DAY_MIN)
    return found


def _hours_of_day(versions: Sequence[HoursFrom], day: date) -> OperatingHours | None:
    holding = [each.hours for each in versions if each.first_day is None or each.first_day <= day]
    return holding[-1] if holding else None


def _is_closed(hours: OperatingHours, day: date) -> bool:
    return any(closure.first <= day <= closure.last for closure in hours.closures)
