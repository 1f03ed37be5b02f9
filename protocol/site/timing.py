"""How patient a bus is with a meter."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """How long to wait for an answer, how often to ask again, and how long to be silent in between."""

    timeout_s: float
    """From the end of the request; what the answer itself takes on a serial line is added."""
    retries: int = 0
    """How often a read is repeated at once when no proper answer came. Writes never are."""
    pause_between_requests_s: float = 0.0
    """From the end of one answer to the next request."""
