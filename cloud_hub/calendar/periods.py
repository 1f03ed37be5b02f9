"""Settlement periods and local stamps, to UTC and back. Pure.

Period 1 of a local date begins at its midnight; all others follow in steps of UTC time, so that a half-hourly day
has 46, 48 or 50 of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np

from cloud_hub.calendar.days import day_bounds_ms, instant_of_ms, local_date, ms_of_instant
from cloud_hub.errors import Invalid

_TICK = timedelta(microseconds=1)


class UnknownPeriod(Invalid):
    """A local date has no period of that number."""


class UnresolvedTime(Invalid):
    """A stamp without offset that names no instant."""

    def __init__(self, message: str, place: int | None = None) -> None:
        super().__init__(message)
        self.place = place
        """Which stamp of a sequence it is, from 0; None when it was asked for alone."""


class Label(StrEnum):
    """Which end of its interval a stamp names."""

    START = "start"
    END = "end"


@dataclass(frozen=True, slots=True)
class Period:
    """One settlement period."""

    day: date
    """Local."""
    number: int
    """From 1."""


def count_periods(day: date, zone: ZoneInfo, interval_s: int) -> int:
    """Return how many periods a local date has."""
    return len(day_bounds_ms(day, zone, interval_s)) - 1


def start_of_period(day: date, number: int, zone: ZoneInfo, interval_s: int) -> datetime:
    """Return the first instant of a period, in UTC.

    Raises: UnknownPeriod.
    """
    bounds = day_bounds_ms(day, zone, interval_s)
    if not 1 <= number < len(bounds):
        raise UnknownPeriod(
            f"{day} has {len(bounds) - 1} periods of {interval_s} s in {zone.key}, there is no {number}"
        )
    return instant_of_ms(int(bounds[number - 1]))


def period_of(instant: datetime, zone: ZoneInfo, interval_s: int) -> Period:
    """Return the period that an instant lies in."""
    day = local_date(instant, zone)
    bounds = day_bounds_ms(day, zone, interval_s)
    return Period(day, int(np.searchsorted(bounds, ms_of_instant(instant), side="right")))


def interval_start(stamp: datetime, label: Label, interval_s: int) -> datetime:
    """Return the first instant of the interval that a resolved stamp names by its start or by its end."""
    return stamp if label is Label.START else stamp - timedelta(seconds=interval_s)


def parse_local(text: str) -> datetime:
    """Read a local stamp without offset, such as `2019-10-27 01:30`; `24:00` is midnight of the next day.

    Raises: UnresolvedTime.
    """
    head = text.strip()
    for end in ("24:00:00", "24:00"):
        if head.endswith(end):
            head, days = head.removesuffix(end) + "00:00", 1
            break
    else:
        days = 0
    try:
        stamp = datetime.fromisoformat(head)
        if stamp.tzinfo is None:
            return stamp + timedelta(days=days)
    except (ValueError, OverflowError):
        pass
    raise UnresolvedTime(f"{text!r} is no local time: write it as 2019-10-27 01:30, without an offset")


class LocalClock:
    """Resolve local stamps of one series without offset, one after the other, oldest first.

    A stamp of the hour that autumn repeats cannot be resolved from itself; by the order of rows, the first time it
    comes is summer time. A file with that hour only once is read so, too: nothing in it says otherwise.
    A stamp that labels the end of its interval may also name the instant of a change by the clock before it.
    """

    def __init__(self, zone: tzinfo, label: Label = Label.START) -> None:
        self._zone = zone
        self._label = label
        self._last: datetime | None = None

    def resolve(self, stamp: datetime) -> datetime:
        """Return the instant of a stamp in UTC, given those before it.

        Raises: UnresolvedTime when the clock never showed it, or when it is ambiguous and not in order.
        """
        instants = self._instants(stamp)
        if len(instants) > 1 and self._last is not None:
            instants = [instant for instant in instants if instant > self._last]
            if not instants:
                raise UnresolvedTime(
                    f"{stamp} came twice in {self._zone}, and its row is not in order of time: sort the rows, or write offsets from UTC"
                )
        self._last = instants[0]
        return instants[0]

    def _instants(self, stamp: datetime) -> list[datetime]:
        """Return the instants at which the clock showed a stamp, ascending.

        Raises: UnresolvedTime when there are none.
        """
        probes = [stamp] if self._label is Label.START else [stamp, stamp - _TICK]
        offsets = {probe.replace(tzinfo=self._zone, fold=fold).utcoffset() for probe in probes for fold in (0, 1)}
        found = sorted(stamp.replace(tzinfo=UTC) - offset for offset in offsets if offset is not None)
        if len(found) > 1:  # near a change: look which of them the clock did show
            found = [instant for instant in found if self._shows(instant, stamp)]
        if not found:
            raise UnresolvedTime(
                f"{stamp} does not exist in {self._zone}: its clock jumps over it; correct the time or write an offset from UTC"
            )
        return found

    def _shows(self, instant: datetime, stamp: datetime) -> bool:
        if instant.astimezone(self._zone).replace(tzinfo=None) == stamp:
            return True
        before = (instant - _TICK).astimezone(self._zone).replace(tzinfo=None)
        return self._label is Label.END and before + _TICK == stamp


def resolve_local(stamps: Sequence[datetime], zone: tzinfo, label: Label = Label.START) -> list[datetime]:
    """Return the instants, in UTC, of local stamps in the order of their rows, oldest first or newest first.

    How ambiguous ones are resolved: see `LocalClock`. Raises: UnresolvedTime, naming the place of the first at fault.
    """
    steps_back = sum(later < earlier for earlier, later in pairwise(stamps))
    is_newest_first = steps_back * 2 > len(stamps) - 1
    clock = LocalClock(zone, label)
    resolved = []
    for count, stamp in enumerate(reversed(stamps) if is_newest_first else stamps):
        try:
            resolved.append(clock.resolve(stamp))
        except UnresolvedTime as error:
            place = len(stamps) - 1 - count if is_newest_first else count
            raise UnresolvedTime(f"stamp {place + 1}: {error}", place) from error
    return resolved[::-1] if is_newest_first else resolved
