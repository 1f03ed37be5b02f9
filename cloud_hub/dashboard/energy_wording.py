"""What the ledger says of amounts, intervals and events, in plain words. Pure.

Each state of an interval has a word, a sentence and a mark; pages show the mark as a pattern, so that it is read
without colours, and the word beside it.
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cloud_hub.energy.model import Cause, FindingKind, IntervalQuality, Method
from cloud_hub.registry.models import MeterRole


class Word(NamedTuple):
    """A state: its class in the style sheet, its name, and what it means."""

    css: str
    name: str
    meaning: str


QUALITIES: Mapping[int, Word] = {
    IntervalQuality.MEASURED: Word("measured", "measured", "both ends were read from the register"),
    IntervalQuality.ESTIMATED: Word("estimated", "estimated", "not read when it flowed; worked out by the hub"),
    IntervalQuality.EDITED: Word("edited", "edited", "put in place by a person"),
    IntervalQuality.PARTIAL: Word("partial", "in part", "at least this much; the rest is not known"),
    IntervalQuality.MISSING: Word("missing", "missing", "nothing is known; it is not zero"),
    IntervalQuality.ABSENT: Word("not_expected", "not expected", "no reading is due yet"),
}

NOT_KNOWN_THEN = Word("not_expected", "not known then", "the ledger held nothing at that instant")

METHODS: Mapping[int, str] = {
    Method.NONE: "",
    Method.LINEAR: "spread evenly between two readings",
    Method.REFERENCE_DAYS: "shaped like the same hours of like days",
    Method.MANUAL: "typed in by a person",
}

CAUSES: Mapping[Cause, str] = {
    Cause.GAP: "readings too far apart",
    Cause.NO_DATA: "no reading has arrived since",
    Cause.ROLLOVER: "the register passed its highest number and began again at 0",
    Cause.RESET: "the register was reset",
    Cause.EXCHANGE: "the meter was exchanged",
    Cause.ZERO_READ: "a reading of zero was left out",
    Cause.DIP: "a reading that was too low was left out",
    Cause.SPIKE: "a reading that was too high was left out",
    Cause.STUCK: "the register stood still, then caught up",
    Cause.JUMP: "the register jumped by more than can be",
    Cause.CLOCK: "the clock of the readings was uncertain",
    Cause.CONFLICT: "different readings for one instant",
    Cause.SCALE_CHANGE: "the scale of the register changes here",
    Cause.NEGATIVE: "the register ran backwards",
    Cause.MAX_DEMAND: "above what the connection can carry",
    Cause.HIGH_USE: "unusually high day",
    Cause.LOW_USE: "unusually low day",
    Cause.ZERO_USE: "zero for unusually long",
    Cause.EDIT: "edited by hand",
    Cause.SUSPECT: "readings here wait for a person's judgement",
    Cause.RESOLUTION: "the register's steps are coarse beside the amount",
    Cause.VALIDATION_SPIKE: "stands far out of its day",
}

FINDINGS: Mapping[str, str] = {
    FindingKind.GAP: "No readings for a while",
    FindingKind.ROLLOVER: "The register passed its highest number and began again at 0",
    FindingKind.RESET: "The register was reset",
    FindingKind.EXCHANGE: "The meter was exchanged",
    FindingKind.ZERO_READ: "The register was read as zero for a moment; that reading is left out",
    FindingKind.DIP: "A reading was too low and is left out",
    FindingKind.SPIKE: "A reading was too high and is left out",
    FindingKind.STUCK: "The register stood still and then caught up",
    FindingKind.JUMP: "The register jumped by more than can be; the jump is not counted",
    FindingKind.CLOCK_SHIFT: "The clock of the readings was wrong and was set right",
    FindingKind.DUPLICATE: "Readings arrived twice; they count once",
    FindingKind.OUT_OF_ORDER: "Readings arrived out of order",
    FindingKind.CONFLICT: "Different readings arrived for one instant",
    FindingKind.SCALE_CHANGE: "The scale of the register changed",
    FindingKind.NEGATIVE: "The register ran backwards",
    FindingKind.MAX_DEMAND: "More than the connection can carry",
    FindingKind.HIGH_USE: "Unusually high use",
    FindingKind.LOW_USE: "Unusually low use",
    FindingKind.ZERO_USE: "No use at all for unusually long",
    FindingKind.VALIDATION_SPIKE: "An interval stands far out of its day",
    FindingKind.SUM_CHECK: "The intervals do not add up to what the register went on by",
    FindingKind.FUTURE: "Readings from the future are kept and not counted",
    FindingKind.BEFORE_COMMISSIONING: "Readings from before the meter was commissioned are kept and not counted",
}

ROLES: Mapping[str, str] = {
    MeterRole.GRID: "grid connection",
    MeterRole.AIR_CONDITIONER: "air conditioner",
    MeterRole.UPS: "UPS",
    MeterRole.PV: "solar power",
}

QUANTITIES: Mapping[str, str] = {
    "active_energy": "Electricity",
    "reactive_energy": "Reactive energy",
    "apparent_energy": "Apparent energy",
    "thermal_energy": "Heat",
    "volume": "Water and other volumes",
    "charge": "Electric charge",
}

NOTHING = "\N{EN DASH}"
"""Stands where no amount is known."""

_NBSP = "\N{NO-BREAK SPACE}"
_KILO = frozenset({"Wh", "varh", "VAh"})
_POWERS = {"Wh": "W", "varh": "var", "VAh": "VA", "m3": "m³/h", "Ah": "A"}
_SYMBOLS = {"m3": "m³"}


class Scale(NamedTuple):
    """How amounts of a register's unit are shown: divided by so many millionths, under a name."""

    micro: int
    unit: str
    power_unit: str


