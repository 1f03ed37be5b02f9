"""Acknowledgements put together, and as bytes within the size that an agent accepts. Pure."""

from dataclasses import replace

from protocol import limits
from protocol.messages import Ack, encode_ack


def encode_acks(ack: Ack) -> list[bytes]:
    """Encode an ack; one that is too large for a message is said in several, which is as good."""
    payload = encode_ack(ack)
    if len(payload) <= limits.MESSAGE_BYTES_MAX or len(ack.streams) < 2:
        return [payload]
    middle = len(ack.streams) // 2
    halves = (ack.streams[:middle], ack.streams[middle:])
    return [part for streams in halves for part in encode_acks(replace(ack, streams=streams))]


def merge_acks(earlier: Ack | None, later: Ack) -> Ack:
    """Say in one ack what two said; where both name a stream, the later knows more."""
    if earlier is None:
        return later
    named = {state.stream_id: state for state in (*earlier.streams, *later.streams)}
    return replace(later, streams=tuple(named.values()))
