"""What happened on a bus since the agent started."""

from dataclasses import dataclass


@dataclass(slots=True)
class BusStats:
    """Counters that only grow."""

    requests: int = 0
    """Requests sent, repetitions included."""
    answers: int = 0
    """Proper answers, exceptions included."""
    timeouts: int = 0
    exceptions: int = 0
    garbled: int = 0
    """Answers that could not be used."""
    drained_bytes: int = 0
    """Bytes that were no answer to the request in hand: late, foreign, or noise."""
    connects: int = 0
    busy_s: float = 0.0
    """Seconds between requests and the end of their answers or of the wait for them."""
