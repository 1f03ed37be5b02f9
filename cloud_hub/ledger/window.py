"""How much of the ledger a change of readings can change, and what must be looked at to compute that. Pure.

A reading can change how the register is read around its `BESIDE` valued neighbours on either side, and around those
within `near_ms` (which of them are believed, and the stretches between them). What is known of an interval can change with what the register says
within `REACH_MS` of it; and a gap is shaped as a whole.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from cloud_hub.calendar.days import local_date_of_ms, ms_of_instant, start_of_day
from cloud_hub.energy.compute import REACH_MS
from cloud_hub.energy.measuring import READINGS_BESIDE
from cloud_hub.energy.model import Int64s

BESIDE = READINGS_BESIDE
"""Valued readings on either side of a change that are looked at, and on either side of what is computed."""

QUIET_MS = 2 * 3_600_000
"""So long the hub waits for readings before it says that an interval has none: agents report each half hour."""

QUIET_PERIODS = 2.5
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Window:
    """Local days, each range with both its ends."""

    write_first: date
    write_last: date
    grid_first: date
    grid_last: date


def horizon(valued_ms: Int64s, now_ms: int, period_s: float | None) -> int:
    """Return the instant until which the ledger speaks: what has ended then is known, or known to be missing.

    That is the newest reading, or a while ago when none has come since.
    """
    newest = int(valued_ms[-1]) if len(valued_ms) else 0
    return max(min(now_ms, newest), now_ms - quiet_ms(period_s))


def quiet_ms(period_s: float | None) -> int:
    """Return how long to wait for readings of a point that is read each `period_s` seconds."""
    return max(QUIET_MS, round(QUIET_PERIODS * 1000 * (period_s or 0)))


def near_ms(gap_ms: int) -> int:
    """Return how far readings speak of each other at least, however many there are: twice what makes a gap."""
    return 2 * gap_ms


def guess_margin_ms(period_s: float | None) -> int:
    """Return how far the neighbours of a change usually are."""
    return max(_HOUR_MS, round((BESIDE + 1) * 1000 * (period_s or 0)))


def guess(from_ms: int, to_ms: int, period_s: float | None, zone: ZoneInfo) -> tuple[date, date]:
    """Return the days that will usually be looked at for a change, before any reading is known."""
    margin = guess_margin_ms(period_s)
    first = local_date_of_ms(from_ms - margin - REACH_MS, zone)
    last = local_date_of_ms(to_ms + margin + REACH_MS, zone)
    return _widen(first, last, zone)


def choose_window(
    valued_ms: Int64s, from_ms: int, to_ms: int, *, until_ms: int, gap_ms: int, zone: ZoneInfo
) -> Window | None:
    """Choose the days to write, and those to look at, for a change of readings from `from_ms` to `to_ms`.

    `valued_ms`: instants of the readings with a value, sorted, `BESIDE` of them or all there are on either side of
    the change among them. `until_ms`: the horizon. `gap_ms`: readings further apart have a gap between them, which
    is written as a whole when it is touched. None when there is nothing to write.
    """
    before = int(np.searchsorted(valued_ms, from_ms, side="left"))
    after = int(np.searchsorted(valued_ms, to_ms, side="right"))
    start_ms = min(from_ms - near_ms(gap_ms), int(valued_ms[max(0, before - BESIDE)])) if before else from_ms
    end_ms = int(valued_ms[after + BESIDE - 1]) if after + BESIDE <= len(valued_ms) else until_ms
    end_ms = max(end_ms, to_ms + near_ms(gap_ms))
    return _window(start_ms, end_ms, valued_ms, until_ms=until_ms, gap_ms=gap_ms, zone=zone)


def choose_silent_window(
    valued_ms: Int64s, from_ms: int, *, until_ms: int, gap_ms: int, zone: ZoneInfo
) -> Window | None:
    """Choose the days to write where nothing has changed but that intervals after `from_ms` have ended.

    What the readings before say is in the ledger already: a meter that fell silent long ago costs no more each time.
    """
    return _window(from_ms, until_ms, valued_ms, until_ms=until_ms, gap_ms=gap_ms, zone=zone)


def _window(
    start_ms: int, end_ms: int, valued_ms: Int64s, *, until_ms: int, gap_ms: int, zone: ZoneInfo
) -> Window | None:
    start_ms, end_ms = start_ms - REACH_MS, min(end_ms + REACH_MS, until_ms)
    if start_ms >= until_ms or end_ms <= start_ms:
        return None
    first, last = local_date_of_ms(start_ms, zone), local_date_of_ms(end_ms - 1, zone)
    first, last = _whole_gaps(valued_ms, first, last, gap_ms, zone)
    return widen(first, min(last, local_date_of_ms(until_ms - 1, zone)), until_ms, zone)


def widen(first: date, last: date, until_ms: int, zone: ZoneInfo) -> Window:
    """Return the window that writes these days, the horizon at `until_ms`."""
    grid_first, grid_last = _widen(first, last, zone)
    return Window(first, last, grid_first, min(grid_last, local_date_of_ms(until_ms - 1, zone)))


def _whole_gaps(valued_ms: Int64s, first: date, last: date, gap_ms: int, zone: ZoneInfo) -> tuple[date, date]:
    """Move the ends out of the gaps that they lie in, until none lies in one."""
    while True:
        start_ms, end_ms = day_start_ms(first, zone), day_start_ms(last + timedelta(days=1), zone)
        low, high = _gap_start(valued_ms, start_ms, gap_ms), _gap_end(valued_ms, end_ms, gap_ms)
        wider = min(first, local_date_of_ms(low, zone)), max(last, local_date_of_ms(high - 1, zone))
        if wider == (first, last):
            return wider
        first, last = wider


def _gap_start(valued_ms: Int64s, at_ms: int, gap_ms: int) -> int:
    place = int(np.searchsorted(valued_ms, at_ms, side="right"))
    is_in_gap = 0 < place < len(valued_ms) and valued_ms[place] - valued_ms[place - 1] > gap_ms
    return int(valued_ms[place - 1]) if is_in_gap else at_ms


def _gap_end(valued_ms: Int64s, at_ms: int, gap_ms: int) -> int:
    place = int(np.searchsorted(valued_ms, at_ms, side="left"))
    is_in_gap = 0 < place < len(valued_ms) and valued_ms[place] - valued_ms[place - 1] > gap_ms
    return int(valued_ms[place]) if is_in_gap else at_ms


def _widen(first: date, last: date, zone: ZoneInfo) -> tuple[date, date]:
    start_ms, end_ms = day_start_ms(first, zone), day_start_ms(last + timedelta(days=1), zone)
    return local_date_of_ms(start_ms - REACH_MS, zone), local_date_of_ms(end_ms + REACH_MS - 1, zone)


def day_start_ms(day: date, zone: ZoneInfo) -> int:
    """Return a local day's first instant in UTC milliseconds."""
    return ms_of_instant(start_of_day(day, zone))
