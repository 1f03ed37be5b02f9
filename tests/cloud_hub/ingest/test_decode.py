"""The fast decoder gives what the plain one gives, and refuses what it refuses."""

import zlib

import numpy as np
import pytest
from factories import make_manifest
from hypothesis import given
from hypothesis import strategies as st
from ingest_factories import make_entries, make_gap, make_payload

from cloud_hub.ingest.decode import DecodedBatch, decode
from protocol import limits
from protocol.codec import decode_batch, decode_envelope, encode_batch
from protocol.errors import MalformedMessage
from protocol.meterhaul_pb2 import Body, Envelope
from protocol.quality import EXCEPTION_BASE, Quality, has_value
from protocol.ranges import RangeSet
from protocol.scans import Entry, Gap, GapReason, Scan

MANIFEST = make_manifest(points_per_layout=(3, 1, 5))

values = st.one_of(
    st.builds(lambda n, d: n / 10**d, st.integers(-(10**9), 10**9), st.integers(0, 6)),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda value: value + 0.0),
)
codes = st.sampled_from([*Quality, EXCEPTION_BASE + 1, EXCEPTION_BASE + 255])
times = st.integers(limits.OBSERVED_AT_MS_MIN, limits.OBSERVED_AT_MS_MAX)


@st.composite
def entry_lists(draw: st.DrawFn) -> list[Entry]:
    sequence = draw(st.integers(1, 2**40))
    entries: list[Entry] = []
    for is_gap in draw(st.lists(st.booleans() | st.just(value=False), min_size=1, max_size=25)):
        content: Scan | Gap = draw(gaps()) if is_gap else draw(scans())
        entries.append(Entry(sequence, content))
        sequence = entries[-1].last_sequence + 1
    return entries


@st.composite
def scans(draw: st.DrawFn) -> Scan:
    layout = draw(st.integers(0, len(MANIFEST.layouts) - 1))
    points = len(MANIFEST.layouts[layout].points)
    quality = draw(st.none() | st.lists(codes.map(int), min_size=points, max_size=points).map(tuple))
    if quality is not None and not any(quality):
        quality = None
    drawn = tuple(draw(values) if quality is None or has_value(quality[n]) else None for n in range(points))
    return Scan(layout, draw(times), drawn, quality)


@st.composite
def gaps(draw: st.DrawFn) -> Gap:
    from_ms, to_ms = sorted([draw(times), draw(times)])
    return Gap(draw(st.integers(1, 20)), draw(st.sampled_from(GapReason)), from_ms, to_ms)


def entries_of(batch: DecodedBatch) -> tuple[Entry, ...]:
    """Turn columns back into entries."""
    entries = [Entry(gap.numbers.first, gap.gap) for gap in batch.gaps]
    for columns in batch.scans:
        for row, sequence in enumerate(columns.sequences.tolist()):
            quality = None if columns.quality is None else tuple(columns.quality[row].tolist())
            scanned = tuple(None if np.isnan(value) else value for value in columns.values[row].tolist())
            at_ms = int(columns.observed_at_ms[row])
            entries.append(
                Entry(sequence, Scan(columns.layout, at_ms, scanned, quality if any(quality or ()) else None))
            )
    return tuple(sorted(entries, key=lambda entry: entry.sequence))


@given(entry_lists())
def test_both_decoders_agree(entries: list[Entry]) -> None:
    payload = encode_batch(stream_id=b"s" * 16, manifest_hash=MANIFEST.hash, entries=entries)
    decoded = decode(decode_envelope(payload))
    assert entries_of(decoded) == decode_batch(payload, MANIFEST).entries == tuple(entries)
    assert decoded.data_sequences | decoded.gap_sequences == RangeSet([decoded.header.range])


@given(st.data())
def test_damaged_bodies_are_refused_and_nothing_else_happens(data: st.DataObject) -> None:
    envelope = decode_envelope(make_payload([*make_entries(1, 20), make_gap(21, 3)]))
    body = bytearray(zlib.decompress(envelope.body))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    envelope.body, envelope.body_size = zlib.compress(bytes(body)), len(body)
    try:
        decoded = decode(envelope)
    except MalformedMessage:
        return
    assert decoded.data_sequences | decoded.gap_sequences == RangeSet([(1, 23)])


def _changed(payload: bytes, change: str) -> Envelope:
    envelope = decode_envelope(payload)
    body = Body.FromString(zlib.decompress(envelope.body))
    group = body.groups[0]
    match change:
        case "infinite":
            group.decimals[0] = 15
            del group.scaled[:20]
            group.raw.extend([float("inf")] * 20)
        case "no points":
            del group.decimals[:], group.scaled[:]
        case "unknown quality":
            group.quality.extend((60, 200))
        case "quality too short":
            group.quality.extend((1, 1))
        case "odd quality":
            group.quality.extend((60,))
        case "twice":
            group.offset[1] = 0
    raw = body.SerializeToString()
    envelope.body, envelope.body_size = zlib.compress(raw), len(raw)
    return envelope


@pytest.mark.parametrize(
    "change", ["infinite", "no points", "unknown quality", "quality too short", "odd quality", "twice"]
)
def test_what_cannot_be_is_refused(change: str) -> None:
    with pytest.raises(MalformedMessage):
        decode(_changed(make_payload(make_entries(1, 20)), change))


def test_selected_scans_are_those_of_the_numbers() -> None:
    columns = decode(decode_envelope(make_payload(make_entries(1, 20)))).scans[0]
    assert columns.select(RangeSet([(3, 4), (20, 30)])).sequences.tolist() == [3, 4, 20]
    assert columns.select(RangeSet([(1, 20)])) is columns
