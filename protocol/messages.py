"""What agent and hub say beside batches: hello, acknowledgement, manifest, status and health."""

import zlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from google.protobuf.message import DecodeError
from pydantic import BaseModel, ConfigDict, ValidationError

from protocol import limits
from protocol.errors import LimitExceeded, MalformedMessage
from protocol.identifiers import MANIFEST_HASH_BYTES, STREAM_ID_BYTES
from protocol.meterhaul_pb2 import Ack as AckMessage
from protocol.meterhaul_pb2 import HeldStream as HeldStreamMessage
from protocol.meterhaul_pb2 import Hello as HelloMessage
from protocol.meterhaul_pb2 import Ranges as RangesMessage
from protocol.meterhaul_pb2 import StreamState as StreamStateMessage
from protocol.ranges import RangeSet

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class HeldStream:
    """One stream as the agent knows it."""

    stream_id: bytes
    lowest_held: int
    next: int
    """The sequence number that the next scan will get: all below it have been announced."""
    committed: RangeSet


@dataclass(frozen=True, slots=True)
class Hello:
    """What an agent says on every connect and every few minutes."""

    agent_version: str
    incarnation: int
    """The highest incarnation of the hub's database that this agent has seen; 0 = none yet."""
    manifest_hash: bytes
    boot_id: bytes
    clock: str
    now_ms: int
    nonce: int
    complete: bool
    """Whether `streams` names every stream that the agent holds."""
    streams: tuple[HeldStream, ...]
    protocol_versions: tuple[int, ...] = (1,)


@dataclass(frozen=True, slots=True)
class StreamState:
    """One stream as the hub's database knows it."""

    stream_id: bytes
    committed: RangeSet
    safe: RangeSet
    quarantined: RangeSet

    @property
    def held(self) -> RangeSet:
        """What need not be sent again: committed, or kept raw in quarantine."""
        return self.committed | self.quarantined


@dataclass(frozen=True, slots=True)
class Ack:
    """What the hub says after a commit, and in answer to a hello."""

    incarnation: int
    streams: tuple[StreamState, ...]
    answers_hello: int = 0
    """The nonce of the hello that this answers; 0 when it follows a commit."""
    wanted_manifests: tuple[bytes, ...] = ()
    pace_bytes_per_s: int = 0
    """0 = no limit."""
    now_ms: int = 0
    """The hub's clock, UTC ms, in the answer to a hello; 0 when it does not say."""


def encode_hello(hello: Hello) -> bytes:
    """Encode a hello. Streams beyond the limit are left out, and it then says that it is not complete."""
    named = hello.streams[: limits.STREAMS_PER_HELLO_MAX]
    return HelloMessage(
        protocol_versions=hello.protocol_versions,
        agent_version=hello.agent_version,
        incarnation=hello.incarnation,
        manifest_hash=hello.manifest_hash,
        boot_id=hello.boot_id,
        clock=hello.clock,
        now_ms=hello.now_ms,
        nonce=hello.nonce,
        complete=hello.complete and len(named) == len(hello.streams),
        streams=[
            HeldStreamMessage(
                stream_id=stream.stream_id,
                lowest_held=stream.lowest_held,
                next=stream.next,
                committed=_ranges_message(stream.committed),
            )
            for stream in named
        ],
    ).SerializeToString()


def decode_hello(payload: bytes) -> Hello:
    """Decode a hello.

    Raises: LimitExceeded, MalformedMessage.
    """
    _check_size(payload)
    try:
        message = HelloMessage.FromString(payload)
    except DecodeError as error:
        raise MalformedMessage("hello is not a protobuf message") from error
    if len(message.streams) > limits.STREAMS_PER_HELLO_MAX:
        raise LimitExceeded(f"hello names {len(message.streams)} streams, above {limits.STREAMS_PER_HELLO_MAX}")
    streams = []
    for stream in message.streams:
        if not 1 <= stream.lowest_held <= stream.next <= limits.SEQUENCE_MAX:
            raise MalformedMessage(f"hello holds {stream.lowest_held}..{stream.next}, which is no range")
        committed = _parse_ranges(stream.committed)
        streams.append(HeldStream(_stream_id(stream.stream_id), stream.lowest_held, stream.next, committed))
    return Hello(
        agent_version=message.agent_version,
        incarnation=message.incarnation,
        manifest_hash=message.manifest_hash,
        boot_id=message.boot_id,
        clock=message.clock,
        now_ms=message.now_ms,
        nonce=message.nonce,
        complete=message.complete,
        streams=tuple(streams),
        protocol_versions=tuple(message.protocol_versions),
    )


def encode_ack(ack: Ack) -> bytes:
    """Encode an acknowledgement."""
    return AckMessage(
        incarnation=ack.incarnation,
        answers_hello=ack.answers_hello,
        streams=[
            StreamStateMessage(
                stream_id=state.stream_id,
                committed=_ranges_message(state.committed),
                safe=_ranges_message(state.safe),
                quarantined=_ranges_message(state.quarantined),
            )
            for state in ack.streams
        ],
        wanted_manifests=ack.wanted_manifests,
        pace_bytes_per_s=ack.pace_bytes_per_s,
        now_ms=ack.now_ms,
    ).SerializeToString()


