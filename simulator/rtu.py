"""Modbus RTU as bytes and as time: frames with their check, and what a serial line takes to carry them. Pure.

Source: MODBUS over Serial Line Specification and Implementation Guide V1.02, 2.5.1 and 6.2.2.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from simulator.modbus import TABLES, WRITE_ONE, WRITE_SEVERAL, NotModbus

_CHECK = struct.Struct("<H")
_FRAME_BYTES_MIN = 4
_POLYNOMIAL = 0xA001
_SILENT_CHARACTERS = 3.5
_FAST_BAUD = 19_200
_FAST_SILENCE_S = 0.00175
_OVERHEAD_BYTES = 3
"""Unit id before, check behind the PDU."""
_FIXED_REQUEST_BYTES = 8


@dataclass(frozen=True, slots=True)
class LineSettings:
    """How the characters of a serial line look."""

    baud: int = 9600
    parity: str = "N"
    """`N`, `E` or `O`."""
    stop_bits: int = 1

    @property
    def bits_per_character(self) -> int:
        """Count start bit, 8 data bits, parity bit and stop bits."""
        return 9 + (self.parity != "N") + self.stop_bits

    @property
    def character_s(self) -> float:
        """How long one character takes."""
        return self.bits_per_character / self.baud

    @property
    def silence_s(self) -> float:
        """The silence that separates two frames: 3.5 characters, and a fixed time above 19,200 baud."""
        return _FAST_SILENCE_S if self.baud > _FAST_BAUD else _SILENT_CHARACTERS * self.character_s


def read_exchange(registers: int) -> tuple[int, int]:
    """Return how many characters the request and the answer of a read of registers have."""
    return _FIXED_REQUEST_BYTES, _OVERHEAD_BYTES + 2 + 2 * registers


def line_limit(exchanges: Iterable[tuple[int, int]], settings: LineSettings, turnaround_s: float = 0.0) -> float:
    """Return the least time in s in which a line carries exchanges of (request, answer) characters.

    Both silences of each exchange are kept: between request and answer, where the unit may take longer
    (`turnaround_s`), and between the answer and the next request.
    """
    silences_s = max(settings.silence_s, turnaround_s) + settings.silence_s
    return sum((asked + answered) * settings.character_s + silences_s for asked, answered in exchanges)


def rtu_frame(unit_id: int, pdu: bytes) -> bytes:
    """Put the unit id before a PDU and the check behind it."""
    body = bytes((unit_id & 0xFF,)) + pdu
    return body + _CHECK.pack(crc16(body))


def parse_rtu(data: bytes) -> tuple[int, bytes]:
    """Take a frame apart into unit id and PDU.

    Raises: NotModbus when it is too short or its check is wrong.
    """
    if len(data) < _FRAME_BYTES_MIN or crc16(data[:-2]) != _CHECK.unpack(data[-2:])[0]:
        raise NotModbus
    return data[0], data[1:-2]


def request_bytes(start: bytes) -> int | None:
    """Return the length of the request that starts so, or of the part that tells; None when unknown.

    Where there is no silence to end a frame, the function code must tell its length.
    """
    function_code = start[1]
    if function_code in TABLES or function_code in WRITE_ONE:
        return _FIXED_REQUEST_BYTES
    if function_code not in WRITE_SEVERAL:
        return None
    return 7 if len(start) < 7 else 7 + start[6] + 2


def crc16(data: bytes) -> int:
    """Compute the check of a frame, whose low byte is sent first."""
    check = 0xFFFF
    for byte in data:
        check = check >> 8 ^ _CRC_TABLE[(check ^ byte) & 0xFF]
    return check


def _crc_entry(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_CRC_TABLE = tuple(_crc_entry(byte) for byte in range(256))
