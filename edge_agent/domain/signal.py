"""How good a radio signal is, for people. Pure.

Source of the classes: the steps that Teltonika's documentation gives for LTE, and what is commonly quoted
for RSSI of 2G and 3G. They are a rule of thumb: rural LTE works at -110 dBm, slowly.
"""

from enum import StrEnum


class SignalClass(StrEnum):
    """From best to worst."""

    EXCELLENT = "excellent"
    GOOD = "good"
    POOR = "poor"
    """Fair to poor."""
    NONE = "none"
    """Unusable."""
    UNKNOWN = "unknown"


_ORDER = (SignalClass.EXCELLENT, SignalClass.GOOD, SignalClass.POOR)
_RSRP_DBM = (-80, -90, -100)
_RSRQ_DB = (-10, -15, -20)
_SINR_DB = (20, 13, 0)
_RSSI_DBM = (-70, -85, -110)
_POSSIBLE_RSRP, _POSSIBLE_RSRQ, _POSSIBLE_SINR, _POSSIBLE_RSSI = (-156, -30), (-43, -1), (-30, 50), (-125, -20)
"""What lies outside, and 0, is a modem's way to say "unknown" (0, 99, 255, 32767), or is in another unit."""


def classify_signal(
    *,
    rssi_dbm: float | None = None,
    rsrp_dbm: float | None = None,
    rsrq_db: float | None = None,
    sinr_db: float | None = None,
) -> SignalClass:
    """Name the class of the worst figure that is known; RSSI counts only where LTE's own power is not known."""
    classes = [
        _classify(rsrp_dbm, _RSRP_DBM, _POSSIBLE_RSRP),
        _classify(rsrq_db, _RSRQ_DB, _POSSIBLE_RSRQ),
        _classify(sinr_db, _SINR_DB, _POSSIBLE_SINR),
    ]
    if classes[0] is None:
        classes.append(_classify(rssi_dbm, _RSSI_DBM, _POSSIBLE_RSSI))
    known = [found for found in classes if found is not None]
    return max(known, key=list(SignalClass).index, default=SignalClass.UNKNOWN)


def _classify(
    value: float | None, steps: tuple[float, float, float], possible: tuple[float, float]
) -> SignalClass | None:
    if not value or not possible[0] <= value <= possible[1]:
        return None
    *upper, unusable = steps
    if value <= unusable:
        return SignalClass.NONE
    return next((name for name, step in zip(_ORDER, upper, strict=False) if value >= step), SignalClass.POOR)
