"""Numbers, ages, names and times as people read them. Pure."""

import math
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

_SIGNIFICANT_DIGITS = 7
_KILO = frozenset({"W", "var", "VA"})
_ENERGY = frozenset({"Wh", "varh", "VAh"})
_SYMBOLS = {"degC": "°C", "deg": "°", "m3": "m³", "m3/h": "m³/h", "l/h": "L/h", "ohm": "Ω"}
_AGES = ((86_400 * 2, 86_400, "d"), (3_600 * 2, 3_600, "h"), (120, 60, "min"), (0, 1, "s"))


class Measure(NamedTuple):
    """A number and its unit, as text."""

    number: str
    unit: str


def format_measure(value: float, unit: str) -> Measure:
    """Write a value as a person would: large powers in kilo, energy always in kilo, no digits that were not read."""
    if unit in _ENERGY:
        return Measure(f"{value / 1000:,.2f}", f"k{unit}")
    if unit in _KILO and abs(value) >= 10_000:
        return Measure(f"{value / 1000:,.2f}", f"k{unit}")
    return Measure(_plain(value), _SYMBOLS.get(unit, unit))


def format_age(age_s: float) -> str:
    """Write how long ago something was; a little into the future is a clock that runs ahead."""
    if age_s < 0:
        return "now" if age_s > -2 else f"{format_span(-age_s)} ahead of the hub's clock"
    return f"{format_span(age_s)} ago"


def format_period(period_s: float) -> str:
    """Write the time between two polls."""
    return f"{period_s:g} s" if period_s < 120 else format_span(period_s)


def format_local(instant: datetime, zone: ZoneInfo) -> str:
    """Write an instant in the site's zone, the zone named."""
    return f"{instant.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


def describe_zone(zone: ZoneInfo, now: datetime) -> str:
    """Name a zone with its present offset: `Europe/Berlin (UTC+01:00)`."""
    if zone.key == "UTC":
        return "UTC"
    offset = now.astimezone(zone).utcoffset() or timedelta()
    minutes = round(abs(offset).total_seconds() / 60)
    sign = "-" if offset < timedelta() else "+"
    return f"{zone.key} (UTC{sign}{minutes // 60:02d}:{minutes % 60:02d})"


def find_zone(name: str) -> ZoneInfo:
    """Return the zone of that name; UTC, and named so on the page, where this system does not know it."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return ZoneInfo("UTC")


def label_point(name: str) -> str:
    """Turn `voltage_l1_n` into `Voltage L1-N`."""
    words = name.split("_")
    label = " ".join(word.upper() if _is_conductor(word) else word for word in words)
    for pair in ("L1 L2", "L2 L3", "L3 L1", "L1 N", "L2 N", "L3 N"):
        label = label.replace(pair, pair.replace(" ", "-"))
    return label[:1].upper() + label[1:]


def now_utc() -> datetime:
    """Return this instant in UTC."""
    return datetime.now(UTC)


def _is_conductor(word: str) -> bool:
    return word in {"n", "pv", "dc", "ac", "thd", "ln", "ll"} or (
        len(word) == 2 and word[0] in "lt" and word[1].isdigit()
    )


def _plain(value: float) -> str:
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, _SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{min(decimals, 6)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_span(seconds: float) -> str:
    """Write a length of time in its largest fitting unit."""
    for least, size, unit in _AGES:
        if seconds >= least:
            return f"{seconds / size:.0f} {unit}"
    raise AssertionError(seconds)
