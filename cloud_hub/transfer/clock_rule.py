"""When a zone changes its clock, as Green Button packs it into 32 bits. Pure.

Source: NAESB ESPI, `DstRuleType`: bits 0-11 seconds, 12-16 hours, 17-19 day of the week (Monday is 1), 20-24 day of the
month, 25-27 operator, 28-31 month. Operator 0 is a day of the month, 2 to 6 the first to fifth such weekday, 7 the last.
Hours and seconds are by the clock before it changes. All ones says that there is no rule.
"""

from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

NO_RULE = 0xFFFFFFFF

_LAST = 7
_HOUR_S = 3_600


@dataclass(frozen=True, slots=True)
class ClockRule:
    """A zone's clock."""

    standard_offset_s: int
    """Ahead of UTC, in winter."""
    summer_offset_s: int
    """What is added in summer; 0 where the clock stays."""
    start_rule: int
    end_rule: int


def clock_rule(zone: ZoneInfo, years: Sequence[int]) -> ClockRule:
    """Describe a zone's clock in these years.

    One rule must hold for all of them to be told: where it does not, as where a government decides each year anew,
    there is none, and only each interval's own instant in UTC tells the time.
    """
    changes = [_changes(zone, year) for year in years]
    standard = min(_offset_s(zone, datetime(years[0], month, 1, tzinfo=UTC)) for month in (1, 7))
    if any(len(of_year) != 2 for of_year in changes):
        return ClockRule(standard, 0, NO_RULE, NO_RULE)
    starts = [wall for of_year in changes for wall, gain in of_year if gain > 0]
    ends = [wall for of_year in changes for wall, gain in of_year if gain < 0]
    start_rule, end_rule = _rule(starts), _rule(ends)
    if len(starts) != len(ends) or NO_RULE in {start_rule, end_rule}:
        return ClockRule(standard, 0, NO_RULE, NO_RULE)
    gain_s = next(gain for wall, gain in changes[0] if gain > 0)
    return ClockRule(standard, gain_s, start_rule, end_rule)


def _changes(zone: ZoneInfo, year: int) -> list[tuple[datetime, int]]:
    """Return the changes of a year: the wall clock at which each begins, and by how many seconds it goes on."""
    found = []
    day = datetime(year, 1, 1, tzinfo=UTC)
    while day.year == year:
        after = day + timedelta(days=1)
        gain = _offset_s(zone, after) - _offset_s(zone, day)
        if gain:
            at = _instant_of_change(zone, day)
            before = timedelta(seconds=_offset_s(zone, at - timedelta(seconds=1)))
            found.append(((at + before).replace(tzinfo=None), gain))
        day = after
    return found


def _instant_of_change(zone: ZoneInfo, day: datetime) -> datetime:
    low, high = 0, 24 * _HOUR_S
    usual = _offset_s(zone, day)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset_s(zone, day + timedelta(seconds=middle)) == usual:
            low = middle
        else:
            high = middle
    return day + timedelta(seconds=high)


def _offset_s(zone: ZoneInfo, at: datetime) -> int:
    offset = at.astimezone(zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds())


def _rule(walls: Sequence[datetime]) -> int:
    """Find the one rule that gives all of these wall clock times."""
    if len({(wall.month, wall.time()) for wall in walls}) != 1:
        return NO_RULE
    first = walls[0]
    packed = first.month << 28 | first.hour << 12 | (first.minute * 60 + first.second)
    if len({wall.weekday() for wall in walls}) == 1:
        weekday = (first.weekday() + 1) << 17
        if all(wall.day + 7 > monthrange(wall.year, wall.month)[1] for wall in walls):
            return packed | weekday | _LAST << 25
        ordinals = {(wall.day - 1) // 7 for wall in walls}
        if len(ordinals) == 1:
            return packed | weekday | (2 + ordinals.pop()) << 25
    if len({wall.day for wall in walls}) == 1:
        return packed | first.day << 20
    return NO_RULE
