"""Exact amounts in the units that people read: energy in kWh, all else in the register's own unit. Pure."""

from decimal import Context, Decimal, localcontext

_KILO = {"Wh": "kWh", "varh": "kvarh", "VAh": "kVAh"}
_DIGITS = 12
_WIDE = Context(prec=60)
_POWER = {"Wh": "kW", "varh": "kvar", "VAh": "kVA"}


def shown_unit(unit: str) -> str:
    """Name the unit that amounts are shown in."""
    return _KILO.get(unit, unit)


def shown_power_unit(unit: str) -> str:
    """Name the unit that amounts per hour are shown in."""
    return _POWER.get(unit, f"{unit}/h")


def shown_amount(micro: int, unit: str) -> Decimal:
    """Return millionths of a unit (or of it per hour) in the shown unit, exactly, without trailing zeros."""
    with localcontext(_WIDE):
        return plain(Decimal(micro).scaleb(-9 if unit in _KILO else -6))


def plain(number: Decimal) -> Decimal:
    """Return a number to twelve digits behind the point, without trailing zeros."""
    with localcontext(_WIDE):
        rounded = round(number, _DIGITS)
        return rounded.quantize(Decimal(1)) if rounded == rounded.to_integral_value() else rounded.normalize()
