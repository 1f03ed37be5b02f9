"""Plausible values for every point of any profile: meters, inverters, routers, sensors, I/O modules. Pure.

Everything follows from (seed, profile, point, time). What a load offers comes from a load; the rest swings
around what is usual for its quantity, and counters grow at a usual pace.
"""

import hashlib
import math
from collections.abc import Mapping
from datetime import UTC, datetime

from protocol.manifest import PointKind
from protocol.profile import Point, Profile, RegisterType
from protocol.registers import Value, decoder_for, encode
from simulator.loads import DIGITS, Load, LoadSource, Role

_HOUR_S, _DAY_S = 3_600, 86_400
_INSTALLED_S = 20_089 * _DAY_S
"""2025-01-01, when all counters stood at 0."""
_SWING, _SWING_S = 0.02, 1_800
_TOGGLE_S = 600
_EXPONENT = 1.0
_ADDRESS = "10.64.12.7"
_USUAL = {
    "voltage": 230.0, "current": 4.2, "active_power": 900.0, "reactive_power": 150.0, "apparent_power": 912.0,
    "frequency": 50.0, "power_factor": 0.93, "power_factor_four_quadrant": 0.93, "phase_angle": 12.0,
    "harmonic_distortion": 2.4, "state_of_charge": 64.0, "state_of_health": 94.0, "load_ratio": 35.0,
    "efficiency": 96.0, "power_limit": 95.0, "temperature": 24.5, "thermal_power": 6_200.0, "heat_flow": 0.022,
    "flow_rate": 0.31, "velocity": 1.4, "relative_humidity": 46.0, "co2_concentration": 620.0,
    "rotational_speed": 1_450.0, "signal_strength": -71.0, "signal_ratio": 14.0, "signal_quality": 21.0,
    "distance": 3.5, "ground_speed": 1.0, "unscaled": 100.0,
}  # fmt: skip
_USUAL_OF_DIRECT_CURRENT = {"voltage": 410.0, "current": 6.1, "active_power": 2_500.0}
_DIRECT_CURRENT_WORDS = frozenset({"pv", "dc", "battery", "mppt", "string"})
_STEADY = {
    "count": 7.0,
    "state": 1.0,
    "bits": 0.0,
    "setting": 1.0,
    "identity": 1_234.0,
    "day_number": 300.0,
    "latitude": 52.0907,
    "longitude": 5.1214,
}
_PER_HOUR = {
    "active_energy": 850.0, "reactive_energy": 120.0, "apparent_energy": 870.0, "charge": 3.0,
    "thermal_energy": 4_100.0, "volume": 0.12, "pulse_count": 120.0, "data_volume": 400_000.0,
}  # fmt: skip
_PERIODS_S = {"today": _DAY_S, "last24h": _DAY_S, "week": 7 * _DAY_S, "month": 30 * _DAY_S}
_TEXTS = {
    "operator": "Example Mobile",
    "network_type": "LTE",
    "network_registration": "Registered, home",
    "sim_active": "sim1",
    "hostname": "router",
    "serial_number": "1100123456",
    "mac_address": "02:00:5e:10:00:01",
}
_FINE = {"latitude": 5, "longitude": 5, "heat_flow": 4, "volume": 3, "flow_rate": 3}


