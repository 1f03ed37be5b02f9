"""Units that files come in, as exact multiples of the one unit that each quantity has here. Pure."""

from decimal import Decimal, InvalidOperation
from fractions import Fraction
from types import MappingProxyType

_DIGITS_MAX = 40
"""No register shows a number as long; a number such as 1e999999 would fill the memory."""

_THOUSAND = Fraction(1_000)
_MILLION = _THOUSAND**2
_HOUR_S = Fraction(3_600)


def _metric(unit: str) -> dict[str, tuple[str, Fraction]]:
    return {
        f"{prefix}{unit}": (unit, factor) for prefix, factor in {"": Fraction(1), "k": _THOUSAND, "M": _MILLION}.items()
    }


_UNITS = MappingProxyType(
    {
        **_metric("Wh"),
        "GWh": ("Wh", _THOUSAND**3),
        # 1 Wh is 3,600 J.
        "J": ("Wh", 1 / _HOUR_S),
        "kJ": ("Wh", _THOUSAND / _HOUR_S),
        "MJ": ("Wh", _MILLION / _HOUR_S),
        "GJ": ("Wh", _THOUSAND**3 / _HOUR_S),
        **_metric("varh"),
        **_metric("VAh"),
        **_metric("W"),
        "GW": ("W", _THOUSAND**3),
        **_metric("var"),
        **_metric("VA"),
        **_metric("V"),
        "mV": ("V", 1 / _THOUSAND),
        "A": ("A", Fraction(1)),
        "mA": ("A", 1 / _THOUSAND),
        "kA": ("A", _THOUSAND),
        "m3": ("m3", Fraction(1)),
        "m³": ("m3", Fraction(1)),
        "hL": ("m3", Fraction(1, 10)),
        "L": ("m3", 1 / _THOUSAND),
        "l": ("m3", 1 / _THOUSAND),
        "m3/h": ("m3/h", Fraction(1)),
        "m³/h": ("m3/h", Fraction(1)),
        "L/h": ("m3/h", 1 / _THOUSAND),
        "L/min": ("m3/h", Fraction(60) / _THOUSAND),
        "L/s": ("m3/h", _HOUR_S / _THOUSAND),
        "degC": ("degC", Fraction(1)),
        "°C": ("degC", Fraction(1)),
    }
)


def stored_unit(given: str) -> tuple[str, Fraction]:
    """Return the unit that numbers of this one are stored in, and how many of it one is.

    A unit that is not listed stands for itself.
    """
    return _UNITS.get(given, (given, Fraction(1)))


def convert(text: str, factor: Fraction) -> float:
    """Read a decimal number and multiply it exactly; only the result is rounded, to the nearest float64.

    Raises: ValueError for what is no finite number, or none that a register can show.
    """
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(text) from None
    if not number.is_finite() or abs(number.adjusted()) > _DIGITS_MAX:
        raise ValueError(text)
    numerator, denominator = number.as_integer_ratio()
    return (numerator * factor.numerator) / (denominator * factor.denominator)  # whole numbers divide correctly rounded
