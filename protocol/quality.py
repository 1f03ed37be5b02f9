"""Quality codes: why a value is missing or to be doubted. They travel with the reading to the screen."""

from enum import IntEnum


class Quality(IntEnum):
    """What is known of one value. `EXCEPTION_BASE + n` stands for Modbus exception n."""

    GOOD = 0
    TIMEOUT = 1
    NOT_AVAILABLE = 2
    OUT_OF_RANGE = 3
    COUNTER_REGRESSED = 4
    CLOCK_UNCERTAIN = 5
    SUPPRESSED = 6


EXCEPTION_BASE = 256
"""Modbus exception codes are one byte, so 257..511 are exceptions 1..255."""

QUALITY_MAX = EXCEPTION_BASE + 255

_WITHOUT_VALUE = frozenset({Quality.TIMEOUT, Quality.NOT_AVAILABLE, Quality.SUPPRESSED})
_NAMES = {code.value: code.name.lower() for code in Quality}


def has_value(code: int) -> bool:
    """Say whether a reading of this quality carries a value."""
    return code < EXCEPTION_BASE and code not in _WITHOUT_VALUE


def exception_quality(exception_code: int) -> int:
    """Turn a Modbus exception code (1..255) into a quality code."""
    return EXCEPTION_BASE + exception_code


def quality_name(code: int) -> str:
    """Return the name that people and the API see, such as `timeout` or `exception(2)`."""
    if code > EXCEPTION_BASE:
        return f"exception({code - EXCEPTION_BASE})"
    return _NAMES.get(code, f"unknown({code})")


def is_known_quality(code: int) -> bool:
    """Say whether the contract defines this code."""
    return code in _NAMES or EXCEPTION_BASE < code <= QUALITY_MAX
