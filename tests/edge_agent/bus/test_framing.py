"""Bytes are taken for an answer only when they certainly are the request's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.bus.framing import Finding, Framing, RtuFraming, TcpFraming
from edge_agent.bus.pdu import Request, read_request, write_request
from protocol.profile import Table
from simulator.rtu import rtu_frame

READ_2 = read_request(unit_id=1, table=Table.HOLDING_REGISTER, address=100, count=2)
ANSWER = bytes((3, 4, 0, 5, 0, 6))


def tcp_frame(pdu: bytes, *, transaction_id: int = 1, unit_id: int = 1) -> bytes:
    return transaction_id.to_bytes(2) + b"\0\0" + (1 + len(pdu)).to_bytes(2) + bytes((unit_id,)) + pdu


def after_request(framing: Framing, request: Request = READ_2) -> Framing:
    framing.encode(request)
    return framing


WIRES = pytest.mark.parametrize(
    ("framing", "frame"),
    [(after_request(TcpFraming()), tcp_frame(ANSWER)), (RtuFraming(), rtu_frame(1, ANSWER))],
    ids=["tcp", "rtu"],
)


@WIRES
def test_frame_that_is_not_complete_yet_is_not_judged(framing: Framing, frame: bytes) -> None:
    for length in range(len(frame)):
        assert framing.examine(frame[:length], READ_2) == Finding()
    assert framing.examine(frame, READ_2) == Finding(len(frame), ANSWER)
    assert framing.examine(frame + frame, READ_2) == Finding(len(frame), ANSWER)


@WIRES
def test_refusal_is_an_answer(framing: Framing, frame: bytes) -> None:
    refusal = b"\x83\x02"
    frame = tcp_frame(refusal) if framing.tells_answers_apart else rtu_frame(1, refusal)
    assert framing.examine(frame, READ_2) == Finding(len(frame), refusal)


def test_requests_are_as_the_standard_writes_them() -> None:
    """Examples of the Modbus application protocol V1.1b3, 6.3, 6.6 and 6.12."""
    assert read_request(unit_id=1, table=Table.HOLDING_REGISTER, address=107, count=3).pdu.hex() == "03006b0003"
    assert write_request(unit_id=1, table=Table.HOLDING_REGISTER, address=1, words=[3]).pdu.hex() == "0600010003"
    assert write_request(unit_id=1, table=Table.COIL, address=172, words=[1]).pdu.hex() == "0500acff00"
    registers = write_request(unit_id=1, table=Table.HOLDING_REGISTER, address=1, words=[10, 0x102])
    assert registers.pdu.hex() == "100001000204000a0102"
    coils = write_request(unit_id=1, table=Table.COIL, address=19, words=[1, 0, 1, 1, 0, 0, 1, 1, 1, 0])
    assert coils.pdu.hex() == "0f0013000a02cd01"


def test_request_has_the_check_that_the_standard_gives() -> None:
    request = read_request(unit_id=2, table=Table.COIL, address=0, count=1)
    assert RtuFraming().encode(request).hex() == "020100000001fdf9"


def test_transaction_ids_go_round_and_leave_out_zero() -> None:
    framing = TcpFraming()
    ids = [int.from_bytes(framing.encode(READ_2)[:2]) for _ in range(0xFFFF + 2)]
    assert ids == [*range(1, 0x10000), 1, 2]


@pytest.mark.parametrize(
    ("table", "address", "words"),
    [
        (Table.INPUT_REGISTER, 0, [1]),
        (Table.HOLDING_REGISTER, 0, []),
        (Table.HOLDING_REGISTER, 0, [0] * 124),
        (Table.HOLDING_REGISTER, 0xFFFF, [1, 2]),
        (Table.HOLDING_REGISTER, 0, [0x10000]),
        (Table.HOLDING_REGISTER, 0, [-1]),
        (Table.COIL, 0, [2]),
    ],
    ids=["read-only table", "nothing", "too many", "beyond the end", "too high", "negative", "no bit"],
)
def test_write_that_cannot_be_is_refused(table: Table, address: int, words: list[int]) -> None:
    with pytest.raises(ValueError, match=f"{table} {address}: "):
        write_request(unit_id=1, table=table, address=address, words=words)


def test_whole_frames_of_others_are_passed_over() -> None:
    other = rtu_frame(2, bytes((3, 4, 1, 3, 0, 6)))  # its first value looks like the head of our answer
    assert RtuFraming().examine(other + rtu_frame(1, ANSWER), READ_2) == Finding(
        len(other), stray="an answer of unit 2"
    )


@given(noise=st.binary(max_size=8))
def test_answer_is_found_behind_noise(noise: bytes) -> None:
    noise = noise.replace(b"\x01", b"\x00")  # with the unit's id in it, noise may look like the head of an answer
    frame = noise + rtu_frame(1, ANSWER)
    assert RtuFraming().examine(frame, READ_2) == Finding(len(frame), ANSWER)


@given(
    values=st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=20),
    place=st.integers(0, 10_000),
    spoilt=st.integers(1, 0xFF),
)
def test_spoilt_byte_never_goes_unnoticed(values: list[int], place: int, spoilt: int) -> None:
    request = read_request(unit_id=1, table=Table.INPUT_REGISTER, address=0, count=len(values))
    frame = bytearray(rtu_frame(1, bytes((4, 2 * len(values))) + b"".join(value.to_bytes(2) for value in values)))
    frame[place % len(frame)] ^= spoilt
    assert not RtuFraming().examine(bytes(frame), request).pdu
