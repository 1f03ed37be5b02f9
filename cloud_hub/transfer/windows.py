"""Stretches of time that hold about equally many readings, so that memory does not grow with the range asked for. Pure."""

from collections.abc import Iterator

READINGS_PER_WINDOW = 200_000

_HOUR_MS = 3_600_000
_LONGEST_MS = 31 * 24 * _HOUR_MS


def split_time(start_ms: int, end_ms: int, period_s: float, points: int) -> Iterator[tuple[int, int]]:
    """Cut `[start_ms, end_ms)` into stretches of whole hours, for points that are read each `period_s`.

    None is shorter than an hour or longer than 31 days.
    """
    wanted = int(READINGS_PER_WINDOW * period_s * 1000 / max(1, points))
    step = min(max(wanted // _HOUR_MS * _HOUR_MS, _HOUR_MS), _LONGEST_MS)
    at = start_ms
    while at < end_ms:
        until = min((at // step + 1) * step, end_ms)
        yield at, until
        at = until
