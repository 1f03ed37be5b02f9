"""The MQTT side of an agent, for tests of the hub: says what it is told to, collects what it hears."""

import queue
import threading
from types import TracebackType
from typing import Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from demo.mosquitto import Login
from demo.processes import wait_until
from protocol import topics
from protocol.messages import Ack, Hello, decode_ack, encode_hello
from protocol.topics import Down, Up

_TIMEOUT_S = 20


class MqttAgent:
    """One controller at the broker, inside a `with` block."""

    def __init__(self, login: Login) -> None:
        self.controller_id = login.username
        self._heard: queue.Queue[mqtt.MQTTMessage] = queue.Queue()
        self._subscribed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.username_pw_set(login.username, login.password)
        self._client.on_message = lambda _client, _userdata, message: self._heard.put(message)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_connect = self._on_connect
        self._client.connect_async(login.host, login.port)

    def __enter__(self) -> Self:
        self._client.loop_start()
        assert self._subscribed.wait(_TIMEOUT_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, *_: object) -> None:
        self._client.subscribe(topics.down(self.controller_id, Down.ACK), qos=1)

    def say(self, kind: Up, payload: bytes, *, retain: bool = False) -> None:
        """Publish once there is a connection, and wait until the broker has it."""
        wait_until(self._client.is_connected, _TIMEOUT_S, "the agent to be connected")
        self._client.publish(topics.up(self.controller_id, kind), payload, qos=1, retain=retain).wait_for_publish(
            _TIMEOUT_S
        )

    def hear(self) -> Ack:
        """Wait for the next acknowledgement. It is never a retained one."""
        message = self._heard.get(timeout=_TIMEOUT_S)
        assert not message.retain
        return decode_ack(bytes(message.payload))

    def greet(self, hello: Hello) -> Ack:
        """Say hello until it is answered: nobody may be listening yet."""
        for _ in range(_TIMEOUT_S):
            self.say(Up.HELLO, encode_hello(hello))
            try:
                while True:
                    ack = decode_ack(bytes(self._heard.get(timeout=1).payload))
                    if ack.answers_hello == hello.nonce:
                        return ack
            except queue.Empty:
                continue
        raise AssertionError("nobody answers a hello")
