"""A hub small enough to see through: keeps what it commits in memory, and answers as the contract says."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from hub_client import HubClient

from demo.mosquitto import Login
from protocol.codec import decode_batch, decode_envelope
from protocol.manifest import Manifest, parse_manifest
from protocol.messages import Ack, StreamState, decode_hello, encode_ack, inflate
from protocol.ranges import Range, RangeSet
from protocol.scans import Gap, Scan
from protocol.topics import Down, Up

_NOTHING = RangeSet()


@dataclass
class SmallHub(HubClient):
    """Commits every batch at once, unless told to do otherwise."""

    login: Login
    controller_id: str
    incarnation: int = 1
    is_deaf: bool = False
    """Hears nothing at all, though the broker delivers."""
    acks_batches: bool = True
    pace_bytes_per_s: int = 0
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    """What it says of the time; 0 for nothing."""
    committed: dict[bytes, RangeSet] = field(default_factory=dict)
    contents: dict[tuple[bytes, int], Scan | Gap] = field(default_factory=dict)
    manifests: dict[bytes, Manifest] = field(default_factory=dict)
    arrived: list[tuple[bytes, Range]] = field(default_factory=list)
    repeated: int = 0
    """Sequence numbers that came again although they were committed."""

    def __post_init__(self) -> None:
        super().__init__(self.login, self.controller_id)

    def on_heard(self, kind: Up, payload: bytes) -> None:
        """Commit and answer."""
        if self.is_deaf:
            return
        if kind is Up.HELLO:
            self._answer(payload)
        elif kind is Up.MANIFEST:
            manifest = parse_manifest(inflate(payload))
            self.manifests[manifest.hash] = manifest
        elif kind is Up.BATCH:
            self._commit(payload)

    def restore(self) -> None:
        """Go back to an empty database, as it was before anything was committed."""
        self.committed.clear()
        self.contents.clear()

    def _answer(self, payload: bytes) -> None:
        hello = decode_hello(payload)
        behind = any(not self._held(s.stream_id).covers(s.committed) for s in hello.streams)
        if hello.incarnation > self.incarnation or (hello.incarnation == self.incarnation and behind):
            self.incarnation = max(self.incarnation, hello.incarnation) + 1
        wanted = () if hello.manifest_hash in self.manifests else (hello.manifest_hash,)
        self._ack([s.stream_id for s in hello.streams], nonce=hello.nonce, wanted=wanted)

    def _commit(self, payload: bytes) -> None:
        envelope = decode_envelope(payload)
        batch = decode_batch(payload, self.manifests[envelope.manifest_hash])
        stream_id, numbers = batch.header.stream_id, RangeSet([batch.header.range])
        self.arrived.append((stream_id, batch.header.range))
        self.repeated += (numbers & self._held(stream_id)).size
        for entry in batch.entries:
            self.contents.setdefault((stream_id, entry.sequence), entry.content)
        if self.acks_batches:
            self.committed[stream_id] = self._held(stream_id) | numbers
            self._ack([stream_id])

    def _ack(self, streams: list[bytes], *, nonce: int = 0, wanted: tuple[bytes, ...] = ()) -> None:
        states = tuple(StreamState(stream_id, self._held(stream_id), _NOTHING, _NOTHING) for stream_id in streams)
        now_ms = self.now_ms() if nonce else 0
        self.say(Down.ACK, encode_ack(Ack(self.incarnation, states, nonce, wanted, self.pace_bytes_per_s, now_ms)))

    def _held(self, stream_id: bytes) -> RangeSet:
        return self.committed.get(stream_id, _NOTHING)
