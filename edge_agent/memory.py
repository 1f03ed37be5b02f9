"""Keep the process small: a controller has 100 MB to spare, and 50 are ours."""

import ctypes
import gc
from contextlib import suppress

_ARENA_MAX = -8
"""glibc's M_ARENA_MAX."""


def use_one_heap() -> None:
    """Let all threads share one heap; glibc would give each its own. Before the first thread; elsewhere nothing."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def give_back() -> None:
    """Return to the system what the start left over, and let the collector pass by what stays to the end."""
    gc.collect()
    gc.freeze()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
