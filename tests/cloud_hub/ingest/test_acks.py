"""An ack fits what an agent accepts, and says all that it has to say."""

from ingest_factories import STREAM

from cloud_hub.ingest.acks import encode_acks, merge_acks
from protocol import limits
from protocol.messages import Ack, StreamState, decode_ack
from protocol.ranges import RangeSet


def make_state(stream_id: bytes = STREAM, committed: RangeSet | None = None) -> StreamState:
    return StreamState(stream_id, committed or RangeSet(), RangeSet(), RangeSet())


def test_a_small_ack_is_one_message() -> None:
    ack = Ack(3, (make_state(),), answers_hello=7)
    assert [decode_ack(payload) for payload in encode_acks(ack)] == [ack]


def test_an_ack_that_is_too_large_is_said_in_several_that_each_answer_the_hello() -> None:
    holes = RangeSet((n * 2_000_000, n * 2_000_000 + 1_000_000) for n in range(1, limits.RANGES_PER_STREAM_MAX))
    states = tuple(make_state(n.to_bytes(16), holes) for n in range(300))
    payloads = encode_acks(Ack(3, states, answers_hello=7))
    heard = [decode_ack(payload) for payload in payloads]
    assert len(payloads) > 1
    assert max(map(len, payloads)) <= limits.MESSAGE_BYTES_MAX
    assert {ack.answers_hello for ack in heard} == {7}
    assert tuple(state for ack in heard for state in ack.streams) == states


def test_the_later_ack_knows_more_of_a_stream_that_both_name() -> None:
    other = make_state(b"t" * 16)
    earlier = Ack(1, (make_state(committed=RangeSet([(1, 5)])), other))
    later = Ack(1, (make_state(committed=RangeSet([(1, 9)])),))
    merged = merge_acks(earlier, later)
    assert {state.stream_id: state.committed for state in merged.streams} == {
        STREAM: RangeSet([(1, 9)]),
        b"t" * 16: RangeSet(),
    }
    assert merge_acks(None, later) == later
