"""From requests to bytes on the line, and from bytes to the answer that is certainly the request's own. Pure.

pymodbus's framers build the frames and compute their check. Taking frames apart is done here: its framer
for TCP accepts transaction id 0 for any request, that for RTU throws everything away when noise stands
before an answer.
"""

from typing import NamedTuple, Protocol

from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU

from edge_agent.bus.pdu import Request, answer_pdu_bytes
from protocol.line_config import Transport

_MBAP_BYTES = 7
_LENGTH_FIELD_END = 6
_LENGTH_MIN, _LENGTH_MAX = 3, 254
_UNIT_AND_CHECK_BYTES = 3
_RTU_BYTES_MIN = 5
"""Of an exception: unit, function, code and two bytes of check."""


class Finding(NamedTuple):
    """What the bytes received so far are."""

    used: int = 0
    """How many of them are done with, from the first; 0 when more must come before anything can be said."""
    pdu: bytes = b""
    """The answer, when these bytes end with it."""
    stray: str = ""
    """Whom or what else they come from: wait on."""
    fault: str = ""
    """Why no proper answer is to be expected any more."""


class Framing(Protocol):
    """A way to put PDUs into frames."""

    overhead_bytes: int
    """What a frame has beside its PDU."""
    tells_answers_apart: bool
    """Whether an answer names its request, so that a late one cannot be taken for another's."""

    def encode(self, request: Request) -> bytes:
        """Build the frame of a request, which is the one that answers are due to from now on."""

    def examine(self, data: bytes, request: Request) -> Finding:
        """Say what the received bytes are to the request that was encoded last."""


class TcpFraming:
    """Modbus TCP: a header with transaction id and length before each PDU."""

    overhead_bytes = _MBAP_BYTES
    tells_answers_apart = True

    def __init__(self) -> None:
        self._framer = FramerSocket(DecodePDU(is_server=False))
        self._transaction_id = 0

    def encode(self, request: Request) -> bytes:
        """Build the frame of a request, with the next transaction id: 1..65535, never 0."""
        self._transaction_id = self._transaction_id % 0xFFFF + 1
        return self._framer.encode(request.pdu, request.unit_id, self._transaction_id)

    def examine(self, data: bytes, request: Request) -> Finding:
        """Say what the first frame is."""
        if len(data) < _LENGTH_FIELD_END:
            return Finding()
        length = int.from_bytes(data[4:_LENGTH_FIELD_END])
        if data[2:4] != b"\0\0" or not _LENGTH_MIN <= length <= _LENGTH_MAX:
            return Finding(len(data), fault="answered with bytes that are no Modbus TCP frame")
        used = _LENGTH_FIELD_END + length
        if len(data) < used:
            return Finding()
        transaction_id, unit_id, pdu = int.from_bytes(data[:2]), data[6], data[_MBAP_BYTES:used]
        if stray := self._find_other_addressee(transaction_id, unit_id, request):
            return Finding(used, stray=stray)
        if transaction_id == 0:
            return Finding(used, fault=f"answered with transaction id 0 instead of {self._transaction_id}")
        return _judge(pdu, used, request)

    def _find_other_addressee(self, transaction_id: int, unit_id: int, request: Request) -> str | None:
        if transaction_id not in (0, self._transaction_id):
            return f"an answer to transaction {transaction_id} instead of {self._transaction_id}"
        return None if unit_id == request.unit_id else f"an answer of unit {unit_id}"


class RtuFraming:
    """Modbus RTU: unit id before, check behind. Frames have no mark where they begin, nor whose answer they are."""

    overhead_bytes = _UNIT_AND_CHECK_BYTES
    tells_answers_apart = False

    def __init__(self) -> None:
        self._framer = FramerRTU(DecodePDU(is_server=False))

    def encode(self, request: Request) -> bytes:
        """Build the frame of a request."""
        return self._framer.encode(request.pdu, request.unit_id, 0)

    def examine(self, data: bytes, request: Request) -> Finding:
        """Find the answer, also behind noise, or a whole frame of another unit before it."""
        for start in range(len(data) - _RTU_BYTES_MIN + 1):
            unit_id, function_code = data[start], data[start + 1] & 0x7F
            looks_right = unit_id == request.unit_id and function_code == request.function_code
            if start and not looks_right:
                continue  # foreign frames are found where the line was silent before, else anything looks like one
            size = answer_pdu_bytes(data[start + 1 : start + 3])
            if size is None:
                continue
            end = start + size + _UNIT_AND_CHECK_BYTES
            if len(data) < end:
                if looks_right:
                    break  # judge nothing inside what may become the answer
            elif _has_right_check(data[start:end]):
                if unit_id != request.unit_id:
                    return Finding(end, stray=f"an answer of unit {unit_id}")
                return _judge(data[start + 1 : end - 2], end, request)
        return Finding()


def _has_right_check(frame: bytes) -> bool:
    return FramerRTU.check_CRC(frame[:-2], int.from_bytes(frame[-2:]))


def _judge(pdu: bytes, used: int, request: Request) -> Finding:
    fault = request.find_fault(pdu)
    return Finding(used, pdu) if fault is None else Finding(used, fault=fault)


def framing_for(transport: Transport) -> Framing:
    """Return the framing of a transport."""
    return RtuFraming() if transport in (Transport.RTU, Transport.RTU_OVER_TCP) else TcpFraming()
