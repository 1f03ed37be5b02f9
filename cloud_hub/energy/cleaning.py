"""Which readings of a register are to be believed. Pure.

A reading is judged by its neighbours alone: on each side K readings with a value (`Limits.glitch_samples`), and
those within one interval, at most `NEIGHBOURS_MAX`. So the verdict depends neither on where the loaded window begins
nor on the order in which readings arrived, and a late reading changes the verdicts near it at most.

The rule: take all paths through the neighbourhood on which the register only does what it can
(`Plausibility.progress`). A reading is dropped when a path leads past it, from before to after, that it does not lie
on, and that weighs more than the best path through it. A reading weighs 2; one of exactly zero 1, for zero is what a
broken answer says; and one that a person entered with a meter exchange 8. What stays is judged once more among itself,
and then a draw goes against the reading: the last of a run of glitches has more of them than of good readings for
neighbours. So a verdict depends on neighbours of neighbours, and on nothing further.

Why that is right:
- A single glitch, or several in a row, stand against readings on both sides that agree with each other across them.
- Good readings among glitches stay: the glitches agree with each other too, but they are fewer.
- After a reset, a rollover or an exchange no path leads from before to after, or it leads through: all stay.
- A reading too many is harmless to drop: the register's difference from before to after holds its energy.
- A single dip or spike is known without a maximum rate.

Where it gives up: with more glitches in a row than good readings beside them, with glitches at the very end of what is
known (until the next readings arrive), where one side agrees with nothing, and, without a maximum rate, with a run of
spikes next to a reset. Then the readings stay, and the segments between them say `reset` or `jump` and book nothing that
the register cannot have counted. A new register that passes the old one's last reading within the neighbourhood
looks like a dip: so it is with registers of next to nothing only.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from cloud_hub.energy.plausibility import Bools, Indices, Limits, Plausibility, Readings, plain_steps

NEIGHBOURS_MAX = 12
"""More do not change a verdict that these cannot give, and the work grows with their square."""

_ZERO_WEIGHT, _WEIGHT, _ENTERED_WEIGHT = 1, 2, 8
_NO_PATH = -10_000
_BATCH = 256

Weights = NDArray[np.int64]


class Verdict(IntEnum):
    """What a reading is taken for."""

    BELIEVED = 0
    ZERO_READ = 1
    DIP = 2
    SPIKE = 3
    NOISE = 4
    """A step of the last digit of a single-precision number: left out without a word."""
    CONFLICT = 5
    """Another value of the same instant is believed."""


def judge(readings: Readings, limits: Limits) -> NDArray[np.int8]:
    """Return a `Verdict` for each reading, by the rule above."""
    if plain_steps(readings, limits).all():
        return np.zeros(len(readings), dtype=np.int8)
    verdicts = _judge_once(readings, limits, lead=1)
    left = np.flatnonzero(verdicts == Verdict.BELIEVED)
    verdicts[left] = _judge_once(readings.take(left) if len(left) < len(readings) else readings, limits, lead=0)
    return _settle_conflicts(readings, verdicts)


def _judge_once(readings: Readings, limits: Limits, *, lead: int) -> NDArray[np.int8]:
    """Judge all by their neighbours as given; `lead`: how much heavier a path must be that leads past a reading."""
    verdicts = np.zeros(len(readings), dtype=np.int8)
    doubtful = np.flatnonzero(~plain_steps(readings, limits))
    if not len(doubtful):
        return verdicts
    plausibility = Plausibility(readings, limits)
    same_era = readings.era[doubtful] == readings.era[doubtful + 1]
    impossible = doubtful[same_era & ~plausibility.progress(doubtful, doubtful + 1)[1]]
    for batch in _batches(_concerned(readings, impossible, limits)):
        verdicts[batch] = _Neighbourhoods(readings, plausibility, batch, limits).verdicts(lead)
    return verdicts


def _concerned(readings: Readings, impossible: Indices, limits: Limits) -> Indices:
    """Find the readings that have a step which cannot be, and a fall, between two of their neighbours.

    Where nothing falls, every reading lies between those before and after it.
    """
    if limits.glitch_samples > NEIGHBOURS_MAX:
        raise ValueError(
            f"glitch_samples is {limits.glitch_samples}, more than the {NEIGHBOURS_MAX} that are looked at"
        )
    concerned = _near(readings, impossible) & ~readings.virtual
    if not any(regime.net for regime in readings.regimes):
        concerned &= _near(readings, np.flatnonzero(np.diff(readings.micro) < 0))
    return np.flatnonzero(concerned)


def _near(readings: Readings, steps: Indices) -> Bools:
    """Say which readings have one of the steps between two of their neighbours."""
    begun = np.bincount(np.maximum(steps + 1 - NEIGHBOURS_MAX, 0), minlength=len(readings) + 1)
    ended = np.bincount(np.minimum(steps + 1 + NEIGHBOURS_MAX, len(readings)), minlength=len(readings) + 1)
    return np.cumsum(begun - ended)[: len(readings)] > 0


def _batches(indices: Indices) -> list[Indices]:
    return [indices[start : start + _BATCH] for start in range(0, len(indices), _BATCH)]


class _Neighbourhoods:
    """Readings to be judged, one per row, each in the middle of its neighbourhood."""

    def __init__(self, readings: Readings, plausibility: Plausibility, judged: Indices, limits: Limits) -> None:
        self._readings, self._plausibility = readings, plausibility
        reach = _reach(readings, judged, limits)
        offsets = np.arange(-reach, reach + 1)
        places = judged[:, None] + offsets
        self.members: Indices = np.clip(places, 0, len(readings) - 1)
        near = abs(readings.at_ms[self.members] - readings.at_ms[judged][:, None]) <= limits.gap_limit_ms // 2
        there = (places == self.members) & (near | (abs(offsets) <= limits.glitch_samples))
        there &= readings.era[self.members] == readings.era[judged][:, None]
        weights = np.where(readings.micro[self.members] == 0, _ZERO_WEIGHT, _WEIGHT)
        weights[readings.virtual[self.members]] = _ENTERED_WEIGHT
        self.weights: Weights = np.where(there, weights, _NO_PATH)
        self.middle = reach

    def verdicts(self, lead: int) -> NDArray[np.int8]:
        """Judge them all."""
        way, possible = self._plausibility.progress(self.members[:, :, None], self.members[:, None, :])
        middle, up_to, since = self.middle, self._up_to(possible), self._since(possible)
        through = up_to[:, middle] + since[:, middle] - self.weights[:, middle]
        earlier, later = self.members[:, :middle, None], self.members[:, None, middle + 1 :]
        judged = self.members[:, middle, None, None]
        past = possible[:, :middle, middle + 1 :] & ~self._plausibility.lies_between(
            earlier, judged, later, way[:, :middle, middle + 1 :]
        )
        weight = np.where(past, up_to[:, :middle, None] + since[:, None, middle + 1 :], _NO_PATH)
        weight = weight.reshape(len(weight), -1)
        best = weight.argmax(axis=1)
        dropped = (weight.max(axis=1, initial=_NO_PATH) >= through + lead) & (weight.max(axis=1) > 0)
        names = self._names(best // middle, middle + 1 + best % middle)
        return np.where(dropped, names, Verdict.BELIEVED).astype(np.int8)

    def _up_to(self, possible: Bools) -> Weights:
        """Return the weight of the best path from the left to each member."""
        best = self.weights.copy()
        for place in range(1, best.shape[1]):
            behind = np.where(possible[:, :place, place], best[:, :place], 0).max(axis=1)
            best[:, place] += np.maximum(behind, 0)
        return best

    def _since(self, possible: Bools) -> Weights:
        """Return the weight of the best path from each member to the right."""
        best = self.weights.copy()
        for place in range(best.shape[1] - 2, -1, -1):
            ahead = np.where(possible[:, place, place + 1 :], best[:, place + 1 :], 0).max(axis=1)
            best[:, place] += np.maximum(ahead, 0)
        return best

    def _names(self, earlier_place: Indices, later_place: Indices) -> NDArray[np.int8]:
        """Name what is wrong with each reading, beside a path that leads past it."""
        rows = np.arange(len(self.members))
        earlier, later = self.members[rows, earlier_place], self.members[rows, later_place]
        micro = self._readings.micro
        judged = micro[self.members[:, self.middle]]
        low, high = np.minimum(micro[earlier], micro[later]), np.maximum(micro[earlier], micro[later])
        names = np.where(judged < micro[earlier], Verdict.DIP, Verdict.SPIKE)
        names[judged == 0] = Verdict.ZERO_READ
        outside = np.maximum(low - judged, judged - high)  # not so where the register rolled over in between
        names[(outside > 0) & (outside <= self._plausibility.noise(earlier, later))] = Verdict.NOISE
        return names.astype(np.int8)


def _reach(readings: Readings, judged: Indices, limits: Limits) -> int:
    """Return how many neighbours the crowded of them have on a side."""
    half = limits.gap_limit_ms // 2
    at_ms = readings.at_ms[judged]
    left = judged - np.searchsorted(readings.at_ms, at_ms - half, side="left")
    right = np.searchsorted(readings.at_ms, at_ms + half, side="right") - 1 - judged
    return int(np.clip(max(left.max(), right.max()), limits.glitch_samples, NEIGHBOURS_MAX))


def _settle_conflicts(readings: Readings, verdicts: NDArray[np.int8]) -> NDArray[np.int8]:
    """Leave one reading per instant and era: the one entered by a person, else the greatest that is believed."""
    same = (np.diff(readings.at_ms) == 0) & (np.diff(readings.era) == 0)
    begun = np.flatnonzero(same & ~np.append(False, same[:-1]))
    for start in begun.tolist():
        end = start + 1
        while end < len(same) and same[end]:
            end += 1
        group = range(start, end + 1)
        ranks = [(bool(readings.virtual[i]), verdicts[i] == Verdict.BELIEVED, int(readings.micro[i])) for i in group]
        winner = group[ranks.index(max(ranks))]
        verdicts[[index for index in group if index != winner]] = Verdict.CONFLICT
    return verdicts