class PlausibleSource:
    """The source of a device of any profile."""

    digits: Mapping[str, int] = dict.fromkeys(_USUAL, 2) | dict.fromkeys(_PER_HOUR, 2) | DIGITS | _FINE

    def __init__(self, profile: Profile, *, seed: int = 1, given: Mapping[str, Value] | None = None) -> None:
        """Take the profile.

        Values that are `given` by point name hold instead of ours; None is "not available". The mapping
        may be changed at any time.
        Raises: ValueError when the profile is not read by Modbus.
        """
        if profile.modbus is None:
            raise ValueError(f"profile {profile.id} is not read by Modbus")
        self._given = {} if given is None else given
        self._modbus = profile.modbus
        self._load = LoadSource(Load(Role.SERVER, seed, phases=min(max(profile.phases or 1, 1), 3)))
        self._phase = {point.name: _chance(f"{seed}/{profile.id}/{point.name}") for point in profile.points}
        self._points = [point for point in profile.points if point.is_readable]
        self._bases = {point.name: self._fitting(point, _base(point)) for point in self._points if not point.is_text}

    def values(self, serial: int, now_ms: int) -> Mapping[str, Value]:
        """Return a value for every point."""
        at_s = now_ms / 1_000
        loaded = self._load.values(serial, now_ms)
        values = {point.name: self._value(point, at_s, loaded) for point in self._points}
        return {**values, **self._given}

    def _value(self, point: Point, at_s: float, loaded: Mapping[str, float]) -> Value:
        if point.is_text:
            return _text(point, at_s)
        if point.kind is PointKind.COUNTER:
            total = loaded.get(point.name, _PER_HOUR.get(point.quantity, 1.0) * (at_s - _INSTALLED_S) / _HOUR_S)
            return total % self._capacity(point)
        if point.name in loaded and self._fits(point, loaded[point.name]):
            return loaded[point.name]
        return self._gauge(point, at_s)

    def _gauge(self, point: Point, at_s: float) -> float:
        phase, base = self._phase[point.name], self._bases[point.name]
        wave = math.sin(2 * math.pi * (at_s / _SWING_S + phase))
        match point.quantity:
            case "flag":
                value = float(int(at_s / _TOGGLE_S + 10 * phase) % 2)
            case "unix_time":
                value = math.floor(at_s)
            case "duration" if "uptime" in point.name:
                value = self._fitting(point, math.floor(at_s - _INSTALLED_S) % _PERIODS_S["month"])
            case "data_volume":
                value = _used_bytes(point.name, at_s)
            case "frequency":
                value = base * (1 + _SWING / 50 * wave)
            case quantity if quantity in _USUAL:
                value = base * (1 + _SWING * wave)
            case _:
                value = base
        return value

    def _fitting(self, point: Point, value: float) -> float:
        """Return the value, or the next smaller by tens that the point can express with room for its swing."""
        for candidate in (*(value / divisor for divisor in (1, 10, 100, 1_000, 10_000, 100_000)), abs(value), 1.0):
            if self._fits(point, candidate) and self._fits(point, candidate * (1 + 2 * _SWING)):
                return candidate
        return 0.0

    def _fits(self, point: Point, value: float) -> bool:
        try:
            words = encode(point, value, self._modbus.byte_order, self._modbus.word_order)
        except ValueError:
            return False
        return decoder_for(point, self._modbus)(words) is not None

    def _capacity(self, point: Point) -> float:
        """Return where the counter starts again, for lack of digits or of bits."""
        if point.rollover is not None:
            return float(point.rollover)
        if point.type in (RegisterType.FLOAT32, RegisterType.FLOAT64):
            return math.inf
        bits = 24 if point.type in (RegisterType.ISKRA_T5, RegisterType.ISKRA_T6) else 16 * point.words
        return float(abs(point.scale)) * 2.0 ** (bits - 1) * (math.pow(10, _EXPONENT) if point.exponent_point else 1)


def _base(point: Point) -> float:
    if point.quantity == "exponent":
        return _EXPONENT
    if point.quantity in _USUAL_OF_DIRECT_CURRENT and _is_direct(point):
        return _USUAL_OF_DIRECT_CURRENT[point.quantity]
    return _USUAL.get(point.quantity) or _STEADY.get(point.quantity) or 0.0


def _is_direct(point: Point) -> bool:
    return any(part.rstrip("0123456789") in _DIRECT_CURRENT_WORDS for part in point.name.split("_"))


def _used_bytes(name: str, at_s: float) -> float:
    """Return what a router has counted since the period in the point's name began."""
    period_s = next((span for word, span in _PERIODS_S.items() if name.endswith(word)), _DAY_S)
    return math.floor(at_s % period_s * _PER_HOUR["data_volume"] / _HOUR_S)


def _text(point: Point, at_s: float) -> str:
    if point.type is RegisterType.IPV4:
        return _ADDRESS
    match point.name:
        case "gps_fix_time":
            text = str(math.floor(at_s) * 1_000)
        case "gps_datetime":
            text = datetime.fromtimestamp(at_s, UTC).strftime("%d%m%y%H%M%S")
        case name:
            text = _TEXTS.get(name, name.replace("_", " "))
    return text[: 2 * point.words]


def _chance(key: str) -> float:
    """Return a number from 0 to 1 that follows from the key alone, on every machine alike."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()) / 2**64
