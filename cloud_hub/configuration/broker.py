"""Orders to the MQTT broker. The only module of this slice that knows paho."""

import os
import secrets
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from cloud_hub.settings import BrokerAddress

NOBODY_LISTENED = 0x10
FAILURE = 0x80
_QOS = 1
_KEEPALIVE_S = 30
_RECONNECT_MAX_S = 30

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to a controller."""

    topic: str
    payload: bytes
    is_retained: bool


class OrderLine:
    """A connection to the broker that says orders and hears whether the broker took them."""

    def __init__(self, address: BrokerAddress) -> None:
        """Describe the connection; nothing runs until the first message."""
        self._address = address
        self._client: mqtt.Client | None = None
        self._changed = threading.Condition()
        self._codes: dict[int, int] = {}
        """The broker's reason codes by message id."""

    def is_connected(self, within_s: float) -> bool:
        """Connect, unless that is done; say whether there is a connection within a time."""
        client = self._client
        if client is None:
            client = self._client = self._make_client()
            client.connect_async(self._address.host, self._address.port, _KEEPALIVE_S, clean_start=True)
            client.loop_start()
        with self._changed:
            return self._changed.wait_for(client.is_connected, within_s)

    def say(self, messages: Sequence[Outgoing], *, within_s: float) -> list[int | None]:
        """Say messages; return for each the broker's reason code, None for those that it did not take in time.

        What was not taken is forgotten here, so that it never comes after something newer.
        """
        if self._client is None:
            return [None] * len(messages)
        client = self._client
        with self._changed:
            self._codes.clear()
        told = [
            client.publish(message.topic, message.payload, qos=_QOS, retain=message.is_retained).mid
            for message in messages
        ]
        with self._changed:
            are_all = self._changed.wait_for(lambda: all(mid in self._codes for mid in told), within_s)
            codes = [self._codes.get(mid) for mid in told]
        if not are_all:
            self.close()
        return codes

    def close(self) -> None:
        """End the connection; the next message makes another."""
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()

    def _make_client(self) -> mqtt.Client:
        client_id = f"meterhaul-orders-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5)
        if self._address.user is not None:
            password = self._address.password
            client.username_pw_set(self._address.user, None if password is None else password.get_secret_value())
        if self._address.is_tls:
            client.tls_set()
        client.reconnect_delay_set(1, _RECONNECT_MAX_S)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        return client

    def _on_connect(self, _client: mqtt.Client, _userdata: object, _flags: object, code: ReasonCode, _: object) -> None:
        if code.is_failure:
            log.warning("broker_refused", broker=str(self._address), reason=str(code))
        else:
            log.info("broker_connected", broker=str(self._address))
        self._tell()

    def _on_disconnect(
        self, _client: mqtt.Client, _userdata: object, _flags: object, code: ReasonCode, _properties: object
    ) -> None:
        if code.is_failure:
            log.warning("broker_connection_lost", broker=str(self._address), reason=str(code))
        self._tell()

    def _on_publish(
        self, _client: mqtt.Client, _userdata: object, mid: int, code: ReasonCode, _properties: object
    ) -> None:
        with self._changed:
            self._codes[mid] = code.value
            self._changed.notify_all()

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()
