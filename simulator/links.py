"""What lies between a TCP port and the units that answer behind it. Pure."""

from dataclasses import dataclass

from simulator.faults import FaultKind
from simulator.rtu import LineSettings

_SILENT = frozenset({FaultKind.DEAD, FaultKind.TRUNCATED, FaultKind.BAD_CRC})
"""Faults behind which a gateway sees no answer."""


@dataclass(frozen=True, slots=True)
class Direct:
    """The units speak Modbus TCP themselves, to any number of clients at once."""

    unfit = frozenset({FaultKind.BAD_CRC})
    """What cannot happen here."""
    speaks_rtu = False
    settings = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Modbus TCP in front, one serial line behind it: one request at a time, whoever asks.

    The gateway waits for a unit, and keeps all others waiting, for `timeout_s`; then it answers with
    exception 11, or not at all.
    """

    timeout_s: float = 1.0
    answers_for_silent: bool = True
    settings: LineSettings | None = None
    """The line behind takes its time; None: it takes none."""
    unfit = frozenset[FaultKind]()
    speaks_rtu = False

    def hears(self, kind: FaultKind | None, delay_s: float) -> bool:
        """Say whether the answer of a unit reaches the gateway in time and whole."""
        return kind not in _SILENT and delay_s < self.timeout_s


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialServer:
    """RTU frames on a TCP connection, as a transparent serial server passes them on: one request at a time."""

    settings: LineSettings | None = None
    """The line behind takes its time; None: it takes none."""
    unfit = frozenset({FaultKind.WRONG_TRANSACTION})
    speaks_rtu = True


Link = Direct | Gateway | SerialServer
