"""What was encoded comes back, bit for bit; what breaks a limit is refused before memory is taken."""

import tracemalloc
import zlib
from collections.abc import Sequence

import pytest
from factories import make_manifest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import limits
from protocol.codec import decode_batch, decode_envelope, encode_batch
from protocol.errors import LimitExceeded, MalformedMessage, UnsupportedVersion
from protocol.meterhaul_pb2 import Body, Envelope, Group
from protocol.quality import EXCEPTION_BASE, Quality, has_value
from protocol.scans import Entry, Gap, GapReason, Scan

STREAM = b"0123456789abcdef"
MANIFEST = make_manifest(points_per_layout=(3, 1, 5))

short_decimals = st.builds(lambda n, d: n / 10**d, st.integers(-(10**9), 10**9), st.integers(0, 4))
any_value = st.one_of(short_decimals, st.floats(allow_nan=False, allow_infinity=False).map(lambda v: v + 0.0))
codes = st.one_of(
    st.sampled_from([code.value for code in Quality]),
    st.integers(1, 255).map(lambda exception: EXCEPTION_BASE + exception),
)
times = st.integers(limits.OBSERVED_AT_MS_MIN, limits.OBSERVED_AT_MS_MAX)


@st.composite
def scans(draw: st.DrawFn) -> Scan:
    layout = draw(st.integers(0, len(MANIFEST.layouts) - 1))
    points = len(MANIFEST.layouts[layout].points)
    quality = draw(st.none() | st.lists(codes, min_size=points, max_size=points).map(tuple))
    if quality is not None and not any(quality):
        quality = None
    values = tuple(draw(any_value) if quality is None or has_value(quality[index]) else None for index in range(points))
    return Scan(layout, draw(times), values, quality)


@st.composite
def gaps(draw: st.DrawFn) -> Gap:
    known = draw(st.booleans())
    at_ms = sorted([draw(times), draw(times)]) if known else [0, 0]
    return Gap(draw(st.integers(1, 50)), draw(st.sampled_from(GapReason)), at_ms[0], at_ms[1])


@st.composite
def entry_lists(draw: st.DrawFn) -> list[Entry]:
    sequence = draw(st.integers(1, 2**40))
    entries = []
    for content in draw(st.lists(st.one_of(scans(), scans(), scans(), gaps()), min_size=1, max_size=40)):
        entries.append(Entry(sequence, content))
        sequence = entries[-1].last_sequence + 1
    return entries


def encode(entries: Sequence[Entry]) -> bytes:
    return encode_batch(stream_id=STREAM, manifest_hash=MANIFEST.hash, entries=entries)


def regular_entries(count: int = 12) -> list[Entry]:
    return [Entry(n + 1, Scan(0, 1_700_000_000_000 + n * 1000, (230.1, n * 0.5, 7.0))) for n in range(count)]


@given(entry_lists())
def test_decode_undoes_encode(entries: list[Entry]) -> None:
    batch = decode_batch(encode(entries), MANIFEST)
    assert batch.entries == tuple(entries)
    assert batch.header.stream_id == STREAM
    assert batch.header.range == (entries[0].sequence, entries[-1].last_sequence)
    assert batch.header.manifest_hash == MANIFEST.hash


@given(entry_lists())
def test_encoding_is_deterministic(entries: list[Entry]) -> None:
    assert encode(entries) == encode(list(entries))


@given(st.binary(max_size=400))
def test_noise_is_refused_and_never_crashes(noise: bytes) -> None:
    with pytest.raises((MalformedMessage, UnsupportedVersion)):
        decode_batch(noise, MANIFEST)


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_batch_decodes_to_no_other_readings(data: st.DataObject) -> None:
    """A flipped byte is refused, or hits only the header (stream, manifest), or changes nothing."""
    entries = regular_entries()
    payload = bytearray(encode(entries))
    position = data.draw(st.integers(0, len(payload) - 1))
    payload[position] ^= data.draw(st.integers(1, 255))
    try:
        batch = decode_batch(bytes(payload), MANIFEST)
    except (MalformedMessage, UnsupportedVersion):
        return
    assert [entry.content for entry in batch.entries] == [entry.content for entry in entries]


def test_a_batch_with_a_hole_is_not_encoded() -> None:
    entries = regular_entries()
    with pytest.raises(ValueError, match="holes"):
        encode([*entries[:3], *entries[4:]])


def test_an_empty_batch_is_not_encoded() -> None:
    with pytest.raises(ValueError, match="at least one"):
        encode([])


def test_too_many_scans_for_one_batch_are_refused_by_the_encoder() -> None:
    with pytest.raises(LimitExceeded, match="send fewer"):
        encode(regular_entries(limits.SEQUENCES_PER_BATCH_MAX + 1))


def test_missing_values_cost_next_to_nothing() -> None:
    whole = regular_entries(100)
    broken = [
        Entry(e.sequence, Scan(0, e.content.observed_at_ms, (None, None, None), (Quality.TIMEOUT,) * 3))
        for e in whole
        if isinstance(e.content, Scan)
    ]
    assert len(encode(broken)) <= len(encode(whole))


