"""Requests, and what shows that an answer is theirs: function, byte count, echo. Pure.

pymodbus encodes and decodes. It compares neither the function code nor the length of an answer with its
request; that is done here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadDiscreteInputsRequest,
    WriteMultipleCoilsRequest,
    WriteSingleCoilRequest,
)
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadInputRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from protocol.profile import Table

_EXCEPTION_NAMES = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "server device failure",
    5: "acknowledge",
    6: "server device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target device failed to respond",
}
_EXCEPTION_FLAG = 0x80
_EXCEPTION_BYTES = 2
_ECHO_BYTES = 5
"""Function, address, and the value or the count."""
_READ_HEAD_BYTES = 2
"""Function and byte count."""
_READS: dict[Table, type[ModbusPDU]] = {
    Table.COIL: ReadCoilsRequest,
    Table.DISCRETE_INPUT: ReadDiscreteInputsRequest,
    Table.HOLDING_REGISTER: ReadHoldingRegistersRequest,
    Table.INPUT_REGISTER: ReadInputRegistersRequest,
}
READ_FUNCTIONS = frozenset({1, 2, 3, 4})
WRITE_FUNCTIONS = frozenset({5, 6, 15, 16})
_BIT_FUNCTIONS = frozenset({1, 2})
_REGISTERS_WRITTEN_MAX, _COILS_WRITTEN_MAX = 123, 1968
_DECODER = DecodePDU(is_server=False)


def exception_text(code: int) -> str:
    """Name a Modbus exception for people, such as `exception 2 (illegal data address)`."""
    name = _EXCEPTION_NAMES.get(code)
    return f"exception {code} ({name})" if name else f"exception {code}"


@dataclass(frozen=True, slots=True)
class Request:
    """One request to one unit."""

    unit_id: int
    pdu: bytes
    count: int
    """How many registers or bits are read or written."""
    what: str
    """For people, such as `holding_register 100..101`."""

    @property
    def function_code(self) -> int:
        """Return what is asked for, as on the wire."""
        return self.pdu[0]

    @property
    def is_read(self) -> bool:
        """Say whether the request changes nothing, so that it may be repeated."""
        return self.function_code in READ_FUNCTIONS

    @property
    def answer_bytes(self) -> int:
        """Return the length of the PDU that grants the request."""
        return _READ_HEAD_BYTES + self._data_bytes if self.is_read else _ECHO_BYTES

    @property
    def _data_bytes(self) -> int:
        return (self.count + 7) // 8 if self.function_code in _BIT_FUNCTIONS else 2 * self.count

    def find_fault(self, pdu: bytes) -> str | None:
        """Say what shows that a PDU is not the answer; None when it is, be it a refusal."""
        if pdu[0] & ~_EXCEPTION_FLAG != self.function_code:
            return f"answered function {pdu[0]} to function {self.function_code}"
        if pdu[0] & _EXCEPTION_FLAG:
            if len(pdu) != _EXCEPTION_BYTES:
                return "answered with a frame that is cut short or too long"
            return None if pdu[1] else "answered with exception 0, which does not exist"
        return self._find_read_fault(pdu) if self.is_read else self._find_write_fault(pdu)

    def _find_read_fault(self, pdu: bytes) -> str | None:
        if len(pdu) < _READ_HEAD_BYTES or len(pdu) != _READ_HEAD_BYTES + pdu[1]:
            return "answered with a frame that is cut short or too long"
        if pdu[1] != self._data_bytes:
            return f"answered {pdu[1]} bytes of values to a request for {self._data_bytes}"
        return None

    def _find_write_fault(self, pdu: bytes) -> str | None:
        return None if pdu == self.pdu[:_ECHO_BYTES] else "did not confirm the write that it was sent"

    def values_of(self, pdu: bytes) -> Sequence[int]:
        """Decode the answer to a read, in which no fault was found: registers, or bits as 0 and 1."""
        answer = _DECODER.decode(pdu)
        if answer is None:
            raise ValueError(f"no answer to a read: {pdu.hex()}")
        return answer.registers or [int(bit) for bit in answer.bits[: self.count]]


def exception_of(pdu: bytes) -> int | None:
    """Return the exception code that an answer holds; None when it grants the request."""
    return pdu[1] if pdu[0] & _EXCEPTION_FLAG else None


def answer_pdu_bytes(start: bytes) -> int | None:
    """Return how long the PDU of an answer is that starts so; None for a function that we never use.

    The answer to a read tells by its second byte; without it the least length is returned.
    """
    function_code = start[0]
    if function_code & _EXCEPTION_FLAG:
        return _EXCEPTION_BYTES
    if function_code in WRITE_FUNCTIONS:
        return _ECHO_BYTES
    if function_code in READ_FUNCTIONS:
        return _READ_HEAD_BYTES + (start[1] if len(start) > 1 else 1)
    return None


def read_request(*, unit_id: int, table: Table, address: int, count: int) -> Request:
    """Build a request to read `count` entries from the zero-based `address`.

    Raises: ValueError when no such request exists.
    """
    message = _READS[table](address=address, count=count)
    return Request(unit_id, _encode(message), count, f"{table} {address}..{address + count - 1}")


def write_request(*, unit_id: int, table: Table, address: int, words: Sequence[int]) -> Request:
    """Build a request to write registers (0..65535 each) or coils (0 or 1): function 5 or 6 for one, 15 or 16 for more.

    Raises: ValueError when no such request exists.
    """
    most = {Table.COIL: _COILS_WRITTEN_MAX, Table.HOLDING_REGISTER: _REGISTERS_WRITTEN_MAX}.get(table, 0)
    if not 1 <= len(words) <= most or not 0 <= address <= 0x10000 - len(words):
        raise ValueError(f"{table} {address}: cannot write {len(words)} entries there, {most} at the most")
    highest = 1 if table is Table.COIL else 0xFFFF
    if not all(0 <= word <= highest for word in words):
        raise ValueError(f"{table} {address}: entries are 0 to {highest}, not {list(words)}")
    message: ModbusPDU
    if table is Table.COIL:
        bits = [bool(word) for word in words]
        message = (WriteSingleCoilRequest if len(bits) == 1 else WriteMultipleCoilsRequest)(address=address, bits=bits)
    else:
        kind = WriteSingleRegisterRequest if len(words) == 1 else WriteMultipleRegistersRequest
        message = kind(address=address, registers=list(words))
    return Request(unit_id, _encode(message), len(words), f"{table} {address}..{address + len(words) - 1}")


def _encode(message: ModbusPDU) -> bytes:
    return message.function_code.to_bytes() + message.encode()
