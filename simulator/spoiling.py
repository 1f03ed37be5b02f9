"""What a fault does to the bytes of an answer. Pure."""

from simulator.faults import Fault, FaultKind
from simulator.modbus import TABLES

_NOISE = b"\x00\xff\x00"
"""What a transceiver that begins to drive its line may be heard as."""


def spoil_pdu(fault: Fault | None, unit_id: int, pdu: bytes) -> tuple[int, bytes]:
    """Return the unit id and the PDU with what the fault does to them, before they are framed."""
    kind = fault.kind if fault is not None else None
    is_read = pdu[0] in TABLES
    if kind is FaultKind.WRONG_UNIT_ID:
        return unit_id + 1, pdu
    if kind is FaultKind.WRONG_FUNCTION:
        # Holding for input registers and the reverse: the length still fits.
        return unit_id, bytes((pdu[0] ^ 7,)) + pdu[1:]
    if kind is FaultKind.SHORT and is_read:
        cut = min(2, pdu[1])
        return unit_id, bytes((pdu[0], pdu[1] - cut)) + pdu[2:-cut]
    if kind is FaultKind.WRONG_BYTE_COUNT and is_read:
        return unit_id, bytes((pdu[0], pdu[1] + 2 & 0xFF)) + pdu[2:]
    return unit_id, pdu


def spoil_frame(fault: Fault | None, frame: bytes) -> bytes:
    """Return what of a frame comes out; nothing when the meter is silent."""
    match fault.kind if fault is not None else None:
        case FaultKind.DEAD | FaultKind.REFUSED | FaultKind.CLOSED:
            return b""
        case FaultKind.TRUNCATED:
            return frame[: len(frame) // 2]
        case FaultKind.BAD_CRC:
            return frame[:-1] + bytes((frame[-1] ^ 0xFF,))
        case FaultKind.FOREIGN_BYTES:
            return _NOISE + frame
    return frame
