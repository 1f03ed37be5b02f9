"""How long to wait before trying again."""


def backoff_s(attempt: int, jitter: float, *, first_s: float, cap_s: float) -> float:
    """Return a wait that doubles with each attempt, spread over its upper half.

    `attempt` counts failures so far (0 gives no wait); `jitter` is a random number in 0..1, so that
    ten thousand agents do not come back in the same second.
    """
    if attempt <= 0:
        return 0.0
    full = min(cap_s, first_s * 2.0 ** min(attempt - 1, 30))
    return full * (0.5 + 0.5 * jitter)
