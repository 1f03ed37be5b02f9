"""What answers under a unit id, whatever carries the request: the script of its faults, and its answers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from protocol.profile import Table
from simulator.faults import Fault, FaultKind
from simulator.modbus import Read, Refusal, Request, Write, answer_pdu, parse_request, refusal_pdu, write_answer_pdu

BROADCAST = 0
"""The unit id of writes that all units of a serial line obey and none answers."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The registers of a unit at one instant."""

    words: Mapping[tuple[Table, int], int]


@dataclass(frozen=True, slots=True)
class Visit:
    """One client's connection. Each has frames of its own: two clients never mix their scans."""

    client: str = ""
    """Its address and port, or the serial line's path."""
    frames: dict[int, Frame] = field(default_factory=dict)
    """By unit id."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a unit makes of a request, before a fault spoils it on its way."""

    pdu: bytes
    fault: Fault | None
    delay_s: float
    """How long the unit takes."""


@dataclass(slots=True)
class _Scripted:
    fault: Fault
    requests_left: int | None


class Unit(ABC):
    """One Modbus unit."""

    def __init__(self, *, meter_id: str, unit_id: int, turnaround_s: float = 0.0) -> None:
        """Name the unit; `turnaround_s` is how long it takes for each answer."""
        self.id = meter_id
        self.unit_id = unit_id
        self.turnaround_s = turnaround_s
        self._script: tuple[_Scripted, ...] = ()

    @property
    def fault(self) -> Fault | None:
        """What is wrong with the unit now: the first, if several are set."""
        return self._script[0].fault if self._script else None

    def set_fault(self, fault: Fault | None) -> None:
        """Let something go wrong from now on, or end all that is wrong."""
        self.set_faults(*([] if fault is None else [fault]))

    def set_faults(self, *faults: Fault) -> None:
        """Let several things go wrong; a request meets the first that applies to it."""
        self._script = tuple(_Scripted(fault, fault.requests) for fault in faults)

    def meet_fault(self, request: Request | None = None) -> Fault | None:
        """Return the fault that the request in hand meets, and count the request.

        A request that nothing is known of meets only faults that all requests meet.
        """
        for scripted in self._script:
            if scripted.fault.addresses and (
                request is None or not scripted.fault.meets(request.address, request.count)
            ):
                continue
            if scripted.requests_left is not None:
                scripted.requests_left -= 1
                if scripted.requests_left <= 0:
                    self._script = tuple(other for other in self._script if other is not scripted)
            return scripted.fault
        return None

    def ask(self, pdu: bytes, visit: Visit) -> Outcome:
        """Take one request: do what it asks for, and say what the answer is."""
        request, fault = None, None
        try:
            request = parse_request(pdu)
            fault = self.meet_fault(request)
            answer = self._obey(request, pdu, fault, visit)
        except Refusal as refusal:
            if request is None:
                fault = self.meet_fault()
            answer = refusal_pdu(pdu[0], refusal.code)
        else:
            if fault is not None and fault.kind is FaultKind.EXCEPTION:
                answer = refusal_pdu(pdu[0], fault.exception_code)
        is_slow = fault is not None and fault.kind is FaultKind.SLOW
        return Outcome(answer, fault, fault.delay_s if fault is not None and is_slow else self.turnaround_s)

    def _obey(self, request: Request, pdu: bytes, fault: Fault | None, visit: Visit) -> bytes:
        if isinstance(request, Read):
            return answer_pdu(request.table, self._read(request, fault, visit))
        if fault is None or fault.spares_the_effect:
            self._write(request)
        return write_answer_pdu(pdu)

    @abstractmethod
    def _read(self, read: Read, fault: Fault | None, visit: Visit) -> list[int]:
        """Return the entries that are asked for.

        Raises: Refusal.
        """

    @abstractmethod
    def _write(self, write: Write) -> None:
        """Set entries.

        Raises: Refusal.
        """
