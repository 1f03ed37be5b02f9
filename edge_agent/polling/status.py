"""How the meters and buses do, as health reports it. Only the pollers write here."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class MeterState(StrEnum):
    """How a meter does."""

    NEVER_ASKED = "never_asked"
    GOOD = "good"
    REFUSING = "refusing"
    """It answers, but some request with an exception."""
    GARBLED = "garbled"
    """It answers, but some answer cannot be used: noise, or two devices of one unit id."""
    UNREACHABLE = "unreachable"
    """It does not answer; it is asked again at growing intervals."""


class Circuit(StrEnum):
    """Whether a meter is asked whenever it is due."""

    CLOSED = "closed"
    OPEN = "open"
    """It stayed silent: it is asked again at `next_attempt_ms`, a little later each time."""


@dataclass(slots=True)
class MeterStatus:
    """How one meter does, and its polls since the agent's start."""

    state: MeterState = MeterState.NEVER_ASKED
    since_ms: int = 0
    """UTC ms of the last change of state."""
    last_error: str | None = None
    failures: int = 0
    """Polls without an answer in a row."""
    circuit: Circuit = Circuit.CLOSED
    next_attempt_ms: int | None = None
    """UTC ms; None while the circuit is closed."""
    polls_ok: int = 0
    polls_failed: int = 0
    polls_skipped: int = 0
    """Slots in which a group was not asked: the meter backed off, or its bus was late."""
    refused_points: tuple[str, ...] = ()
    """Points that the meter does not have, as it says; they are left out of requests."""
    keep_every: int = 1
    """Above 1, gauges are reported less often, to save traffic."""
    live_until_ms: int | None = None
    """UTC ms until which each sample is recorded; None when nobody looks."""
    texts: dict[str, str] = field(default_factory=dict)
    """What the device says of itself, by point."""
    router: dict[str, Any] = field(default_factory=dict)
    """Signal, operator, position and the like, when the device is a cellular router."""

    def report(self) -> dict[str, Any]:
        """Report for health, short: what is as usual is left out, and `router` has a place of its own."""
        report = asdict(self)
        router = report.pop("router")
        unusual = {"refused_points": (), "keep_every": 1, "live_until_ms": None, "next_attempt_ms": None, "texts": {}}
        if router:
            report.pop("texts")
        return {key: value for key, value in report.items() if key not in unusual or value != unusual[key]}


@dataclass(slots=True)
class BusStatus:
    """How one bus does since the agent's start."""

    polls: int = 0
    """Visits to its meters."""
    restarts: int = 0
    """How often its loop failed or stood still and was begun anew."""
    last_restart_reason: str | None = None
    since_ms: int = 0
    """UTC ms of the last restart, else of the start."""
    line: dict[str, Any] = field(default_factory=dict)
    """Counters of the line itself."""


def meters_line(statuses: Mapping[str, MeterStatus]) -> str:
    """Say in one line how the meters do, and which are silent."""
    silent = [meter for meter, status in statuses.items() if status.circuit is Circuit.OPEN]
    named = ", ".join(silent[:5]) + (" ..." if len(silent) > 5 else "")
    return f"{len(statuses)} meters, {f'{len(silent)} silent: {named}' if silent else 'none silent'}"
