"""Which profile fits what a unit answered: evidence, counted. Pure.

Registers carry no names, so nothing here is certain but a text in which a maker names the device. All else
is a weight of evidence: values in a narrow physical range, powers that agree with voltage times current,
and how much of a profile the device has at all.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from edge_agent.commissioning.usual import is_credible, is_usual, usual_of
from edge_agent.domain.plausibility import assess
from protocol.library import default_points
from protocol.profile import Point, Profile
from protocol.quality import Quality
from protocol.registers import Value

_TELLING_MAX = 8
_NAMED_WEIGHT, _TEXT_WEIGHT, _MARK_WEIGHT = 12.0, 1.5, 12.0
_AGAINST_FACTOR = 1.5
_ABSENT_WEIGHT = 1.0
"""What it says against a profile for three phases that a phase has no voltage."""
_REFUSED_WEIGHT = 2.0
_AGREEMENT_WEIGHT = 2.0
_COVERAGE_WEIGHT = 5.0
_LIVELY_MAX, _LIVELY_WEIGHT = 60, 0.05
_MARGIN = 1.0
"""By so much the best has to lead to be proposed alone."""
PROOF_MIN = 6.0
"""Less evidence than a usual frequency beside a usual voltage proves nothing."""
_TEXT_LENGTH_MIN = 3
_WORDS_MIN = 3
_MARK = re.compile(r"FC0([34]) (0x[0-9A-Fa-f]+|\d+) (\d+) registers = 0x([0-9A-Fa-f]+)")


class Verdict(StrEnum):
    """What one value says for a profile."""

    FITS = "fits"
    SAYS_NOTHING = "says nothing"
    AGAINST = "against"
    REFUSED = "refused"


class Evidence(NamedTuple):
    """One value under one profile."""

    point: str
    value: Value
    unit: str
    verdict: Verdict
    weight: float
    """Added to the profile's score; negative when it speaks against it."""

    def __str__(self) -> str:
        """Write it for people: `frequency 50 Hz`."""
        shown = f"{self.value:.5g}" if isinstance(self.value, float) else f'"{self.value}"'
        return f"{self.point.replace('_', ' ')} {shown} {self.unit}".rstrip()


class Mark(NamedTuple):
    """Registers by which a maker lets its devices be known."""

    function_code: int
    address: int
    words: tuple[int, ...]


@dataclass
class Candidate:
    """A profile, and what was found for and against it."""

    profile: Profile
    evidence: list[Evidence] = field(default_factory=list)
    answered: int = 0
    """Points that are read by default and gave a possible value."""
    lively: int = 0
    """Those of them whose value was not 0."""
    asked: int = 0

    @property
    def score(self) -> float:
        """Weigh everything."""
        coverage = self.answered / self.asked if self.asked else 0.0
        lively = min(self.lively, _LIVELY_MAX) * _LIVELY_WEIGHT
        return self.proof + _COVERAGE_WEIGHT * coverage + lively

    @property
    def proof(self) -> float:
        """Weigh the values alone."""
        return sum(item.weight for item in self.evidence)

    @property
    def fitting(self) -> list[Evidence]:
        """Return what fits, the strongest first."""
        return sorted((item for item in self.evidence if item.verdict is Verdict.FITS), key=lambda item: -item.weight)

    @property
    def is_refuted(self) -> bool:
        """Say whether something that the profile surely has is not so."""
        return any(item.verdict is Verdict.AGAINST for item in self.evidence)


class Certainty(StrEnum):
    """How sure a proposal is."""

    SURE = "sure"
    """Its evidence is strong and no other profile comes near."""
    AMBIGUOUS = "ambiguous"
    """Others fit as well, or nearly so."""
    GUESS = "guess"
    """The unit has the profile's registers, and no value of them proves anything."""
    UNKNOWN = "unknown"


def telling_points(profile: Profile) -> tuple[Point, ...]:
    """Choose the points whose values tell most, the strongest first."""
    usable = [
        point
        for point in profile.points
        if point.is_readable and point.verify is None and point.service is None and point.unit_id is None
    ]
    texts = [point for point in usable if point.is_text and point.quantity == "identity"]
    measured = [point for point in default_points(profile) if usual_of(point) is not None and point in usable]
    measured.sort(key=lambda point: -(usual_of(point) or (0, 0, 0))[2])
    return (*texts[:2], *measured[: _TELLING_MAX - len(texts[:2])])


def mark_of(profile: Profile) -> Mark | None:
    """Read the registers out of `modbus.identify`, where it names any."""
    found = _MARK.match(profile.modbus.identify or "") if profile.modbus is not None else None
    if found is None:
        return None
    count = int(found[3])
    digits = found[4].rjust(4 * count, "0")
    words = tuple(int(digits[start : start + 4], 16) for start in range(0, 4 * count, 4))
    return Mark(int(found[1]), int(found[2], 0), words)


