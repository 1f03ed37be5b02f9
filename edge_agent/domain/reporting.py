"""What of a group's samples is reported: each, changes, or a summary. Pure: time comes with the samples."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from math import inf
from typing import NamedTuple, Protocol

from protocol.manifest import PointKind
from protocol.quality import Quality
from protocol.report_policy import HALF_HOUR_S, Policy, Report, Statistic

_HALF_HOUR_MS = HALF_HOUR_S * 1000
_JUMP_MS = 1_000
"""Wall time and monotonic time differ by more only when the clock was set."""
_DECIMALS_MAX = 9


class Sample(NamedTuple):
    """What a group's points were at one instant, or what is reported of several samples."""

    at_ms: int
    """UTC ms, as the clock was when the answer arrived."""
    monotonic_ms: int
    values: tuple[float | None, ...]
    quality: tuple[int, ...] | None = None
    """None when every value is good."""


class Reporter(Protocol):
    """Decides what is reported, sample after sample."""

    def take(self, sample: Sample, *, keep_every: int = 1) -> Sample | None:
        """Take a sample of the group's own grid and return what is to be reported now.

        With `keep_every` above 1 less is reported: each n-th sample, or periods n times as long. What is
        seen first of each half hour is always reported.
        """

    def close(self) -> Sample | None:
        """Return what is left to report at the end."""


def make_reporter(kinds: Sequence[PointKind], report: Report, period_ms: int) -> Reporter:
    """Make the reporter of a group whose points have these kinds, in order, and this sampling period."""
    match report.policy:
        case Policy.EVERY:
            return EveryReporter(period_ms)
        case Policy.ON_CHANGE:
            return ChangeReporter(kinds, report, period_ms)
        case Policy.AGGREGATE:
            return AggregateReporter(kinds, report)


class _Thinner:
    """Lets each n-th slot through, and what comes first in each half hour."""

    def __init__(self, period_ms: int) -> None:
        self._period_ms = period_ms
        self._half_hour: int | None = None

    def lets_through(self, at_ms: int, keep_every: int) -> bool:
        before, self._half_hour = self._half_hour, at_ms // _HALF_HOUR_MS
        return self._half_hour != before or at_ms // self._period_ms % keep_every == 0


class EveryReporter:
    """Reports each sample."""

    def __init__(self, period_ms: int) -> None:
        self._thinner = _Thinner(period_ms)

    def take(self, sample: Sample, *, keep_every: int = 1) -> Sample | None:
        """Report the sample, unless it is thinned."""
        return sample if self._thinner.lets_through(sample.at_ms, keep_every) else None

    def close(self) -> Sample | None:
        """Report nothing: all was."""
        return None


class ChangeReporter:
    """Reports a sample when a value left its deadband or a quality changed, and one each heartbeat."""

    def __init__(self, kinds: Sequence[PointKind], report: Report, period_ms: int) -> None:
        self._is_state = [kind is PointKind.STATE for kind in kinds]
        self._deadband, self._ratio = report.deadband, report.deadband_percent / 100
        self._heartbeat_ms = round(report.heartbeat_s * 1000)
        self._thinner = _Thinner(period_ms)
        self._reported: Sample | None = None

    def take(self, sample: Sample, *, keep_every: int = 1) -> Sample | None:
        """Report the sample when it is news against the last one that was reported."""
        is_considered = self._thinner.lets_through(sample.at_ms, keep_every)
        if not (is_considered and self._is_news(sample)) and not self._is_heartbeat(sample):
            return None
        self._reported = sample
        return sample

    def close(self) -> Sample | None:
        """Report nothing: what was not reported was no news."""
        return None

    def _is_heartbeat(self, sample: Sample) -> bool:
        last = self._reported
        return last is None or sample.at_ms // self._heartbeat_ms != last.at_ms // self._heartbeat_ms

    def _is_news(self, sample: Sample) -> bool:
        last = self._reported
        if last is None or sample.quality != last.quality:
            return True
        return any(
            self._has_left(value, before, is_state=is_state)
            for value, before, is_state in zip(sample.values, last.values, self._is_state, strict=True)
        )

    def _has_left(self, value: float | None, before: float | None, *, is_state: bool) -> bool:
        if value is None or before is None:
            return value is not before
        band = 0.0 if is_state else max(self._deadband, self._ratio * abs(before))
        return abs(value - before) > band


