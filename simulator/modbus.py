"""Requests and answers of Modbus as bytes, seen from the server, and the header of Modbus TCP. Pure.

Source: MODBUS Application Protocol V1.1b3; MODBUS Messaging on TCP/IP Implementation Guide V1.0b.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from protocol.profile import Table

HEADER_BYTES = 7
_HEADER = struct.Struct(">HHHB")
_READ = struct.Struct(">BHH")
_WRITE_SEVERAL = struct.Struct(">BHHB")
_PDU_BYTES_MAX = 253
_ERROR_FLAG = 0x80

_COIL_ON, _COIL_OFF = 0xFF00, 0x0000

TABLES = {table.read_function_code: table for table in Table}
WRITE_ONE = {5: Table.COIL, 6: Table.HOLDING_REGISTER}
WRITE_SEVERAL = {15: Table.COIL, 16: Table.HOLDING_REGISTER}


class ExceptionCode(IntEnum):
    """Why a server refuses."""

    ILLEGAL_FUNCTION = 1
    ILLEGAL_DATA_ADDRESS = 2
    ILLEGAL_DATA_VALUE = 3
    SERVER_DEVICE_FAILURE = 4
    GATEWAY_TARGET_FAILED_TO_RESPOND = 11


class Refusal(Exception):
    """The request is answered with an exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class NotModbus(Exception):
    """The bytes are no Modbus TCP frame; the connection cannot be understood any further."""


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before every request and answer."""

    transaction_id: int
    unit_id: int
    pdu_bytes: int


@dataclass(frozen=True, slots=True)
class Read:
    """A request to read `count` entries of a table from `address`."""

    table: Table
    address: int
    count: int

    def covers(self, table: Table, address: int) -> bool:
        """Say whether an entry is asked for."""
        return table is self.table and self.address <= address < self.address + self.count


@dataclass(frozen=True, slots=True)
class Write:
    """A request to set entries of a table from `address`: registers, or bits as 0 and 1."""

    function_code: int
    table: Table
    address: int
    entries: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many entries are set."""
        return len(self.entries)


Request = Read | Write


def parse_header(data: bytes) -> Header:
    """Parse 7 bytes.

    Raises: NotModbus.
    """
    transaction_id, protocol_id, length, unit_id = _HEADER.unpack(data)
    if protocol_id != 0 or not 2 <= length <= _PDU_BYTES_MAX + 1:
        raise NotModbus
    return Header(transaction_id, unit_id, length - 1)


def parse_read(pdu: bytes) -> Read:
    """Parse a request of function 1 to 4.

    Raises: Refusal.
    """
    table = TABLES.get(pdu[0])
    if table is None:
        raise Refusal(ExceptionCode.ILLEGAL_FUNCTION)
    if len(pdu) != _READ.size:
        raise Refusal(ExceptionCode.ILLEGAL_DATA_VALUE)
    _, address, count = _READ.unpack(pdu)
    if not 1 <= count <= (2_000 if table.holds_bits else 125):
        raise Refusal(ExceptionCode.ILLEGAL_DATA_VALUE)
    if address + count > 0x10000:
        raise Refusal(ExceptionCode.ILLEGAL_DATA_ADDRESS)
    return Read(table, address, count)


def parse_request(pdu: bytes) -> Request:
    """Parse a request of function 1 to 6, 15 or 16.

    Raises: Refusal.
    """
    if pdu[0] in WRITE_ONE:
        return _parse_write_one(pdu)
    if pdu[0] in WRITE_SEVERAL:
        return _parse_write_several(pdu)
    return parse_read(pdu)


def _parse_write_one(pdu: bytes) -> Write:
    if len(pdu) != _READ.size:
        raise Refusal(ExceptionCode.ILLEGAL_DATA_VALUE)
    function_code, address, entry = _READ.unpack(pdu)
    table = WRITE_ONE[function_code]
    if table.holds_bits:
        if entry not in (_COIL_ON, _COIL_OFF):
            raise Refusal(ExceptionCode.ILLEGAL_DATA_VALUE)
        entry = int(entry == _COIL_ON)
    return Write(function_code, table, address, (entry,))


def _parse_write_several(pdu: bytes) -> Write:
    if len(pdu) < _WRITE_SEVERAL.size:
        raise Refusal(ExceptionCode.ILLEGAL_DATA_VALUE)
    function_code, address, count, size = _WRITE_SEVERAL.unpack_from(pdu)
    table, data = WRITE_SEVERAL[function_code], pdu[_WRITE_SEVERAL.size :]
    most, due = (1_968, (count + 7) // 8) if table.holds_bits else (123, 2 * count)
    if not 1 <= count <= most or not size == due == len(data):
        raise Refusal(ExceptionCode.ILLEGAL_DATA_VALUE)
    if address + count > 0x10000:
        raise Refusal(ExceptionCode.ILLEGAL_DATA_ADDRESS)
    if table.holds_bits:
        bits = int.from_bytes(data, "little")
        return Write(function_code, table, address, tuple(bits >> index & 1 for index in range(count)))
    return Write(function_code, table, address, struct.unpack(f">{count}H", data))


def write_answer_pdu(pdu: bytes) -> bytes:
    """Build the answer to a write from its request: the same again, or its address and count."""
    return pdu[: _READ.size]


def answer_pdu(table: Table, entries: Sequence[int]) -> bytes:
    """Build the answer to a read: registers, or bits packed with the first as the lowest of the first byte."""
    if table.holds_bits:
        bits = sum(bool(entry) << index for index, entry in enumerate(entries))
        data = bits.to_bytes((len(entries) + 7) // 8, "little")
    else:
        data = struct.pack(f">{len(entries)}H", *entries)
    return bytes((table.read_function_code, len(data))) + data


def refusal_pdu(function_code: int, code: int) -> bytes:
    """Build the answer that refuses."""
    return bytes((function_code | _ERROR_FLAG, code))


def frame(transaction_id: int, unit_id: int, pdu: bytes) -> bytes:
    """Put the header before an answer."""
    return _HEADER.pack(transaction_id & 0xFFFF, 0, len(pdu) + 1, unit_id & 0xFF) + pdu
