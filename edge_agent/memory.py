"""Keep the process small on controllers with little memory."""

import ctypes
import gc
from contextlib import suppress

_M_ARENA_MAX = -8
"""From malloc.h of the GNU C library."""


def share_one_heap() -> None:
    """Let all threads allocate from one heap; call it before the first of them starts.

    The GNU C library else gives each thread its own, which costs the process most of a mebibyte. Other
    libraries have no such option and are left alone.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def give_back_memory() -> None:
    """Return what start-up or a change of configuration used for a moment to the system.

    The C library keeps it else; one without malloc_trim is left alone.
    """
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