def judge_mark(mark: Mark, words: tuple[int, ...] | None) -> Evidence:
    """Say what the registers of a mark prove; a unit that refuses them may be an older one."""
    if words is None:
        return Evidence("identification", "", "", Verdict.REFUSED, -1.0)
    text = "".join(chr(word & 0xFF) for word in words if 32 <= word & 0xFF < 127)
    if words == mark.words:
        return Evidence("identification", text, "", Verdict.FITS, _MARK_WEIGHT)
    return Evidence("identification", text, "", Verdict.AGAINST, -_MARK_WEIGHT)


def judge_refused(point: Point) -> Evidence:
    """Say what it means that a telling point is refused."""
    return Evidence(point.name, None, "", Verdict.REFUSED, -_REFUSED_WEIGHT)


def judge(profile: Profile, point: Point, value: Value) -> Evidence:
    """Say what one value of a telling point proves for a profile."""
    if point.is_text:
        return _judge_text(profile, point, str(value or ""))
    usual = usual_of(point)
    weight = 1.0 if usual is None else usual.weight
    if not isinstance(value, float) or not value:
        is_missed = point.quantity in ("voltage", "frequency")
        return Evidence(point.name, value, point.unit, Verdict.SAYS_NOTHING, -_ABSENT_WEIGHT if is_missed else 0.0)
    if is_usual(point, value):
        return Evidence(point.name, value, point.unit, Verdict.FITS, weight)
    return Evidence(point.name, value, point.unit, Verdict.AGAINST, -_AGAINST_FACTOR * weight)


def weigh_values(candidate: Candidate, points: Mapping[str, Point], values: Mapping[str, Value]) -> None:
    """Add what a whole reading of a profile's default points shows: how much is there, and whether powers agree."""
    for name, value in values.items():
        point = points[name]
        if not isinstance(value, float):
            continue
        if assess(point, value) != Quality.GOOD or not is_credible(point, value):
            if not any(item.point == name for item in candidate.evidence):
                candidate.evidence.append(Evidence(name, value, point.unit, Verdict.AGAINST, -1.0))
            continue
        candidate.answered += 1
        candidate.lively += value != 0
    candidate.evidence += _agreements(values)


def rank(candidates: list[Candidate]) -> list[Candidate]:
    """Sort candidates, the best first; those with nothing for them are left out."""
    fitting = [candidate for candidate in candidates if candidate.score > 0 and candidate.proof >= 0]
    return sorted(fitting, key=lambda candidate: (-candidate.score, candidate.profile.id))


def certainty(ranked: list[Candidate]) -> Certainty:
    """Say how sure the first one is."""
    if not ranked:
        return Certainty.UNKNOWN
    if ranked[0].proof < PROOF_MIN:
        return Certainty.GUESS
    return Certainty.AMBIGUOUS if len(rivals(ranked)) else Certainty.SURE


def rivals(ranked: list[Candidate]) -> list[Candidate]:
    """Return those that come near the first one."""
    return [other for other in ranked[1:] if other.score > ranked[0].score - _MARGIN]


def _judge_text(profile: Profile, point: Point, text: str) -> Evidence:
    shown = text.strip("\0 ")
    if not shown:
        return Evidence(point.name, "", "", Verdict.SAYS_NOTHING, 0.0)
    if not shown.isprintable() or not shown.isascii():
        return Evidence(point.name, "", "", Verdict.AGAINST, -_TEXT_WEIGHT)
    if _names(profile, shown):
        return Evidence(point.name, shown, "", Verdict.FITS, _NAMED_WEIGHT)
    weight = _TEXT_WEIGHT if len(shown) >= _TEXT_LENGTH_MIN else 0.0
    return Evidence(point.name, shown, "", Verdict.FITS if weight else Verdict.SAYS_NOTHING, weight)


def _names(profile: Profile, text: str) -> bool:
    """Say whether a device's text holds a word of its maker or its model."""
    words = re.findall(r"[a-z]+\d*", f"{profile.manufacturer} {profile.model}".casefold())
    said = re.findall(r"[a-z]+\d*", text.casefold())
    return any(len(word) >= _WORDS_MIN and word in said for word in words)


def _agreements(values: Mapping[str, Value]) -> list[Evidence]:
    """Compare each phase's active power with its voltage times its current, beyond which it cannot be."""
    found = []
    for phase in ("l1", "l2", "l3"):
        volts, amperes = values.get(f"voltage_{phase}_n"), values.get(f"current_{phase}")
        watts = values.get(f"active_power_{phase}")
        if watts is None and phase == "l1" and "current_l2" not in values:
            watts = values.get("active_power_total")
        if not (isinstance(volts, float) and isinstance(amperes, float) and isinstance(watts, float)):
            continue
        apparent = abs(volts * amperes)
        if apparent < 1:
            continue
        name = f"active_power_{phase}"
        if abs(watts) > 1.2 * apparent + 5:
            found.append(Evidence(name, watts, "W", Verdict.AGAINST, -_AGREEMENT_WEIGHT))
        elif abs(watts) > 0.1 * apparent:
            found.append(Evidence(name, watts, "W", Verdict.FITS, _AGREEMENT_WEIGHT))
    return found[:1] if all(item.verdict is Verdict.FITS for item in found) else found
