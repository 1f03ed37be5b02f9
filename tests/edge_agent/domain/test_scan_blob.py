import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.domain import scan_blob
from edge_agent.domain.scan_blob import UnreadableRow
from protocol.quality import Quality, exception_quality, has_value
from protocol.scans import Gap, GapReason, Scan

MS = st.integers(min_value=0, max_value=4_102_444_800_000)
DECIMALS = st.builds(lambda digits, places: digits / 10**places, st.integers(-(10**9), 10**9), st.integers(0, 7))
VALUES = st.one_of(st.floats(allow_nan=False, allow_infinity=False), DECIMALS)
CODES = st.one_of(st.sampled_from([code.value for code in Quality]), st.integers(1, 255).map(exception_quality))


@st.composite
def scans(draw: st.DrawFn) -> Scan:
    codes = tuple(draw(st.lists(CODES, min_size=1, max_size=30)))
    if draw(st.booleans()):
        codes = (0,) * len(codes)
    values = tuple(draw(VALUES) if has_value(code) else None for code in codes)
    return Scan(draw(st.integers(0, 20_000)), draw(MS), values, codes if any(codes) else None)


GAPS = st.builds(Gap, st.integers(1, 2**40), st.sampled_from(GapReason), MS, MS)


@given(scans())
def test_unpacking_gives_back_the_scan_bit_for_bit(scan: Scan) -> None:
    again = scan_blob.unpack(scan_blob.pack(scan))
    assert again == scan
    assert isinstance(again, Scan)
    assert [_bits(value) for value in again.values] == [_bits(value) for value in scan.values]


@given(GAPS)
def test_unpacking_gives_back_the_gap(gap: Gap) -> None:
    assert scan_blob.unpack(scan_blob.pack(gap)) == gap


@pytest.mark.parametrize("value", [-0.0, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, 2.0**53, -(2.0**53), 1e-7])
def test_odd_floats_survive(value: float) -> None:
    again = scan_blob.unpack(scan_blob.pack(Scan(0, 1, (value,))))
    assert isinstance(again, Scan)
    assert [_bits(v) for v in again.values] == [_bits(value)]


def test_readings_as_meters_send_them_take_four_bytes_at_most() -> None:
    values = (231.2, 5.43, 1254.0, 0.98, 49.98, 12345.67)
    body = scan_blob.pack(Scan(0, 1_700_000_000_000, values)).body
    assert len(body) <= 4 * len(values)


def test_all_good_quality_codes_are_read_back_as_none() -> None:
    again = scan_blob.unpack(scan_blob.pack(Scan(0, 1, (1.0, 2.0), (0, 0))))
    assert again == Scan(0, 1, (1.0, 2.0))


@given(scans(), st.data())
def test_a_turned_bit_is_found(scan: Scan, data: st.DataObject) -> None:
    row = scan_blob.pack(scan)
    bit = data.draw(st.integers(0, len(row.body) * 8 - 1))
    body = bytearray(row.body)
    body[bit // 8] ^= 1 << bit % 8
    with pytest.raises(UnreadableRow):
        scan_blob.unpack(row._replace(body=bytes(body)))


def test_a_row_under_another_time_or_layout_is_found() -> None:
    row = scan_blob.pack(Scan(3, 1_700_000_000_000, (1.5,)))
    for wrong in (row._replace(observed_at_ms=row.observed_at_ms + 1), row._replace(layout=4), row._replace(body=b"")):
        with pytest.raises(UnreadableRow):
            scan_blob.unpack(wrong)


def test_a_missing_value_costs_nothing() -> None:
    silent = Scan(0, 1_700_000_000_000, (None,) * 20, (Quality.TIMEOUT,) * 20)
    assert len(scan_blob.pack(silent).body) <= 8
    assert scan_blob.unpack(scan_blob.pack(replace(silent, layout=1))) == replace(silent, layout=1)


def _bits(value: float | None) -> bytes | None:
    return None if value is None else struct.pack("<d", value)
