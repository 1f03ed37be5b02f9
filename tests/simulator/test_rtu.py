"""Frames of Modbus RTU are made and taken apart as the standard has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.modbus import NotModbus
from simulator.rtu import crc16, parse_rtu, request_bytes, rtu_frame


def test_check_is_that_of_the_standard() -> None:
    # MODBUS over Serial Line V1.02, 6.2.2: the frame 02 07 has the check 0x1241.
    assert crc16(bytes((0x02, 0x07))) == 0x1241
    assert rtu_frame(0x02, bytes((0x07,))) == bytes((0x02, 0x07, 0x41, 0x12))


@given(st.integers(0, 255), st.binary(min_size=1, max_size=253))
def test_parsing_undoes_framing(unit_id: int, pdu: bytes) -> None:
    assert parse_rtu(rtu_frame(unit_id, pdu)) == (unit_id, pdu)


@given(st.binary(min_size=1, max_size=253), st.data())
def test_no_changed_bit_passes(pdu: bytes, data: st.DataObject) -> None:
    frame = bytearray(rtu_frame(1, pdu))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(NotModbus):
        parse_rtu(bytes(frame))


@pytest.mark.parametrize("frame", [b"", b"\x01", rtu_frame(1, b"")])
def test_too_short_frame_is_none(frame: bytes) -> None:
    with pytest.raises(NotModbus):
        parse_rtu(frame)


@pytest.mark.parametrize(
    ("pdu", "known"),
    [
        (bytes((3, 0, 0, 0, 2)), True),
        (bytes((5, 0, 0, 0xFF, 0)), True),
        (bytes((16, 0, 0, 0, 2, 4, 1, 2, 3, 4)), True),
        (bytes((43, 14, 1, 0)), False),
    ],
)
def test_length_of_a_request_follows_from_its_beginning(pdu: bytes, *, known: bool) -> None:
    frame = rtu_frame(1, pdu)
    assert request_bytes(frame) == (len(frame) if known else None)