@dataclass(slots=True)
class _Gauge:
    """The samples of one gauge in a report period, as far as their statistics need them."""

    good: int = 0
    lowest: float = inf
    highest: float = -inf
    last: float = 0.0
    _total: float = 0.0
    _lost: float = 0.0
    """What the total lost by rounding (Neumaier's summation)."""
    faults: Counter[int] = field(default_factory=Counter)
    doubted: dict[int, float] = field(default_factory=dict)
    """The last value of each quality that carries one and is not good."""

    def take(self, value: float | None, code: int) -> None:
        """Add one sample."""
        if value is None or code != Quality.GOOD:
            self.faults[code] += 1
            if value is not None:
                self.doubted[code] = value
            return
        self.good += 1
        self.last = value
        self.lowest, self.highest = min(self.lowest, value), max(self.highest, value)
        total = self._total + value
        small, large = sorted((self._total, value), key=abs)
        self._lost += (large - total) + small
        self._total = total

    def sum_up(self, statistic: Statistic) -> float:
        """Return a statistic of the good samples; there must be one."""
        match statistic:
            case Statistic.MEAN:
                return self._mean()
            case Statistic.MIN:
                return self.lowest
            case Statistic.MAX:
                return self.highest
            case Statistic.LAST:
                return self.last

    def fault(self) -> tuple[float | None, int]:
        """Return the commonest fault and the value that it carries, if any."""
        [(code, _)] = self.faults.most_common(1)
        return self.doubted.get(code), code

    def _mean(self) -> float:
        """Return the mean with one decimal more than the extremes have.

        All the digits of a quotient would cost eight bytes each time and say nothing.
        """
        decimals = max(_decimals(value) for value in (self.lowest, self.highest, self.last))
        return round((self._total + self._lost) / self.good, min(decimals + 1, _DECIMALS_MAX))


class AggregateReporter:
    """Sums up each report period; it is reported at the first sample of the next one, dated by its own last."""

    def __init__(self, kinds: Sequence[PointKind], report: Report) -> None:
        self._kinds, self._statistics = tuple(kinds), report.statistics
        self._every_ms = round(report.every_s * 1000)
        self._slot = 0
        self._samples = 0
        self._last: Sample | None = None
        self._gauges: list[_Gauge] = []

    def take(self, sample: Sample, *, keep_every: int = 1) -> Sample | None:
        """Add the sample to its period; return the summary of the one before when that has ended."""
        slot = sample.at_ms // (self._every_ms * keep_every)
        ended = self.close() if self._last and (slot != self._slot or _has_jumped(self._last, sample)) else None
        if self._last is None:
            self._gauges = [_Gauge() for _ in self._kinds]
        self._slot, self._last = slot, sample
        self._samples += 1
        for index, gauge in enumerate(self._gauges):
            if self._kinds[index] is PointKind.GAUGE:
                gauge.take(sample.values[index], _quality_at(sample, index))
        return ended

    def close(self) -> Sample | None:
        """Return the summary of the period so far, and begin anew; None when it has no sample."""
        last, self._last = self._last, None
        if last is None:
            return None
        cells = [cell for index in range(len(self._kinds)) for cell in self._cells(index, last)]
        cells.append((float(self._samples), Quality.GOOD))
        self._samples = 0
        codes = tuple(code for _, code in cells)
        return Sample(last.at_ms, last.monotonic_ms, tuple(v for v, _ in cells), codes if any(codes) else None)

    def _cells(self, index: int, last: Sample) -> list[tuple[float | None, int]]:
        if self._kinds[index] is not PointKind.GAUGE:
            return [(last.values[index], _quality_at(last, index))]
        gauge = self._gauges[index]
        if not gauge.good:
            return [gauge.fault()] * len(self._statistics)
        return [(gauge.sum_up(statistic), Quality.GOOD) for statistic in self._statistics]


def _decimals(value: float) -> int:
    exponent = Decimal(repr(value)).as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _quality_at(sample: Sample, index: int) -> int:
    return Quality.GOOD if sample.quality is None else sample.quality[index]


def _has_jumped(before: Sample, after: Sample) -> bool:
    return abs((after.at_ms - before.at_ms) - (after.monotonic_ms - before.monotonic_ms)) > _JUMP_MS