def scale_of(unit: str) -> Scale:
    """Return how a register's unit is shown: energy in kilo, all else as it is."""
    power = _POWERS.get(unit, f"{unit}/h")
    if unit in _KILO:
        return Scale(10**9, f"k{unit}", f"k{power}")
    return Scale(10**6, _SYMBOLS.get(unit, unit), power)


def format_amount(micro: int | None, scale: Scale, decimals: int | None = None) -> str:
    """Write an amount with its unit; a dash where nothing is known."""
    if micro is None:
        return NOTHING
    return f"{format_number(micro, scale, decimals)} {scale.unit}"


def format_number(micro: int, scale: Scale, decimals: int | None = None) -> str:
    """Write an amount without its unit: fewer digits the larger it is, or as many decimals as asked for."""
    value = Decimal(micro) / scale.micro
    if decimals is None:
        size = abs(value)
        decimals = 0 if size >= 10_000 else 1 if size >= 100 else 2
    text = f"{value:,.{decimals}f}"
    return text.replace("-", "\N{MINUS SIGN}", 1) if micro < 0 else text


def format_exact(micro: int, scale: Scale) -> str:
    """Write an amount with all its digits, at least three decimals."""
    value = (Decimal(micro) / scale.micro).normalize()
    decimals = max(3, -int(value.as_tuple().exponent))
    return f"{value:,.{decimals}f}".replace("-", "\N{MINUS SIGN}", 1)


def format_per_mille(per_mille: int | None) -> str:
    """Write thousandths as percent; only what is whole is called 100 %."""
    if per_mille is None:
        return NOTHING
    percent = per_mille // 10 if per_mille % 10 == 0 else Decimal(per_mille) / 10
    return f"{percent}{_NBSP}%"


def format_change(per_mille: int) -> str:
    """Write a change with its sign."""
    sign = "+" if per_mille > 0 else "\N{MINUS SIGN}" if per_mille < 0 else "±"
    return f"{sign}{Decimal(abs(per_mille)) / 10}{_NBSP}%"


def format_money(currency: str, amount: Decimal) -> str:
    """Write money to hundredths, the currency by its code."""
    text = f"{amount:,.2f}"
    return f"{text.replace('-', chr(0x2212), 1)} {currency}"


def format_hours(span_ms: int) -> str:
    """Write a length of time in hours, or in minutes below one."""
    if span_ms < 3_600_000:
        return f"{span_ms // 60_000} min"
    return f"{(Decimal(span_ms) / 3_600_000).quantize(Decimal('0.1')).normalize():,f} h"


def format_day(day: date) -> str:
    """Write a day with its weekday: `Fri 20 Nov 2026`."""
    return f"{day:%a} {day.day} {day:%b %Y}"


def format_minutes(minutes: int) -> str:
    """Write a time of the wall clock, given in minutes since midnight."""
    return f"{minutes // 60:02}:{minutes % 60:02}"


def format_clock(instant: datetime, zone: ZoneInfo) -> str:
    """Write an instant as a day and a time on the site's clock, the zone named: `20 Nov 2026, 18:30 CET`."""
    local = instant.astimezone(zone)
    return f"{local.day} {local:%b %Y, %H:%M} {zone_name(local)}"


def zone_name(local: datetime) -> str:
    """Name the offset of a local time: by its abbreviation, or in hours where it has none."""
    name = local.tzname() or ""
    if name.isalpha():
        return name
    offset = local.utcoffset() or timedelta()
    minutes = round(abs(offset).total_seconds() / 60)
    return f"UTC{'-' if offset < timedelta() else '+'}{minutes // 60:02}:{minutes % 60:02}"


def describe_causes(bits: int) -> tuple[str, ...]:
    """List the causes of an interval in words, in the order of their bits."""
    return tuple(text for cause, text in CAUSES.items() if bits & cause)


def describe_quality(code: int) -> Word:
    """Return the words for an interval's quality."""
    return QUALITIES[code]


def describe_finding(kind: str) -> str:
    """Return the words for an event of a register."""
    return FINDINGS.get(kind, kind.replace("_", " "))


def describe_role(role: str) -> str:
    """Return the words for what a meter measures; empty where nobody has said."""
    return "" if role == MeterRole.OTHER else ROLES.get(role, role.replace("_", " "))


def describe_quantity(quantity: str) -> str:
    """Return the words for what a register counts."""
    return QUANTITIES.get(quantity, quantity.replace("_", " ").capitalize())
