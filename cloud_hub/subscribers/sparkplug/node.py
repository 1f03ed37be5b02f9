"""One edge node: a site, with a connection of its own, because a connection has one last will."""

import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import paho.mqtt.client as mqtt

from cloud_hub.settings import BrokerAddress
from cloud_hub.subscribers.link import LinkLost, make_client
from cloud_hub.subscribers.sparkplug import payloads
from cloud_hub.subscribers.sparkplug.payloads import SEQUENCE_NUMBERS, Aliases, MetricValue, SparkplugQuality
from protocol import topics
from protocol.live import LiveMeter, LiveValue
from protocol.topics import SparkplugKind

_TIMEOUT_S = 10.0
_KEEPALIVE_S = 30


@dataclass(frozen=True, slots=True)
class NodeName:
    """Which edge node: an organisation and a site."""

    group: str
    node: str

    def topic(self, kind: SparkplugKind, device: str = "") -> str:
        """Build one of its topics."""
        return topics.sparkplug(self.group, kind, self.node, device)


@dataclass(slots=True)
class EdgeNode:
    """What an edge node knows, whether it is connected or not. One thread uses it, callbacks aside."""

    name: NodeName
    address: BrokerAddress
    draw_bd_seq: Callable[[NodeName], int]
    """Draws the number of the next connection."""
    on_rebirth: Callable[[NodeName], None]
    """Called from the client's thread when somebody asks for a birth."""
    devices: dict[str, LiveMeter] = field(default_factory=dict)
    _aliases: Aliases = field(default_factory=Aliases)
    _client: mqtt.Client | None = None
    _bd_seq: int = 0
    _seq: int = 0

    @property
    def is_connected(self) -> bool:
        """Say whether the connection stands."""
        return self._client is not None and self._client.is_connected()

    def connect(self, now_ms: int) -> None:
        """Connect, with the death as last will, and be born with all devices.

        Raises: LinkLost.
        """
        self.close()
        self._bd_seq = self.draw_bd_seq(self.name)
        client = make_client(self.address, f"meterhaul-sparkplug-{secrets.token_hex(8)}")
        death = payloads.node_death(self._bd_seq, now_ms)
        client.will_set(self.name.topic(SparkplugKind.NDEATH), death, qos=1, retain=False)
        subscribed = threading.Event()
        client.on_connect = partial(_subscribe, self.name.topic(SparkplugKind.NCMD))
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = self._on_command
        try:
            client.connect(self.address.host, self.address.port, _KEEPALIVE_S)
        except OSError as error:
            raise LinkLost(f"the broker {self.address} does not answer: {error}") from error
        client.loop_start()
        self._client = client
        if not subscribed.wait(_TIMEOUT_S):
            self.close()
            raise LinkLost(f"the broker {self.address} did not let the hub in as {self.address.user!r}")
        self.be_born(now_ms)

    def be_born(self, now_ms: int) -> None:
        """Say the node's birth and that of each device; data may follow."""
        self._say(SparkplugKind.NBIRTH, payloads.node_birth(self._bd_seq, now_ms))
        self._seq = 0
        for device in sorted(self.devices):
            self._say_birth(device, now_ms)

    def update(self, device: str, message: LiveMeter, now_ms: int) -> None:
        """Say what a meter reads now; a meter, or a point of it, that is new is born first."""
        known = self.devices.get(device)
        self.devices[device] = message
        if not self.is_connected:
            return
        if known is None or _shape(known) != _shape(message):
            self._say_birth(device, now_ms)
            return
        changed = {
            name: one for name, one in message.values.items() if _stamped(known, name) != _stamped(message, name)
        }
        if changed:
            metrics = self._metrics(device, message, changed)
            self._say(SparkplugKind.DDATA, payloads.device_data(metrics, self._next(), now_ms), device)

    def remove(self, device: str, now_ms: int) -> None:
        """Say that a meter is gone."""
        if self.devices.pop(device, None) is not None and self.is_connected:
            self._say(SparkplugKind.DDEATH, payloads.device_death(self._next(), now_ms), device)

    def end(self, now_ms: int) -> None:
        """Say the death ourselves, as is due before a connection that ends in order, and end it."""
        if self.is_connected and self._client is not None:
            death = payloads.node_death(self._bd_seq, now_ms)
            self._client.publish(self.name.topic(SparkplugKind.NDEATH), death, qos=1).wait_for_publish(_TIMEOUT_S)
        self.close()

    def close(self) -> None:
        """End the connection."""
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()

    def _say_birth(self, device: str, now_ms: int) -> None:
        message = self.devices[device]
        metrics = self._metrics(device, message, message.values)
        self._say(SparkplugKind.DBIRTH, payloads.device_birth(metrics, self._next(), now_ms), device)

    def _next(self) -> int:
        self._seq = (self._seq + 1) % SEQUENCE_NUMBERS
        return self._seq

    def _say(self, kind: SparkplugKind, payload: bytes, device: str = "") -> None:
        # A message that is not said leaves a hole in the sequence, and the next birth begins a new one.
        if self._client is not None:
            self._client.publish(self.name.topic(kind, device), payload, qos=0, retain=False)

    def _metrics(self, device: str, message: LiveMeter, values: Mapping[str, LiveValue]) -> list[MetricValue]:
        return [
            MetricValue(
                name=name,
                alias=self._aliases.of(device, name),
                at_ms=round((one.observed_at or message.observed_at).timestamp() * 1000),
                value=one.value,
                unit=one.unit,
                quality=SparkplugQuality.GOOD if one.quality is None else SparkplugQuality.BAD,
            )
            for name, one in sorted(values.items())
        ]

    def _on_command(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        if payloads.asks_for_rebirth(bytes(message.payload)):
            self.on_rebirth(self.name)


def _subscribe(topic: str, client: mqtt.Client, *_: object) -> None:
    client.subscribe(topic, qos=1)


def _shape(message: LiveMeter) -> dict[str, str]:
    """Return what only a birth says."""
    return {name: one.unit for name, one in message.values.items()}


def _stamped(message: LiveMeter, name: str) -> tuple[object, ...]:
    one = message.values[name]
    return one.value, one.quality, one.observed_at or message.observed_at
