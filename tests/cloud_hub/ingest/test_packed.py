"""Packed numbers come back, and runs that are no packed numbers are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_hub.ingest.packed import count_packed, parse_packed_body, unpack
from protocol.errors import MalformedMessage
from protocol.meterhaul_pb2 import Body, Group

numbers = st.lists(st.one_of(st.integers(-70, 70), st.integers(-(2**63), 2**63 - 1)), max_size=12)


@given(st.lists(numbers, max_size=5))
def test_every_integer_comes_back_and_each_run_is_counted(columns: list[list[int]]) -> None:
    body = Body(epoch_ms=5, groups=[Group(layout=n, scaled=column) for n, column in enumerate(columns)])
    packed = parse_packed_body(body.SerializeToString())
    runs = [group.scaled for group in packed.groups]
    unpacked, counts = unpack(runs)
    assert unpacked.tolist() == [number for column in columns for number in column]
    assert counts == [len(column) for column in columns] == [count_packed(run) for run in runs]
    assert packed.epoch_ms == 5


@pytest.mark.parametrize(
    "runs", [[b"\x80"], [b"\x01\xff", b"\x01"], [b"\x80" * 10 + b"\x01"]], ids=["unfinished", "across runs", "too long"]
)
def test_runs_that_are_no_numbers_are_refused(runs: list[bytes]) -> None:
    with pytest.raises(MalformedMessage):
        unpack(runs)


def test_bytes_that_are_no_body_are_refused() -> None:
    with pytest.raises(MalformedMessage):
        parse_packed_body(b"\xff\xff\xff")
