"""When a band of a tariff holds, as instants. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta, tzinfo
from functools import lru_cache
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from cloud_hub.calendar.clock import DAY_MIN, utc_ranges
from cloud_hub.calendar.days import local_date_of_ms
from cloud_hub.calendar.holidays import Holidays, is_holiday
from cloud_hub.calendar.hours import WEEKDAYS, read_span
from cloud_hub.tariffs.document import DayKind, Season, When

_Painting = tuple[tuple[tuple[int, int], ...], ...]
"""Per band the minutes of a day that it asks for."""


@dataclass(frozen=True, slots=True)
class Switches:
    """Which band holds from an instant on, until the next."""

    from_ms: NDArray[np.int64]
    bands: NDArray[np.int16]

    def at(self, at_ms: NDArray[np.int64]) -> NDArray[np.int16]:
        """Return the places of the bands that hold at these instants."""
        found: NDArray[np.int16] = self.bands[np.searchsorted(self.from_ms, at_ms, side="right") - 1]
        return found


def find_switches(
    whens: Sequence[When], holidays: Holidays | None, clock: tzinfo, from_ms: int, to_ms: int
) -> Switches:
    """Return which of `whens`, the first that matches, holds when in `[from_ms, to_ms)`; the last holds always."""
    day, last = local_date_of_ms(from_ms, clock), local_date_of_ms(to_ms - 1, clock)
    eve = _matches(whens, day - timedelta(days=1), holidays)
    switches: list[tuple[int, int]] = []
    while day <= last:
        today = _matches(whens, day, holidays)
        for start, end, band in _runs(_painting(whens, eve, today)):
            switches += [(low, band) for low, _ in utc_ranges(day, clock, start, end)]
        day, eve = day + timedelta(days=1), today
    switches.sort()
    return Switches(
        np.array([at for at, _ in switches], dtype=np.int64), np.array([band for _, band in switches], dtype=np.int16)
    )


def _matches(whens: Sequence[When], day: date, holidays: Holidays | None) -> tuple[bool, ...]:
    kind: DayKind = "holiday" if is_holiday(holidays, day) else WEEKDAYS[day.weekday()]
    return tuple(
        (not when.days or kind in when.days)
        and (not when.months or day.month in when.months)
        and (not when.seasons or any(_is_in(season, f"{day:%m-%d}") for season in when.seasons))
        for when in whens
    )


def _is_in(season: Season, day: str) -> bool:
    if season.first <= season.last:
        return season.first <= day <= season.last
    return day >= season.first or day <= season.last


def _painting(whens: Sequence[When], eve: Sequence[bool], today: Sequence[bool]) -> _Painting:
    return tuple(
        tuple(_asked(when, on_eve=on_eve, on_day=on_day))
        for when, on_eve, on_day in zip(whens, eve, today, strict=True)
    )


def _asked(when: When, *, on_eve: bool, on_day: bool) -> list[tuple[int, int]]:
    if not when.spans:
        return [(0, DAY_MIN)] if on_day else []
    spans = [read_span(text) for text in when.spans]
    asked = [(start, min(end, DAY_MIN)) for start, end in spans] if on_day else []
    return asked + ([(0, end - DAY_MIN) for _, end in spans if end > DAY_MIN] if on_eve else [])


@lru_cache(maxsize=4096)
def _runs(painting: _Painting) -> tuple[tuple[int, int, int], ...]:
    """Return a day's stretches of the clock as (from minute, to minute, band)."""
    minutes = np.full(DAY_MIN, len(painting) - 1, dtype=np.int16)
    for band in reversed(range(len(painting))):
        for start, end in painting[band]:
            minutes[start:end] = band
    runs, start = [], 0
    for band, group in groupby(minutes.tolist()):
        end = start + len(list(group))
        runs.append((start, end, band))
        start = end
    return tuple(runs)
