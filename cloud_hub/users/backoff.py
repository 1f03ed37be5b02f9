"""How long a guesser must wait: nothing for the first slips, then twice as long each time. Pure."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Lock

FREE_ATTEMPTS = 5
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 300.0
_REMEMBERED = 10_000


@dataclass(slots=True)
class _Failures:
    count: int
    last_at: float


class Backoff:
    """Counts failures per key in this process's memory; `clock` gives monotonic seconds.

    Each web process counts for itself, so a guesser has as many times the attempts as there are processes:
    still a handful a minute.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: OrderedDict[Hashable, _Failures] = OrderedDict()
        self._lock = Lock()

    def wait_s(self, key: Hashable) -> float:
        """Return the seconds until `key` may try again; 0 when it may now."""
        with self._lock:
            failures = self._failures.get(key)
            if failures is None or failures.count < FREE_ATTEMPTS:
                return 0.0
            due = failures.last_at + _wait_after(failures.count)
            return max(0.0, due - self._clock())

    def failed(self, key: Hashable) -> None:
        """Count a failure; the oldest are forgotten when there are too many to remember."""
        with self._lock:
            known = self._failures.pop(key, _Failures(0, 0.0))
            now = self._clock()
            forgiven = known.count and now - known.last_at > 2 * LONGEST_WAIT_S
            self._failures[key] = _Failures(1 if forgiven else known.count + 1, now)
            while len(self._failures) > _REMEMBERED:
                self._failures.popitem(last=False)

    def succeeded(self, key: Hashable) -> None:
        """Forget the failures of `key`."""
        with self._lock:
            self._failures.pop(key, None)


def _wait_after(count: int) -> float:
    return min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(count - FREE_ATTEMPTS, 30))
