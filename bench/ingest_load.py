"""The load of the ingest benchmark: batches as agents send them, and controllers that keep some in flight."""

import random
import threading
import zlib
from collections.abc import Iterator, Sequence
from typing import Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from demo.mosquitto import Login
from protocol import topics
from protocol.codec import decode_envelope, decompress_body, encode_batch, parse_body
from protocol.manifest import Layout, Manifest, ManifestPoint, PointKind
from protocol.messages import decode_ack
from protocol.meterhaul_pb2 import Envelope
from protocol.ranges import RangeSet
from protocol.scans import Entry, Scan
from protocol.topics import Down, Up

METERS, POINTS_PER_METER, SAMPLES = 6, 20, 30
STREAM = b"benchmark-stream"
_START_MS = 1_790_000_000_000
_PERIOD_MS = 60_000
_DISTINCT_DAYS = 16
"""So many batches are drawn at random; the others repeat their values at later times."""

MANIFEST = Manifest(
    layouts=tuple(
        Layout(
            meter=f"meter-{meter}",
            profile="eastron-sdm630",
            period_s=60,
            points=tuple(
                ManifestPoint(name=f"power_{point}", quantity="active_power", unit="W", kind=PointKind.GAUGE)
                for point in range(POINTS_PER_METER)
            ),
        )
        for meter in range(METERS)
    )
)


def make_batches(count: int, samples: int, meters: int, seed: int) -> Iterator[bytes]:
    """Make a stream's batches of `samples` x `meters` scans: values that wander by steps of 0.1, a time after a time."""
    chance = random.Random(seed)
    patterns = [_make_pattern(chance, samples, meters) for _ in range(_DISTINCT_DAYS)]
    size = samples * meters
    for number in range(count):
        envelope = Envelope()
        envelope.CopyFrom(patterns[number % len(patterns)])
        body = parse_body(decompress_body(envelope))
        body.epoch_ms += number * samples * _PERIOD_MS
        raw = body.SerializeToString()
        envelope.first_sequence = 1 + number * size
        envelope.body, envelope.body_size = zlib.compress(raw, 9), len(raw)
        yield envelope.SerializeToString()


def _make_pattern(chance: random.Random, samples: int, meters: int) -> Envelope:
    values = [[round(chance.uniform(0, 3000), 1) for _ in range(POINTS_PER_METER)] for _ in range(meters)]
    entries: list[Entry] = []
    for sample in range(samples):
        for meter in range(meters):
            values[meter] = [round(value + chance.choice((-0.1, 0, 0, 0.1)), 1) for value in values[meter]]
            at_ms = _START_MS + sample * _PERIOD_MS + meter * 100
            entries.append(Entry(len(entries) + 1, Scan(meter, at_ms, tuple(values[meter]))))
    return decode_envelope(encode_batch(stream_id=STREAM, manifest_hash=MANIFEST.hash, entries=entries))


class LoadController:
    """Sends its batches, keeps `window` of them unacknowledged by the hub, and tells when all are committed."""

    def __init__(self, login: Login, batches: Sequence[bytes], scans_per_batch: int, window: int) -> None:
        """Describe the controller; it connects in the `with` block and sends from `go` on."""
        self._id = login.username
        self._batches, self._scans_per_batch, self._window = batches, scans_per_batch, window
        self._sent = 0
        self._filling = threading.Lock()
        self._held = RangeSet()
        self._ready = threading.Event()
        self.done = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.username_pw_set(login.username, login.password)
        self._client.max_inflight_messages_set(window)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._on_message
        self._client.connect(login.host, login.port)

    def __enter__(self) -> Self:
        self._client.loop_start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def go(self) -> None:
        """Send the first batches; acknowledgements fetch the others."""
        self._fill()

    def _on_connect(self, *_: object) -> None:
        self._client.subscribe(topics.down(self._id, Down.ACK), qos=1)

    def _on_message(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        for state in decode_ack(bytes(message.payload)).streams:
            self._held = self._held | state.committed
        self._fill()

    def _fill(self) -> None:
        acknowledged = self._held.size // self._scans_per_batch
        # The first acknowledgements arrive while the first batches are still being sent.
        with self._filling:
            while self._sent < min(len(self._batches), acknowledged + self._window):
                self._client.publish(topics.up(self._id, Up.BATCH), self._batches[self._sent], qos=1)
                self._sent += 1
        if acknowledged == len(self._batches):
            self.done.set()
