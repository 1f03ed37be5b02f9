"""Stamps of a file as instants: with an offset from UTC as they are, without one by a zone and the order of rows. Pure."""

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from cloud_hub.calendar.days import instant_of_ms, ms_of_instant
from cloud_hub.calendar.periods import LocalClock, UnresolvedTime

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
"""No reading of a meter is from before or after."""

NO_RECEIPT = -(2**63)


class BadStamp(ValueError):
    """A cell that is no instant; its arguments are the reason and the remedy."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason, remedy)
        self.reason, self.remedy = reason, remedy


def parse_stamp(text: str, time_format: str | None) -> datetime:
    """Read a stamp; it is aware when it has an offset from UTC, else by some wall clock.

    Raises: BadStamp.
    """
    try:
        stamp = datetime.fromisoformat(text) if time_format is None else datetime.strptime(text, time_format)  # noqa: DTZ007 - a stamp without offset is resolved later, by its zone
    except ValueError:
        remedy = (
            "write it as 2026-01-31T12:00:00Z, or say --time-format" if time_format is None else "see --time-format"
        )
        raise BadStamp("is no instant", remedy) from None
    try:
        at = stamp.replace(tzinfo=stamp.tzinfo or UTC).astimezone(UTC)
    except OverflowError:
        at = LATEST
    if not EARLIEST <= at < LATEST:
        raise BadStamp("lies outside 1970 to 2199", "correct it: no meter was read then")
    return stamp


@dataclass(slots=True)
class Track:
    """The stamps of one meter (or point) in the order of the file's rows, each with its line and its receipt."""

    stamp_ms: "array[int]" = field(default_factory=lambda: array("q"))
    """UTC milliseconds since 1970; of a stamp without offset, as if its wall clock were UTC's."""
    is_local: "array[int]" = field(default_factory=lambda: array("b"))
    received_ms: "array[int]" = field(default_factory=lambda: array("q"))
    line: "array[int]" = field(default_factory=lambda: array("q"))

    def add(self, stamp: datetime, received: datetime | None, line: int) -> int:
        """Take a row in and return its place."""
        self.is_local.append(stamp.tzinfo is None)
        self.stamp_ms.append(ms_of_instant(stamp.replace(tzinfo=stamp.tzinfo or UTC)))
        self.received_ms.append(NO_RECEIPT if received is None else ms_of_instant(received))
        self.line.append(line)
        return len(self.line) - 1


@dataclass(frozen=True, slots=True)
class Settled:
    """The stamps of a track as instants; equally long columns, in the order of the rows."""

    at_ms: NDArray[np.int64]
    line: NDArray[np.int64]
    is_known: NDArray[np.bool_]
    """False where a stamp is no instant; that has been told."""
    received_ms: NDArray[np.int64]
    """`NO_RECEIPT` where the file does not say."""


Refuse = Callable[[int, str, str, str], None]
"""Takes the line, what is written there, the reason and the remedy."""


def settle(track: Track, zone: ZoneInfo | None, refuse: Refuse) -> Settled:
    """Turn a track's stamps into instants; those without an offset are by the clock of `zone`."""
    at_ms = np.array(track.stamp_ms, dtype=np.int64)
    line = np.array(track.line, dtype=np.int64)
    is_known = np.ones(len(at_ms), dtype=bool)
    local = np.flatnonzero(np.array(track.is_local, dtype=bool))
    if len(local) and zone is not None:
        _resolve(local, at_ms, is_known, line, zone, refuse)
    return Settled(at_ms, line, is_known, np.array(track.received_ms, dtype=np.int64))


def _resolve(  # noqa: PLR0917 - the columns of a track, and where to complain
    local: NDArray[np.int64],
    at_ms: NDArray[np.int64],
    is_known: NDArray[np.bool_],
    line: NDArray[np.int64],
    zone: ZoneInfo,
    refuse: Refuse,
) -> None:
    """Put instants in place of wall clock times. Rows may be oldest first or newest first."""
    stamps = at_ms[local]
    steps_back = int((np.diff(stamps) < 0).sum())
    in_time = local[::-1] if steps_back * 2 > len(stamps) - 1 else local
    clock = LocalClock(zone)
    for row in in_time.tolist():
        stamp = instant_of_ms(int(at_ms[row])).replace(tzinfo=None)
        try:
            at_ms[row] = ms_of_instant(clock.resolve(stamp))
        except UnresolvedTime as error:
            is_known[row] = False
            reason, _, remedy = str(error).removeprefix(f"{stamp} ").partition("; ")
            refuse(int(line[row]), str(stamp), reason, remedy or "sort the rows by time, or write offsets from UTC")
