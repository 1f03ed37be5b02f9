"""The Sparkplug process: hears the live tree as any subscriber would, and says it again. It may end and begin at any time."""

import queue
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import paho.mqtt.client as mqtt
import structlog
from sqlalchemy import Engine, text

from cloud_hub.settings import BrokerAddress
from cloud_hub.subscribers.link import LinkLost, make_client
from cloud_hub.subscribers.sparkplug.node import EdgeNode, NodeName
from cloud_hub.subscribers.sparkplug.payloads import SEQUENCE_NUMBERS
from protocol import topics
from protocol.errors import MalformedMessage
from protocol.live import LiveMeter, decode_live
from protocol.topics import LiveTopic

_POLL_S = 0.5
_RETRY_S = 2.0
_KEEPALIVE_S = 30
_QOS = 1
_GATHER_S = 0.5
"""So long a site is listened to before its first birth, so that it begins with all of its meters."""

_DRAW = text("""
    INSERT INTO sparkplug_nodes (group_id, node_id, bd_seq) VALUES (:group, :node, 0)
    ON CONFLICT (group_id, node_id) DO UPDATE SET bd_seq = (sparkplug_nodes.bd_seq + 1) % :numbers
    RETURNING bd_seq
""")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Said:
    """What a live topic says; None when it was cleared."""

    topic: LiveTopic
    message: LiveMeter | None


def draw_bd_seq(engine: Engine, name: NodeName) -> int:
    """Draw the number of an edge node's next connection: one more than the last, also after a restart."""
    with engine.begin() as connection:
        fields = {"group": name.group, "node": name.node, "numbers": SEQUENCE_NUMBERS}
        return int(connection.execute(_DRAW, fields).scalar_one())


class SparkplugProcess:
    """Edge nodes for all sites that the live tree has, or for those of some organisations."""

    def __init__(
        self,
        engine: Engine,
        address: BrokerAddress,
        stopping: threading.Event,
        organisations: frozenset[str] = frozenset(),
    ) -> None:
        """Describe the process; `organisations` are slugs, none stands for all."""
        self._engine = engine
        self._address = address
        self._stopping = stopping
        self._organisations = organisations
        self._inbox: queue.Queue[_Said | NodeName] = queue.Queue()
        """What was said, and nodes that were asked for their birth."""
        self._nodes: dict[NodeName, EdgeNode] = {}
        self._due: dict[NodeName, float] = {}
        """When nodes that are not connected are to be, by the monotonic clock."""
        self._client: mqtt.Client | None = None
        self._listen_at = 0.0

    def run(self) -> None:
        """Work until `stopping` is set; then say all deaths."""
        while not self._stopping.is_set():
            self._listen()
            self._connect_nodes()
            try:
                self._take(self._inbox.get(timeout=_POLL_S))
                while True:
                    self._take(self._inbox.get_nowait())
            except queue.Empty:
                pass
        self._forget()

    def _forget(self) -> None:
        """End all nodes: who does not hear the tree does not know what is taken from it, and must not look alive."""
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()
        for node in self._nodes.values():
            node.end(_now_ms())
        self._nodes.clear()
        self._due.clear()
        with suppress(queue.Empty):
            while True:
                self._inbox.get_nowait()

    def _listen(self) -> None:
        """Hear the live tree; what stands retained comes again with each connection."""
        if time.monotonic() < self._listen_at or (self._client is not None and self._client.is_connected()):
            return
        self._listen_at = time.monotonic() + _RETRY_S
        self._forget()
        client = make_client(self._address, f"meterhaul-sparkplug-{secrets.token_hex(8)}")
        client.on_connect = _subscribe
        client.on_message = self._on_message
        try:
            client.connect(self._address.host, self._address.port, _KEEPALIVE_S)
        except OSError as error:
            log.warning("broker_unreachable", broker=str(self._address), error=str(error))
            return
        client.loop_start()
        self._client = client

    def _on_message(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        try:
            topic = topics.parse_live(message.topic)
            said = _Said(topic, decode_live(bytes(message.payload)) if message.payload else None)
        except MalformedMessage as error:
            log.warning("live_message_refused", error=str(error))
            return
        if not self._organisations or topic.organisation in self._organisations:
            self._inbox.put(said)

    def _take(self, one: _Said | NodeName) -> None:
        if isinstance(one, NodeName):
            node = self._nodes.get(one)
            if node is not None and node.is_connected:
                node.be_born(_now_ms())
                log.info("sparkplug_reborn", group=one.group, node=one.node)
            return
        name = NodeName(one.topic.organisation, one.topic.site)
        if one.message is not None:
            self._node(name).update(one.topic.meter, one.message, _now_ms())
        elif name in self._nodes:
            self._nodes[name].remove(one.topic.meter, _now_ms())
            if not self._nodes[name].devices:
                self._nodes.pop(name).end(_now_ms())

    def _node(self, name: NodeName) -> EdgeNode:
        if name not in self._nodes:
            self._nodes[name] = EdgeNode(name, self._address, self._draw(), self._inbox.put)
            self._due[name] = time.monotonic() + _GATHER_S
        return self._nodes[name]

    def _draw(self) -> Callable[[NodeName], int]:
        return lambda name: draw_bd_seq(self._engine, name)

    def _connect_nodes(self) -> None:
        for name, node in self._nodes.items():
            if node.is_connected or time.monotonic() < self._due.get(name, 0.0):
                continue
            try:
                node.connect(_now_ms())
            except LinkLost as error:
                log.warning("sparkplug_waits", group=name.group, node=name.node, error=str(error))
                self._due[name] = time.monotonic() + _RETRY_S
                return  # The others would find the same.
            log.info("sparkplug_born", group=name.group, node=name.node, devices=len(node.devices))


def _subscribe(client: mqtt.Client, *_: object) -> None:
    client.subscribe(topics.all_live(), qos=_QOS)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