def envelope(content: bytes, **changes: object) -> bytes:
    fields: dict[str, object] = {
        "version": 1,
        "stream_id": STREAM,
        "first_sequence": 1,
        "count": 1,
        "manifest_hash": MANIFEST.hash,
        "body_size": len(content),
        "body": zlib.compress(content),
    }
    return Envelope(**(fields | changes)).SerializeToString()  # type: ignore[arg-type]


GOOD_GROUP = Group(layout=1, offset=[0], observed_at_ms=[0], decimals=[0], scaled=[5])
EPOCH_MS = 1_700_000_000_000


def body_of(*groups: Group) -> bytes:
    return Body(epoch_ms=EPOCH_MS, groups=groups).SerializeToString()


def test_the_hand_made_batch_is_good_before_it_is_broken() -> None:
    batch = decode_batch(envelope(body_of(GOOD_GROUP)), MANIFEST)
    assert batch.entries == (Entry(1, Scan(1, EPOCH_MS, (5.0,))),)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        pytest.param({"version": 2}, UnsupportedVersion, id="version"),
        pytest.param({"stream_id": b"short"}, MalformedMessage, id="stream id"),
        pytest.param({"manifest_hash": b""}, MalformedMessage, id="manifest hash"),
        pytest.param({"count": 0}, LimitExceeded, id="no scans"),
        pytest.param({"count": limits.SEQUENCES_PER_BATCH_MAX + 1}, LimitExceeded, id="too many scans"),
        pytest.param({"first_sequence": 0}, MalformedMessage, id="sequence 0"),
        pytest.param({"first_sequence": 2**63}, MalformedMessage, id="sequence beyond int8"),
        pytest.param({"body_size": limits.BODY_BYTES_MAX + 1}, LimitExceeded, id="announced body"),
        pytest.param({"body_size": 3}, MalformedMessage, id="body larger than announced"),
        pytest.param({"body": b"not zlib"}, MalformedMessage, id="not zlib"),
        pytest.param({"count": 2}, MalformedMessage, id="a number without entry"),
    ],
)
def test_a_broken_envelope_is_refused(changes: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        decode_batch(envelope(body_of(GOOD_GROUP), **changes), MANIFEST)


@pytest.mark.parametrize(
    "group",
    [
        pytest.param(Group(layout=9, offset=[0], observed_at_ms=[0], decimals=[0], scaled=[5]), id="layout"),
        pytest.param(Group(layout=1, offset=[0], observed_at_ms=[], decimals=[0], scaled=[5]), id="times"),
        pytest.param(Group(layout=1, offset=[0], observed_at_ms=[0], decimals=[], scaled=[5]), id="decimals"),
        pytest.param(Group(layout=1, offset=[0], observed_at_ms=[0], decimals=[12], scaled=[5]), id="decimals 12"),
        pytest.param(Group(layout=1, offset=[0], observed_at_ms=[0], decimals=[0], scaled=[5, 6]), id="values"),
        pytest.param(Group(layout=1, offset=[0], observed_at_ms=[0], decimals=[15], scaled=[5]), id="raw missing"),
        pytest.param(
            Group(layout=1, offset=[0], observed_at_ms=[0], decimals=[0], scaled=[5], quality=[2, 0]), id="quality runs"
        ),
        pytest.param(
            Group(layout=1, offset=[0], observed_at_ms=[0], decimals=[0], scaled=[5], quality=[1, 99]), id="code"
        ),
        pytest.param(Group(layout=1, offset=[1], observed_at_ms=[0], decimals=[0], scaled=[5]), id="offset"),
        pytest.param(
            Group(layout=1, offset=[0], observed_at_ms=[-EPOCH_MS], decimals=[0], scaled=[5]), id="the year 1970"
        ),
    ],
)
def test_a_group_that_does_not_fit_is_refused(group: Group) -> None:
    with pytest.raises(MalformedMessage):
        decode_batch(envelope(body_of(group)), MANIFEST)


def test_an_oversized_batch_is_refused_unparsed() -> None:
    with pytest.raises(LimitExceeded):
        decode_envelope(b"\0" * (limits.BATCH_BYTES_MAX + 1))


def test_a_decompression_bomb_takes_no_memory() -> None:
    bomb = zlib.compress(b"\0" * (40 * limits.BODY_BYTES_MAX), 9)
    assert len(bomb) < limits.BATCH_BYTES_MAX
    payload = envelope(b"", body=bomb, body_size=limits.BODY_BYTES_MAX)
    tracemalloc.start()
    with pytest.raises(MalformedMessage):
        decode_batch(payload, MANIFEST)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 4 * limits.BODY_BYTES_MAX


def test_a_quality_bomb_takes_no_memory() -> None:
    group = Group(layout=1, offset=[0], observed_at_ms=[0], decimals=[0], scaled=[5], quality=[2**32 - 1, 1])
    tracemalloc.start()
    with pytest.raises(MalformedMessage):
        decode_batch(envelope(body_of(group)), MANIFEST)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < limits.BODY_BYTES_MAX
