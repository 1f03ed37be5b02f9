"""A period beside earlier ones: the one before, or the same weekdays of the weeks before.

What is not comparable is said to be so, with the reason; only comparable references enter the mean.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from enum import StrEnum

from sqlalchemy.orm import Session

from cloud_hub.analysis.gathering import PartSums, Span, gather
from cloud_hub.analysis.limits import check_range
from cloud_hub.analysis.model import Figure, Flow, Scope
from cloud_hub.analysis.results import Compared, Comparison
from cloud_hub.analysis.sums import Mask, add_figures, figure, no_sums, select
from cloud_hub.calendar.days import day_number

COMPARABLE_FROM = 900
"""Completeness in thousandths below which a figure is not compared, unless the caller says otherwise."""
_WEEK = 7


class Reference(StrEnum):
    """What a period is compared with."""

    PREVIOUS = "previous"
    """As many days right before."""
    PREVIOUS_ALIGNED = "previous_aligned"
    """As many days before, moved by whole weeks, so that weekdays meet."""
    SAME_WEEKDAYS = "same_weekdays"
    """Each of several such periods before, one after the other, and their mean."""


def reference_starts(first: date, last: date, reference: Reference, periods: int) -> list[date]:
    """Return on which days the references begin, newest first. Pure."""
    days = (last - first).days + 1
    if reference is Reference.PREVIOUS:
        return [first - timedelta(days=days)]
    shift = -(-days // _WEEK) * _WEEK
    count = 1 if reference is Reference.PREVIOUS_ALIGNED else periods
    return [first - timedelta(days=shift * n) for n in range(1, count + 1)]


def judge(period: Figure, other: Figure, threshold: int) -> str:
    """Return why a figure cannot be compared with the period's; empty when it can. Pure."""
    if other.completeness is None:
        return "no reading was expected"
    if other.completeness < threshold:
        estimated = other.estimated_ms * 100 // other.expected_ms
        return f"it is complete to {other.completeness / 10:g} % only, {threshold / 10:g} % are asked for" + (
            f"; {estimated} % are estimated" if estimated else ""
        )
    if other.meters != period.meters:
        return f"it has {_meters(other)}, the period {_meters(period)}"
    if other.expected_ms * 1000 < period.expected_ms * threshold:
        return "its meters began to count in the midst of it"
    return ""


def _meters(figure: Figure) -> str:
    return "1 meter" if figure.meters == 1 else f"{figure.meters} meters"


def compare(period: Compared, references: Sequence[Compared], scope: Scope, flow: Flow) -> Comparison:
    """Put a period beside references. Pure; means and changes are rounded down to whole millionths."""
    amounts = [
        each.figure.amount_micro for each in references if each.is_comparable and each.figure.amount_micro is not None
    ]
    reference = sum(amounts) // len(amounts) if amounts else None
    own = period.figure.amount_micro
    if reference is None or own is None or not period.is_comparable:
        return Comparison(scope, flow, period, tuple(references), reference, None, None)
    change = own - reference
    per_mille = change * 1000 // abs(reference) if reference else None
    return Comparison(scope, flow, period, tuple(references), reference, change, per_mille)


def read_comparison(
    session: Session,
    scope: Scope,
    first: date,
    last: date,
    reference: Reference,
    *,
    now: datetime,
    flow: Flow = Flow.IMPORT,
    periods: int = 4,
    threshold: int = COMPARABLE_FROM,
    as_known_at: datetime | None = None,
) -> Comparison:
    """Compare the local days from `first` to `last`, both included, with earlier ones.

    A period that is not over yet is compared up to the same wall clock of the same day of its references.
    `threshold`: completeness in thousandths that both must have. `periods`: how many for the same weekdays.
    Raises: Invalid for an empty or too long range.
    """
    check_range(first, last)
    own = _Reading(session, scope, flow, Span(first, last, now, as_known_at))
    cuts = {part.site_id: _cut(now.astimezone(part.zone), first, last) for part in scope.parts}
    figure_now = own.read(first, cuts)
    reason = judge(figure_now, figure_now, threshold)
    period = Compared(first, last, figure_now, is_comparable=not reason, reason=reason)
    compared = []
    for start in reference_starts(first, last, reference, periods):
        end = start + (last - first)
        other = own.read(start, cuts)
        reason = judge(figure_now, other, threshold)
        compared.append(Compared(start, end, other, is_comparable=not reason, reason=reason))
    cut = next((at for at in cuts.values() if at is not None), None)
    comparison = compare(period, compared, scope, flow)
    return replace(comparison, cut_at=None if cut is None else f"{cut[1] // 60:02}:{cut[1] % 60:02}")


_Cut = tuple[int, int]
"""A day, counted from the period's first, and a time of its wall clock in minutes."""


def _cut(local_now: datetime, first: date, last: date) -> _Cut | None:
    """Return where the present stands in a period; None when it is over."""
    if local_now.date() > last:
        return None
    return (local_now.date() - first).days, local_now.hour * 60 + local_now.minute


class _Reading:
    """Reads figures of one scope and flow."""

    def __init__(self, session: Session, scope: Scope, flow: Flow, span: Span) -> None:
        self._session, self._scope, self._flow, self._span = session, scope, flow, span

    def read(self, start: date, cuts: dict[int, _Cut | None]) -> Figure:
        """Read the figure of as many days as the period has, from `start` on, each site's up to its cut."""
        span = replace(self._span, first=start, last=start + (self._span.last - self._span.first))
        parts = gather(self._session, self._scope.parts, span)
        return add_figures(self._figure(sums, cuts[sums.part.site_id], start) for sums in parts)

    def _figure(self, sums: PartSums, cut: _Cut | None, start: date) -> Figure:
        own = sums.flows.get(self._flow, no_sums(len(sums.grid)))
        if cut is not None:
            own = select(own, _before(sums, cut, start))
        return figure(own, sums.durations_ms)


def _before(sums: PartSums, cut: _Cut, start: date) -> Mask:
    """Say which intervals have ended by the cut's wall clock, on its day."""
    day, minute = cut
    place = (sums.grid.day - day_number(start)).astype("int64") * 24 * 60 + sums.grid.slot
    return place + sums.part.interval_s // 60 <= day * 24 * 60 + minute
