"""Whether some time service keeps the kernel's clock right, as adjtimex(2) tells it; the only user of ctypes."""

import ctypes
import time

_TIME_ERROR = 5
_STA_UNSYNC = 0x40


class _Timex(ctypes.Structure):
    """The head of Linux's struct timex; the rest is only room for the kernel to write to."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 512),
    )


def is_kernel_synchronised() -> bool:
    """Say whether chrony, ntpd, timesyncd or another service vouches for the kernel's clock just now.

    False where the C library does not tell.
    """
    report = _Timex()  # modes 0: only asks, which needs no rights
    try:
        state = int(ctypes.CDLL(None).adjtimex(ctypes.byref(report)))
    except (OSError, AttributeError):
        return False
    return state not in {-1, _TIME_ERROR} and not report.status & _STA_UNSYNC


def wall_ms() -> int:
    """Return the kernel's wall clock, UTC milliseconds since 1970, right or wrong."""
    return time.time_ns() // 1_000_000


def boottime_ms() -> int:
    """Return milliseconds since boot, sleep included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