def decode_ack(payload: bytes) -> Ack:
    """Decode an acknowledgement.

    Raises: LimitExceeded, MalformedMessage.
    """
    _check_size(payload)
    try:
        message = AckMessage.FromString(payload)
    except DecodeError as error:
        raise MalformedMessage("ack is not a protobuf message") from error
    if message.incarnation < 1:
        raise MalformedMessage("ack names no incarnation")
    if any(len(wanted) != MANIFEST_HASH_BYTES for wanted in message.wanted_manifests):
        raise MalformedMessage("ack names a manifest with the wrong number of bytes")
    return Ack(
        incarnation=message.incarnation,
        streams=tuple(
            StreamState(
                _stream_id(state.stream_id),
                _parse_ranges(state.committed),
                _parse_ranges(state.safe),
                _parse_ranges(state.quarantined),
            )
            for state in message.streams
        ),
        answers_hello=message.answers_hello,
        wanted_manifests=tuple(message.wanted_manifests),
        pace_bytes_per_s=message.pace_bytes_per_s,
        now_ms=message.now_ms,
    )


class Presence(StrEnum):
    """What the retained status of an agent says; `offline` is its Last Will."""

    ONLINE = "online"
    OFFLINE = "offline"
    LEAVING = "leaving"


class Status(BaseModel):
    """The retained status of an agent."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    presence: Presence
    agent_version: str = ""
    boot_id: str = ""
    at_ms: int = 0
    """UTC ms when it was said; in a Last Will, when the connection was opened."""


class Health(BaseModel):
    """What an agent says of itself, rarely and on change. Unknown keys of newer agents are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")

    at_ms: int
    agent_version: str = ""
    buffer: dict[str, Any] = {}
    meters: dict[str, dict[str, Any]] = {}
    uplink: dict[str, Any] = {}
    buses: dict[str, dict[str, Any]] = {}
    routers: dict[str, dict[str, Any]] = {}
    """By meter id: signal class, operator, network type and what else a router's profile offers."""
    clock: dict[str, Any] = {}
    traffic: dict[str, Any] = {}
    """Bytes on the line this month, forecast and budget."""
    configuration: dict[str, Any] = {}
    counts: dict[str, Any] = {}
    """Of a collector with too many to be named: how many meters by their state, how many buses and routers."""


def encode_status(status: Status) -> bytes:
    """Encode a status as JSON."""
    return status.model_dump_json().encode()


def decode_status(payload: bytes) -> Status:
    """Decode a status.

    Raises: LimitExceeded, MalformedMessage.
    """
    _check_size(payload)
    return _parse_json(Status, payload, "status")


def encode_health(health: Health) -> bytes:
    """Encode health as compressed JSON."""
    return zlib.compress(health.model_dump_json().encode(), 9)


def decode_health(payload: bytes) -> Health:
    """Decode health.

    Raises: LimitExceeded, MalformedMessage.
    """
    return _parse_json(Health, inflate(payload), "health")


def encode_manifest(body: bytes) -> bytes:
    """Compress a manifest's canonical bytes for the way.

    Raises: LimitExceeded.
    """
    payload = zlib.compress(body, 9)
    if len(payload) > limits.MESSAGE_BYTES_MAX or len(body) > limits.MESSAGE_RAW_BYTES_MAX:
        raise LimitExceeded(f"manifest of {len(body)} bytes is too large to send: configure fewer meters or points")
    return payload


def inflate(payload: bytes) -> bytes:
    """Inflate a compressed message, never beyond the limit.

    Raises: LimitExceeded, MalformedMessage.
    """
    _check_size(payload)
    inflater = zlib.decompressobj()
    try:
        body = inflater.decompress(payload, limits.MESSAGE_RAW_BYTES_MAX + 1)
    except zlib.error as error:
        raise MalformedMessage(f"message does not inflate: {error}") from error
    if len(body) > limits.MESSAGE_RAW_BYTES_MAX:
        raise LimitExceeded(f"message inflates beyond {limits.MESSAGE_RAW_BYTES_MAX} bytes")
    if not inflater.eof or inflater.unused_data:
        raise MalformedMessage("message is cut short or has bytes after its end")
    return body


def _parse_json(model: type[Model], body: bytes, what: str) -> Model:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise MalformedMessage(f"{what} does not parse: {error.errors()[0]['msg']}") from error


def _check_size(payload: bytes) -> None:
    if len(payload) > limits.MESSAGE_BYTES_MAX:
        raise LimitExceeded(f"message of {len(payload)} bytes is above {limits.MESSAGE_BYTES_MAX}")


def _stream_id(value: bytes) -> bytes:
    if len(value) != STREAM_ID_BYTES:
        raise MalformedMessage("message names a stream with the wrong number of bytes")
    return value


def _ranges_message(ranges: RangeSet) -> RangesMessage:
    """Write the lowest ranges; leaving out the rest says less than is known, which is always safe."""
    message = RangesMessage()
    end = 0
    for first, last in ranges.ranges[: limits.RANGES_PER_STREAM_MAX]:
        message.runs.extend((first - end, last - first + 1))
        end = last + 1
    return message


def _parse_ranges(message: RangesMessage) -> RangeSet:
    runs = message.runs
    if len(runs) % 2 or len(runs) > 2 * limits.RANGES_PER_STREAM_MAX:
        raise MalformedMessage(f"message has {len(runs)} numbers where pairs for ranges are due")
    ranges: list[tuple[int, int]] = []
    end = 0
    for skip, length in zip(runs[::2], runs[1::2], strict=True):
        first, end = end + skip, end + skip + length
        if length < 1 or end > limits.SEQUENCE_MAX:
            raise MalformedMessage("message has an impossible range")
        ranges.append((first, end - 1))
    return RangeSet(ranges)
