"""A connection to the broker on which the hub says things to subscribers, and knows that they were heard."""

import secrets
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from cloud_hub.settings import BrokerAddress

IN_FLIGHT = 200
"""As many as the broker's configuration takes from one client."""
_TIMEOUT_S = 10.0
_STEP_S = 0.2
_KEEPALIVE_S = 30

log = structlog.get_logger(__name__)


class LinkLost(Exception):
    """The broker does not answer, or did not confirm all that was said. What was not confirmed is to be said again."""


class Saying(NamedTuple):
    """One message."""

    topic: str
    payload: bytes
    """Empty and retained: what stands there is taken away."""
    is_retained: bool = True


def make_client(address: BrokerAddress, client_id: str) -> mqtt.Client:
    """Make a client that logs in as the hub.

    It never reconnects by itself: paho would say again what it had not heard confirmed, when newer things may have
    been said by others.
    """
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5, reconnect_on_failure=False
    )
    if address.user is not None:
        password = address.password
        client.username_pw_set(address.user, None if password is None else password.get_secret_value())
    if address.is_tls:
        client.tls_set()
    client.max_inflight_messages_set(IN_FLIGHT)
    return client


class Link:
    """Connects when something is to be said. One thread at a time may use it."""

    def __init__(self, address: BrokerAddress, name: str) -> None:
        """Describe the connection; `name` is for whoever reads the broker's log."""
        self._address = address
        self._name = name
        self._client: mqtt.Client | None = None
        self._is_refused = False

    def open(self) -> bool:
        """Connect unless there is a connection; return whether it is a new one: the broker may have lost everything.

        Raises: LinkLost.
        """
        if self._client is not None and self._client.is_connected():
            return False
        self.close()
        client = make_client(self._address, f"meterhaul-{self._name}-{secrets.token_hex(4)}")
        connected = threading.Event()
        client.on_connect = lambda *_: connected.set()
        client.on_publish = self._on_publish
        try:
            client.connect(self._address.host, self._address.port, _KEEPALIVE_S)
        except OSError as error:
            raise LinkLost(f"the broker {self._address} does not answer: {error}") from error
        client.loop_start()
        self._client = client
        if not connected.wait(_TIMEOUT_S) or not client.is_connected():
            self.close()
            raise LinkLost(f"the broker {self._address} did not let the hub in as {self._address.user!r}")
        return True

    def say(self, messages: Sequence[Saying]) -> None:
        """Say messages in this order, and return when the broker has all of them.

        Raises: LinkLost.
        """
        self.open()
        client = self._client
        if client is None:
            raise LinkLost("the connection was closed")
        deadline = time.monotonic() + _TIMEOUT_S
        waiting = [client.publish(one.topic, one.payload, qos=1, retain=one.is_retained) for one in messages]
        try:
            for one in waiting:
                # In short steps: paho wakes nobody when the connection ends.
                while not one.is_published() and client.is_connected() and time.monotonic() < deadline:
                    one.wait_for_publish(_STEP_S)
        except (RuntimeError, ValueError) as error:
            self.close()
            raise LinkLost(f"the broker {self._address} is gone: {error}") from error
        if not all(one.is_published() for one in waiting):
            self.close()
            raise LinkLost(f"the broker {self._address} did not confirm what was said")

    def close(self) -> None:
        """End the connection, and forget what was not confirmed."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(OSError):
                client.disconnect()
            client.loop_stop()

    def _on_publish(
        self, _client: mqtt.Client, _userdata: object, _mid: int, code: ReasonCode, _properties: Properties
    ) -> None:
        if code.is_failure and not self._is_refused:
            self._is_refused = True
            log.error(
                "live_topics_refused",
                broker=str(self._address),
                user=self._address.user,
                reason=str(code),
                hint="write the broker's files again with 'meterhaul provision broker', and reload it",
            )
