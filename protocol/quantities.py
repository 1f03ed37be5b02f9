"""The closed list of quantities: what a number measures, its one unit, and how its values may be read.

One unit per quantity: what a meter counts in kWh is scaled to Wh by its profile, so that nothing behind
the decoder ever converts. Power and energy are positive from the grid into the site unless the point's
`sign` says otherwise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from protocol.errors import UnknownQuantity
from protocol.manifest import PointKind

COUNTER, STATE = PointKind.COUNTER, PointKind.STATE


@dataclass(frozen=True, slots=True)
class Quantity:
    """One entry of the list."""

    name: str
    unit: str
    """The unit of every reading of this quantity; empty for ratios, plain counts and codes."""
    meaning: str
    kind: PointKind = PointKind.GAUGE
    """What a point of this quantity is unless its profile says otherwise."""
    lowest: float | None = None
    highest: float | None = None
    """No real value lies outside: a meter that says so is misread or broken. None where none is impossible."""


_ALL = (
    # Electricity. Direct current shares voltage, current and active_power: the point's name tells which.
    Quantity("voltage", "V", "voltage"),
    Quantity("current", "A", "current"),
    Quantity("active_power", "W", "active power"),
    Quantity("reactive_power", "var", "reactive power"),
    Quantity("apparent_power", "VA", "apparent power"),
    Quantity("active_energy", "Wh", "active energy", COUNTER),
    Quantity("reactive_energy", "varh", "reactive energy", COUNTER),
    Quantity("apparent_energy", "VAh", "apparent energy", COUNTER),
    Quantity("charge", "Ah", "electric charge", COUNTER),
    Quantity("frequency", "Hz", "mains frequency", lowest=0, highest=1000),
    # Meters round before they divide, so a ratio may end a little above one.
    Quantity("power_factor", "", "power factor as a ratio", lowest=-1.01, highest=1.01),
    Quantity("power_factor_four_quadrant", "", "power factor, beyond 1 or -1 when leading", lowest=-2.01, highest=2.01),
    Quantity("phase_angle", "deg", "angle between voltage and current, or between phases", lowest=-360, highest=360),
    Quantity("harmonic_distortion", "%", "total harmonic distortion", lowest=0),
    # Batteries, inverters, power supplies.
    Quantity("state_of_charge", "%", "charge of a battery", lowest=0, highest=101),
    Quantity("state_of_health", "%", "remaining capacity of a battery", lowest=0),
    Quantity("load_ratio", "%", "load as a part of the rated power", lowest=0),
    Quantity("efficiency", "%", "efficiency", lowest=0, highest=101),
    Quantity("power_limit", "%", "limit as a part of the rated power"),
    # Heat, water, climate.
    Quantity("temperature", "degC", "temperature", lowest=-273.15),
    Quantity("thermal_power", "W", "heat per time"),
    Quantity("thermal_energy", "Wh", "heat", COUNTER),
    # GJ/h is no decimal number of watts; a profile's scale must stay exact.
    Quantity("heat_flow", "GJ/h", "heat per time, of meters that count in gigajoules"),
    Quantity("volume", "m3", "volume", COUNTER),
    Quantity("flow_rate", "m3/h", "volume per time"),
    Quantity("velocity", "m/s", "speed of flow or sound"),
    Quantity("relative_humidity", "%", "relative humidity of air", lowest=0, highest=101),
    Quantity("co2_concentration", "ppm", "carbon dioxide in air", lowest=0),
    Quantity("rotational_speed", "rpm", "turns per minute"),
    # Routers and positions.
    Quantity("signal_strength", "dBm", "received radio power"),
    Quantity("signal_ratio", "dB", "radio signal over noise or over all that is received"),
    Quantity("signal_quality", "", "a device's own figure for a signal"),
    Quantity("data_volume", "B", "bytes transferred"),
    Quantity("latitude", "deg", "geographic latitude, north positive", lowest=-90, highest=90),
    Quantity("longitude", "deg", "geographic longitude, east positive", lowest=-180, highest=180),
    Quantity("distance", "m", "distance"),
    Quantity("ground_speed", "km/h", "speed over ground"),
    # Time.
    Quantity("duration", "s", "time span"),
    Quantity("unix_time", "s", "seconds since 1970-01-01T00:00:00Z"),
    Quantity("day_number", "d", "days since a date that the point's note names", STATE),
    # Numbers without a unit.
    Quantity("count", "", "how many"),
    Quantity("pulse_count", "pulse", "pulses, whose weight the site knows", COUNTER),
    Quantity("unscaled", "", "number whose unit a setting of the device or its manual decides: see the note"),
    Quantity("flag", "", "0 off, 1 on", STATE),
    Quantity("state", "", "code of an enumeration", STATE),
    Quantity("bits", "", "several flags in one number", STATE),
    # What a device is and how it is set. Read when asked for, not measured.
    Quantity("setting", "", "how the device is set", STATE),
    Quantity("identity", "", "serial number, model or version", STATE),
    Quantity("exponent", "", "power of ten that another point is multiplied by", STATE),
    Quantity("text", "", "text", STATE),
)

QUANTITIES: Mapping[str, Quantity] = MappingProxyType({quantity.name: quantity for quantity in _ALL})

NOT_MEASURED = frozenset({"setting", "identity", "day_number", "exponent", "text"})
"""Quantities that describe the device rather than what it measures."""


def get_quantity(name: str) -> Quantity:
    """Return the quantity of that name.

    Raises: UnknownQuantity.
    """
    try:
        return QUANTITIES[name]
    except KeyError:
        message = f"quantity {name!r} is unknown; the list is in protocol/quantities.py"
        raise UnknownQuantity(message) from None
