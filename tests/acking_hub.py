"""The smallest hub: it remembers batches, acknowledges what it has, and asks for nothing."""

import threading
import time
from types import TracebackType
from typing import Self

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from demo.mosquitto import Login
from protocol import topics
from protocol.codec import decode_batch, decode_envelope, header_of
from protocol.control import CommandReply, CommandState, ConfigReply, Reply, decode_reply
from protocol.manifest import Manifest, parse_manifest
from protocol.messages import (
    Ack,
    Health,
    Status,
    StreamState,
    decode_health,
    decode_hello,
    decode_status,
    encode_ack,
    inflate,
)
from protocol.ranges import RangeSet
from protocol.scans import Entry
from protocol.topics import Down, Up


class AckingHub:
    """Listens to every agent of a broker while its `with` block lasts."""

    def __init__(self, login: Login) -> None:
        self.entries: dict[bytes, dict[int, Entry]] = {}
        """Entries by stream and sequence number."""
        self.statuses: list[Status] = []
        self.healths: list[Health] = []
        self.replies: list[Reply] = []
        self.manifests: dict[bytes, Manifest] = {}
        self.manifest_of: dict[bytes, Manifest] = {}
        """By stream."""
        self.is_deaf_to_hellos = False
        self._waiting: dict[bytes, list[bytes]] = {}
        """Batches by the manifest that they need."""
        self.lock = threading.Lock()
        self._subscribed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=login.username, protocol=mqtt.MQTTv5)
        self._client.username_pw_set(login.username, login.password)
        self._client.on_connect = lambda client, *_: client.subscribe(topics.all_up(), qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _c, _u, message: self._hear(message.topic, bytes(message.payload))
        self._address = (login.host, login.port)

    def __enter__(self) -> Self:
        self._client.connect(*self._address)
        self._client.loop_start()
        assert self._subscribed.wait(30), "the broker did not take the hub's subscription"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def scans(self) -> int:
        """How many sequence numbers arrived."""
        with self.lock:
            return sum(len(entries) for entries in self.entries.values())

    def say(self, controller_id: str, kind: Down, payload: bytes, *, retain: bool = False) -> None:
        """Say something to a controller."""
        self._client.publish(topics.down(controller_id, kind), payload, qos=1, retain=retain).wait_for_publish(30)

    @property
    def config_replies(self) -> list[ConfigReply]:
        """What controllers answered to configurations."""
        return [reply.config for reply in list(self.replies) if reply.config is not None]

    @property
    def command_replies(self) -> list[CommandReply]:
        """How commands ended, as controllers say."""
        commands = [reply.command for reply in list(self.replies) if reply.command is not None]
        return [reply for reply in commands if reply.state is not CommandState.RECEIVED]

    def _hear(self, topic: str, payload: bytes) -> None:
        controller_id, kind = topics.parse_up(topic)
        with self.lock:
            if kind is Up.HELLO and not self.is_deaf_to_hellos:
                hello = decode_hello(payload)
                wanted = () if hello.manifest_hash in self.manifests else (hello.manifest_hash,)
                streams = [stream.stream_id for stream in hello.streams]
                self._ack(controller_id, streams, answers_hello=hello.nonce, wanted_manifests=wanted)
            elif kind is Up.MANIFEST:
                manifest = parse_manifest(inflate(payload))
                self.manifests[manifest.hash] = manifest
                for waiting in self._waiting.pop(manifest.hash, []):
                    self._take_batch(controller_id, waiting)
            elif kind is Up.BATCH:
                self._take_batch(controller_id, payload)
            elif kind is Up.STATUS:
                self.statuses.append(decode_status(payload))
            elif kind is Up.HEALTH:
                self.healths.append(decode_health(payload))
            elif kind is Up.REPLY:
                self.replies.append(decode_reply(payload))

    def _take_batch(self, controller_id: str, payload: bytes) -> None:
        header = header_of(decode_envelope(payload))
        if header.manifest_hash not in self.manifests:
            self._waiting.setdefault(header.manifest_hash, []).append(payload)
            self._ack(controller_id, [], wanted_manifests=(header.manifest_hash,))
            return
        batch = decode_batch(payload, self.manifests[header.manifest_hash])
        self.manifest_of[header.stream_id] = self.manifests[header.manifest_hash]
        held = self.entries.setdefault(batch.header.stream_id, {})
        held.update({entry.sequence: entry for entry in batch.entries})
        self._ack(controller_id, [batch.header.stream_id])

    def _ack(
        self,
        controller_id: str,
        streams: list[bytes],
        *,
        answers_hello: int = 0,
        wanted_manifests: tuple[bytes, ...] = (),
    ) -> None:
        ack = Ack(
            incarnation=1,
            streams=tuple(
                StreamState(
                    stream_id, RangeSet([(n, n) for n in self.entries.get(stream_id, {})]), RangeSet(), RangeSet()
                )
                for stream_id in streams
            ),
            answers_hello=answers_hello,
            wanted_manifests=wanted_manifests,
            now_ms=time.time_ns() // 1_000_000 if answers_hello else 0,
        )
        self._client.publish(topics.down(controller_id, Down.ACK), encode_ack(ack), qos=1)
