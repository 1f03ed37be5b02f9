"""What a file of readings amounts to, before the database is asked: series to store, and lines refused. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cloud_hub.energy.model import Finding

REJECTED_KEPT = 100
"""Refused lines that are told one by one; the others are counted."""

_GIVEN_MAX = 60


@dataclass(frozen=True, slots=True)
class Rejected:
    """A cell of a file that cannot be taken, or a line when `column` is empty."""

    line: int
    column: str
    given: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        where = f"line {self.line}" + (f", column {self.column!r}" if self.column else "")
        what = f" {self.given!r}" if self.given else ""
        return f"{where}:{what} {self.reason}: {self.remedy}"


@dataclass(slots=True)
class Rejections:
    """Refused lines: the first of them in full, all of them in numbers."""

    first: list[Rejected] = field(default_factory=list)
    by_reason: Counter[str] = field(default_factory=Counter)

    def add(self, line: int, column: str, given: str, reason: str, remedy: str) -> None:
        """Note one."""
        self.by_reason[reason] += 1
        if len(self.first) < REJECTED_KEPT:
            shown = given if len(given) <= _GIVEN_MAX else given[:_GIVEN_MAX] + "…"
            self.first.append(Rejected(line, column, shown, reason, remedy))

    @property
    def total(self) -> int:
        """How many there are."""
        return self.by_reason.total()


@dataclass(frozen=True, slots=True)
class PlannedSeries:
    """The readings of one point, by the names of the file; equally long columns, ordered by time, no instant twice."""

    meter: str
    point: str
    unit: str | None
    """What `value` is in; None when the file does not say: then it is the point's own."""
    observed_at_ms: NDArray[np.int64]
    """UTC milliseconds since 1970."""
    value: NDArray[np.float64]
    """NaN where the quality carries none."""
    quality: NDArray[np.int16]
    line: NDArray[np.int64]
    """Where each stands in the file."""
    column: str = ""
    """The title of the column that holds the values."""
    findings: tuple[Finding, ...] = ()

    def __len__(self) -> int:
        return len(self.observed_at_ms)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a file says."""

    series: tuple[PlannedSeries, ...]
    rejections: Rejections
    lines: int
    """With readings or without; the first one, with the columns' names, is not counted."""
    empty: int
    """Cells without a number: nothing was read there."""
    repeated: int
    """Readings that the file has before, with the same value."""

    @property
    def readings(self) -> int:
        """How many could be stored."""
        return sum(len(series) for series in self.series)

    @property
    def findings(self) -> Mapping[str, int]:
        """How often each kind of event was found, by its name."""
        return Counter(str(finding.kind) for series in self.series for finding in series.findings)
