"""How long to wait after failures, and when to stop. Pure but for chance."""

import random
from collections.abc import Callable
from datetime import timedelta

GIVE_UP_AFTER = timedelta(hours=24)
"""A message that did not arrive by then has failed."""
SWITCH_OFF_AFTER = timedelta(days=3)
"""A webhook at which nothing arrived for so long is switched off."""
REST_MAX = timedelta(minutes=5)
RETRY_AFTER_MAX = timedelta(hours=1)
"""A receiver may ask for a longer rest, but not for any."""

_FIRST_S = 5.0
_FACTOR = 4.0
_LONGEST_S = 4 * 3600.0
_JITTER = 0.25

Draw = Callable[[float, float], float]


def next_attempt(attempts: int, draw: Draw = random.uniform) -> timedelta:
    """Return how long a message waits after its `attempts`-th failure: 5 s, 20 s, 80 s … 4 h, give or take a quarter.

    Eleven attempts in a day. The jitter keeps messages that failed together from coming back together.
    """
    usual = min(_LONGEST_S, _FIRST_S * _FACTOR ** min(attempts - 1, 30))
    return timedelta(seconds=usual * draw(1 - _JITTER, 1 + _JITTER))


def rest(failures: int, asked_s: float | None = None, draw: Draw = random.uniform) -> timedelta:
    """Return how long a webhook is left alone after so many failures in a row: 2 s, 4 s … 5 minutes.

    However many messages wait for it, it costs a worker one attempt in that time.
    """
    usual = min(REST_MAX, timedelta(seconds=2.0 ** min(failures, 20))) * draw(1 - _JITTER, 1 + _JITTER)
    return max(usual, min(RETRY_AFTER_MAX, timedelta(seconds=asked_s or 0)))
