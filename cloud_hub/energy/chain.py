"""From believed readings to segments: what the register counted between one and the next, and how well that is known.

A segment depends on its two readings, on what was dropped between them, and (for a reset) on how fast the register
went in the few readings beside it. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from cloud_hub.energy.cleaning import Verdict, judge
from cloud_hub.energy.model import MICRO, Cause, Finding, FindingKind, Int32s, Int64s
from cloud_hub.energy.plausibility import Indices, Limits, Plausibility, Readings, Regime, plain_steps
from cloud_hub.energy.scaling import coarse_steps, plain_amounts, split_at_scales

_USUAL_TIMES = 2
"""After a reset the register is believed to have counted up to twice as fast as in the readings beside it."""

_DROPPED = {
    Verdict.ZERO_READ: (Cause.ZERO_READ, FindingKind.ZERO_READ),
    Verdict.DIP: (Cause.DIP, FindingKind.DIP),
    Verdict.SPIKE: (Cause.SPIKE, FindingKind.SPIKE),
    Verdict.CONFLICT: (Cause.CONFLICT, FindingKind.CONFLICT),
}


class Kind(IntEnum):
    """How well a segment is known."""

    NORMAL = 0
    GAP = 1
    """In total, not when."""
    LOWER_BOUND = 2
    UNKNOWN = 3
    """Its amount is 0."""


@dataclass(frozen=True, slots=True)
class Segment:
    """What a register counted between two readings, in micro of the amounts' unit, and what is to be said of it."""

    amount_micro: int = 0
    kind: Kind = Kind.NORMAL
    cause: Cause = Cause.NONE
    finding: FindingKind | None = None
    detail: Mapping[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chain:
    """Successive readings, and one entry per segment between them: one less than there are readings."""

    at_ms: Int64s
    amounts_micro: Int64s
    kinds: NDArray[np.int8]
    causes: Int32s
    coarse_micro: Int64s
    """One step of a single-precision register in micro of the amounts' unit; 0 where it is another or at rest."""
    findings: tuple[Finding, ...] = ()


def make_chain(readings: Readings, limits: Limits) -> Chain:
    """Judge the readings and measure the segments between those that are believed."""
    verdicts = judge(readings, limits)
    dropped = np.flatnonzero(verdicts)
    kept = split_at_scales(readings.take(verdicts == Verdict.BELIEVED) if len(dropped) else readings, limits)
    plain = plain_steps(kept, limits) & (np.diff(kept.at_ms) <= limits.gap_limit_ms + limits.slack_ms)
    count = max(0, len(kept) - 1)
    kinds, causes = np.zeros(count, dtype=np.int8), np.zeros(count, dtype=np.int32)
    chain = Chain(kept.at_ms, plain_amounts(kept, plain), kinds, causes, coarse_steps(kept, limits))
    findings = [] if plain.all() else _mark_segments(chain, kept, np.flatnonzero(~plain), limits)
    if len(dropped):
        findings += _mark_dropped(chain, readings, verdicts, limits)
    if kept.clock_uncertain.any():
        causes[kept.clock_uncertain[:-1] | kept.clock_uncertain[1:]] |= Cause.CLOCK
    if kept.virtual.any():
        findings += _mark_changes(chain, kept)
    return replace(chain, findings=tuple(findings))


def reading_text(micro: int) -> str:
    """Write a number of micro in whole units."""
    return f"{(Decimal(int(micro)) / MICRO).normalize():f}"


@dataclass(frozen=True, slots=True)
class _Link:
    """Two successive readings, compared."""

    start_ms: int
    end_ms: int
    low: int
    high: int
    """What was read at the start and at the end, in micro."""
    before: Regime
    after: Regime
    entered: bool
    """One of them stems from an exchange."""
    way: int | None
    """What the register went on by; None where it cannot have done so."""
    most: float
    noise: float

    @property
    def difference(self) -> int:
        """What that is in the unit of the amounts."""
        return self.after.scaled(self.high) - self.before.scaled(self.low)


def _links(readings: Readings, indices: Indices, limits: Limits) -> list[_Link]:
    plausibility = Plausibility(readings, limits)
    way, possible = plausibility.progress(indices, indices + 1)
    most, noise = plausibility.furthest(indices, indices + 1), plausibility.noise(indices, indices + 1)
    columns = (readings.at_ms, readings.micro, readings.regime, readings.virtual)
    starts, ends = ([column[at].tolist() for column in columns] for at in (indices, indices + 1))
    return [
        _Link(
            *(start_ms, end_ms, low, high),
            readings.regimes[before],
            readings.regimes[after],
            entered or entered_too,
            *(way[n].item() if possible[n] else None, most[n].item(), noise[n].item()),
        )
        for n, (start_ms, low, before, entered, end_ms, high, after, entered_too) in enumerate(
            zip(*starts, *ends, strict=True)
        )
    ]


def _mark_segments(chain: Chain, readings: Readings, indices: Indices, limits: Limits) -> list[Finding]:
    """Work out the segments that are not plain, one by one."""
    findings = []
    for index, link in zip(indices.tolist(), _links(readings, indices, limits), strict=True):
        segment = _measure(link)
        if segment.finding is FindingKind.RESET:
            segment = _credit(segment, link, _fastest_nearby(readings, index, limits), limits)
        kind, cause = segment.kind, segment.cause
        detail = {"from": reading_text(link.low), "to": reading_text(link.high), **segment.detail}
        if link.end_ms - link.start_ms > limits.gap_limit_ms + limits.slack_ms:
            kind, cause = max(kind, Kind.GAP), cause | Cause.GAP
            findings.append(Finding(FindingKind.GAP, link.start_ms, link.end_ms, detail))
        if segment.finding is not None:
            findings.append(Finding(segment.finding, link.start_ms, link.end_ms, detail))
        chain.amounts_micro[index], chain.kinds[index], chain.causes[index] = segment.amount_micro, kind, cause
    return findings


def _measure(link: _Link) -> Segment:
    """Say what the register did between two readings that are believed."""
    if link.start_ms == link.end_ms:
        return Segment()
    if link.before.scale != link.after.scale:
        return _measure_over_scales(link)
    if link.way is None:
        return _measure_impossible(link)
    turned = link.way - (link.high - link.low)
    if not turned:
        return Segment(link.difference)
    detail = {}
    if link.after.modulus is not None and link.way + link.after.modulus <= link.most < np.inf:
        detail = {"turns_possible": int((link.most - link.way) // link.after.modulus) + 1}
    amount = link.difference + link.after.scaled(turned)
    return Segment(amount, Kind.NORMAL, Cause.ROLLOVER, FindingKind.ROLLOVER, detail)


def _measure_impossible(link: _Link) -> Segment:
    delta = link.high - link.low
    if -link.noise <= delta < 0:
        return Segment()
    if delta > 0 or link.after.net or not 0 <= link.high <= link.most:
        return Segment(0, Kind.UNKNOWN, Cause.JUMP, FindingKind.JUMP)
    if link.entered:  # what was entered with an exchange does not fit what was read
        return Segment(0, Kind.UNKNOWN, Cause.NEGATIVE, FindingKind.NEGATIVE)
    return Segment(0, Kind.UNKNOWN, Cause.RESET, FindingKind.RESET, {"credited": "0"})


def _measure_over_scales(link: _Link) -> Segment:
    """Measure where the scale changes and the readings with it, as when a wrong unit is mended on both sides."""
    amount = link.difference
    most = link.most * float(abs(link.after.scale))
    if abs(amount) <= most and (amount >= 0 or link.after.net):
        return Segment(amount, Kind.NORMAL, Cause.SCALE_CHANGE, FindingKind.SCALE_CHANGE)
    return Segment(0, Kind.UNKNOWN, Cause.SCALE_CHANGE | Cause.JUMP, FindingKind.JUMP)


def _credit(segment: Segment, link: _Link, fastest: Fraction, limits: Limits) -> Segment:
    """Credit a register that was reset with what it shows, when it can have counted that since from 0.

    A new meter seldom starts at exactly 0: what it shows is believed only within a short segment, and up to twice as
    fast as the register went nearby. Else nothing is booked.
    """
    elapsed = link.end_ms - link.start_ms
    if elapsed > limits.gap_limit_ms + limits.slack_ms or link.high > _USUAL_TIMES * fastest * elapsed:
        return segment
    amount = link.after.scaled(link.high)
    return replace(segment, amount_micro=amount, kind=Kind.LOWER_BOUND, detail={"credited": reading_text(amount)})


def _fastest_nearby(readings: Readings, index: int, limits: Limits) -> Fraction:
    """Return the fastest that the register went in the steps beside one, in micro of the reading per millisecond."""
    first, last = max(0, index - limits.glitch_samples), min(len(readings) - 1, index + 1 + limits.glitch_samples)
    nearby = readings.take(np.arange(first, last + 1))
    links = _links(nearby, np.delete(np.arange(last - first), index - first), limits)
    rates = [Fraction(link.way or 0, link.end_ms - link.start_ms) for link in links if link.end_ms > link.start_ms]
    return max(rates, default=Fraction(0))


def _mark_dropped(chain: Chain, readings: Readings, verdicts: NDArray[np.int8], limits: Limits) -> list[Finding]:
    """Say where readings were dropped; what they would have told apart is known in total only."""
    findings = []
    long = np.diff(chain.at_ms) > limits.gap_limit_ms // 2 + limits.slack_ms
    for index in np.flatnonzero((verdicts != Verdict.BELIEVED) & (verdicts != Verdict.NOISE)).tolist():
        cause, name = _DROPPED[Verdict(verdicts[index])]
        at_ms = int(readings.at_ms[index])
        findings.append(Finding(name, at_ms, at_ms, {"value": reading_text(readings.micro[index])}))
        first = max(0, int(np.searchsorted(chain.at_ms, at_ms, side="left")) - 1)
        touched = slice(first, int(np.searchsorted(chain.at_ms, at_ms, side="right")))
        chain.causes[touched] |= cause
        if cause is not Cause.CONFLICT:
            chain.kinds[touched][long[touched] & (chain.kinds[touched] == Kind.NORMAL)] = Kind.GAP
    return findings


def _mark_changes(chain: Chain, readings: Readings) -> list[Finding]:
    """Say where meters were exchanged and scales changed."""
    findings = []
    pairs = readings.virtual[:-1] & readings.virtual[1:] & (np.diff(readings.at_ms) == 0)
    for index in np.flatnonzero(pairs).tolist():
        name, cause = FindingKind.SCALE_CHANGE, Cause.SCALE_CHANGE
        if readings.era[index] != readings.era[index + 1]:
            name, cause = FindingKind.EXCHANGE, Cause.EXCHANGE
        detail = {"closing": reading_text(readings.micro[index]), "opening": reading_text(readings.micro[index + 1])}
        findings.append(Finding(name, int(readings.at_ms[index]), int(readings.at_ms[index]), detail))
        chain.causes[max(0, index - 1) : index + 2] |= cause
    return findings
