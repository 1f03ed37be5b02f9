"""Hello, acknowledgement, status, health and manifest survive the way; anything else is refused."""

import zlib

import pytest
from factories import make_manifest
from hypothesis import given
from hypothesis import strategies as st

from protocol import limits
from protocol.errors import LimitExceeded, MalformedMessage
from protocol.manifest import manifest_hash, parse_manifest
from protocol.messages import (
    Ack,
    Health,
    HeldStream,
    Hello,
    Presence,
    Status,
    StreamState,
    decode_ack,
    decode_health,
    decode_hello,
    decode_status,
    encode_ack,
    encode_health,
    encode_hello,
    encode_manifest,
    encode_status,
    inflate,
)
from protocol.ranges import RangeSet

STREAM = b"0123456789abcdef"
ids = st.binary(min_size=16, max_size=16)
ranges = st.lists(
    st.tuples(st.integers(0, 10_000), st.integers(0, 500)).map(lambda r: (r[0], r[0] + r[1])), max_size=30
).map(RangeSet)
held_streams = st.builds(
    HeldStream, stream_id=ids, lowest_held=st.integers(1, 50), next=st.integers(50, 2**40), committed=ranges
)
hellos = st.builds(
    Hello,
    agent_version=st.text(max_size=20),
    incarnation=st.integers(0, 2**40),
    manifest_hash=ids,
    boot_id=ids,
    clock=st.sampled_from(["trusted", "untrusted"]),
    now_ms=st.integers(-(2**50), 2**50),
    nonce=st.integers(0, 2**32 - 1),
    complete=st.booleans(),
    streams=st.lists(held_streams, max_size=5).map(tuple),
)
acks = st.builds(
    Ack,
    incarnation=st.integers(1, 2**40),
    streams=st.lists(
        st.builds(StreamState, stream_id=ids, committed=ranges, safe=ranges, quarantined=ranges), max_size=5
    ).map(tuple),
    answers_hello=st.integers(0, 2**32 - 1),
    wanted_manifests=st.lists(ids, max_size=3).map(tuple),
    pace_bytes_per_s=st.integers(0, 2**31),
)


@given(hellos)
def test_hello_comes_back(hello: Hello) -> None:
    assert decode_hello(encode_hello(hello)) == hello


@given(acks)
def test_ack_comes_back(ack: Ack) -> None:
    assert decode_ack(encode_ack(ack)) == ack


@given(st.binary(max_size=200))
def test_noise_is_refused_or_harmless(noise: bytes) -> None:
    for decode in (decode_hello, decode_ack, decode_status, decode_health):
        try:
            decode(noise)
        except MalformedMessage:
            continue


def test_a_hello_of_too_many_streams_says_that_it_is_not_complete() -> None:
    stream = HeldStream(STREAM, 1, 2, RangeSet())
    hello = Hello("1", 1, STREAM, STREAM, "trusted", 0, 1, True, (stream,) * (limits.STREAMS_PER_HELLO_MAX + 1))
    decoded = decode_hello(encode_hello(hello))
    assert len(decoded.streams) == limits.STREAMS_PER_HELLO_MAX
    assert not decoded.complete


def test_ranges_beyond_the_limit_are_left_out_from_the_top() -> None:
    many = RangeSet((n * 10, n * 10 + 1) for n in range(limits.RANGES_PER_STREAM_MAX + 5))
    ack = Ack(1, (StreamState(STREAM, many, RangeSet(), RangeSet()),))
    decoded = decode_ack(encode_ack(ack)).streams[0].committed
    assert many.covers(decoded)
    assert decoded.ranges == many.ranges[: limits.RANGES_PER_STREAM_MAX]


def test_an_ack_without_incarnation_is_refused() -> None:
    with pytest.raises(MalformedMessage, match="incarnation"):
        decode_ack(encode_ack(Ack(0, ())))


def test_status_and_health_come_back() -> None:
    status = Status(presence=Presence.ONLINE, agent_version="1.2", boot_id="ab", at_ms=5)
    assert decode_status(encode_status(status)) == status
    health = Health(at_ms=5, buffer={"scans": 3}, meters={"m": {"state": "good"}})
    assert decode_health(encode_health(health)) == health


def test_manifest_travels_under_its_hash() -> None:
    manifest = make_manifest()
    body = inflate(encode_manifest(manifest.body))
    assert manifest_hash(body) == manifest.hash
    assert parse_manifest(body) == manifest


def test_a_manifest_that_is_none_is_refused() -> None:
    with pytest.raises(MalformedMessage):
        parse_manifest(b'{"layouts": 7}')


def test_a_message_bomb_is_refused() -> None:
    bomb = zlib.compress(b"\0" * (limits.MESSAGE_RAW_BYTES_MAX * 3), 9)
    with pytest.raises(LimitExceeded):
        inflate(bomb)
    with pytest.raises(LimitExceeded):
        decode_hello(b"\0" * (limits.MESSAGE_BYTES_MAX + 1))
    with pytest.raises(MalformedMessage):
        inflate(zlib.compress(b"cut short")[:-3])
