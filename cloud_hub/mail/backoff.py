"""When a letter that did not go is tried again. Pure."""

from datetime import timedelta
from random import Random

_FIRST = timedelta(seconds=30)
_LONGEST = timedelta(hours=4)
TRIED_FOR = timedelta(days=5)
"""After which a letter is given up, as mail servers do."""


def wait_after(attempts: int, chance: Random) -> timedelta:
    """Return how long to wait after so many failures: twice as long each time, a fifth of it left to chance."""
    longest = min(_LONGEST, _FIRST * (1 << min(attempts - 1, 20)))
    return longest * (0.8 + 0.2 * chance.random())
