"""The hub's side of the broker, as far as tests of the agent need it."""

import asyncio
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from demo.mosquitto import Login
from protocol import topics
from protocol.topics import Down, Up

_DEADLINE_S = 20.0


async def until(condition: Callable[[], object], timeout_s: float = _DEADLINE_S) -> None:
    """Poll a condition on the event loop, and fail when it does not come true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.01)


class HubClient:
    """Hears what one controller says, and says things to it. Use as a context manager."""

    def __init__(self, login: Login, controller_id: str) -> None:
        self._controller_id = controller_id
        self._login = login
        self._heard: list[tuple[Up, bytes]] = []
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.username_pw_set(login.username, login.password)
        self._client.on_connect = self._subscribe
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._hear

    def payloads(self, kind: Up) -> list[bytes]:
        """Return what the controller said of one kind, in order."""
        with self._lock:
            return [payload for heard, payload in self._heard if heard is kind]

    def say(self, kind: Down, payload: bytes, *, retain: bool = False) -> None:
        """Say something to the controller."""
        self._client.publish(topics.down(self._controller_id, kind), payload, qos=1, retain=retain)

    def on_heard(self, kind: Up, payload: bytes) -> None:
        """Answer at once; for children. Called on the client's thread."""

    def __enter__(self) -> Self:
        self._client.connect(self._login.host, self._login.port)
        self._client.loop_start()
        assert self._ready.wait(_DEADLINE_S), "the broker did not take the hub's client in"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _subscribe(self, *_: Any) -> None:
        for kind in Up:
            self._client.subscribe(topics.up(self._controller_id, kind), qos=1)

    def _hear(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        kind, payload = topics.parse_up(message.topic).kind, bytes(message.payload)
        with self._lock:
            self._heard.append((kind, payload))
        self.on_heard(kind, payload)
