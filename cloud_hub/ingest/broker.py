"""The hub's connection to the MQTT broker. The only module of ingest that knows paho.

Every message stays unacknowledged at the broker until `settle`, so that the broker holds back what the
database is not ready for. Nothing is lost if it forgets: the agents keep what was not acknowledged by us.
"""

import os
import queue
import secrets
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Concatenate, ParamSpec, Self

import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from cloud_hub.errors import BrokerRefused
from cloud_hub.settings import BROKER_URL, BrokerAddress
from protocol import topics
from protocol.errors import MalformedMessage
from protocol.topics import Down, Up

RECEIVE_MAXIMUM = 200
"""Messages under way to this process at a time: three groups, one each being committed, decoded, filled."""

_SHARE = "ingest"
_QOS = 1
_KEEPALIVE_S = 30
_RECONNECT_MAX_S = 30
_REFUSED_LOGIN = {"Bad user name or password", "Not authorized", "Client identifier not valid", "Banned"}

log = structlog.get_logger(__name__)

Arguments = ParamSpec("Arguments")


@dataclass(frozen=True, slots=True)
class Incoming:
    """One message of an agent."""

    controller_id: str
    kind: Up
    payload: bytes
    mid: int
    connection: int
    """Which of this process's connections it came on: message ids mean something on theirs only."""


def _guarded(
    callback: Callable[Concatenate["BrokerConnection", Arguments], None],
) -> Callable[Concatenate["BrokerConnection", Arguments], None]:
    """Let no exception reach paho: it would end its thread while the client still looks connected."""

    def guarded(self: "BrokerConnection", /, *arguments: Arguments.args, **named: Arguments.kwargs) -> None:
        try:
            callback(self, *arguments, **named)
        except Exception:
            log.exception("mqtt_callback_failed", callback=callback.__name__)

    return guarded


class BrokerConnection:
    """Receives what all agents say, shared with the other ingest processes; says acknowledgements."""

    def __init__(self, address: BrokerAddress) -> None:
        """Describe the connection; nothing runs until the `with` block."""
        self._address = address
        self.inbox: queue.Queue[Incoming] = queue.Queue()
        self._connection = 0
        self._was_connected = False
        self._refused: str | None = None
        self._client_id = f"meterhaul-ingest-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._client = self._make_client()

    def __enter__(self) -> Self:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho has not typed it
        properties.ReceiveMaximum = RECEIVE_MAXIMUM
        self._client.connect_async(
            self._address.host, self._address.port, _KEEPALIVE_S, clean_start=True, properties=properties
        )
        self._client.loop_start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def check(self) -> None:
        """See that the connection is one that can still come to something.

        Raises: BrokerRefused when the broker did not let us in, before it ever did.
        """
        if self._refused is not None and not self._was_connected:
            raise BrokerRefused(self._refused)
        # `is_connected` stays true when paho's thread has died, so it is the thread that is looked at.
        if not any(self._client_id in thread.name for thread in threading.enumerate()):
            log.error("mqtt_thread_died")
            self._client.loop_stop()
            self._client.loop_start()

    def acknowledge(self, controller_id: str, payload: bytes) -> None:
        """Say an acknowledgement to an agent. Without a connection it is dropped: the agent asks again."""
        if self._client.is_connected():
            self._client.publish(topics.down(controller_id, Down.ACK), payload, qos=_QOS, retain=False)

    def settle(self, messages: Iterable[Incoming]) -> None:
        """Tell the broker that these messages are dealt with."""
        for message in messages:
            if message.connection == self._connection and message.mid:
                self._client.ack(message.mid, _QOS)

    def _make_client(self) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=self._client_id, protocol=mqtt.MQTTv5, manual_ack=True
        )
        if self._address.user is not None:
            password = self._address.password
            client.username_pw_set(self._address.user, None if password is None else password.get_secret_value())
        if self._address.is_tls:
            client.tls_set()
        client.reconnect_delay_set(1, _RECONNECT_MAX_S)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    @_guarded
    def _on_connect(self, _client: mqtt.Client, _userdata: object, _flags: object, code: ReasonCode, _: object) -> None:
        if code.is_failure:
            log.warning("broker_refused", broker=str(self._address), reason=str(code))
            if str(code) in _REFUSED_LOGIN:
                self._refused = (
                    f"the broker {self._address} refuses the login of user {self._address.user!r} "
                    f"({code}): check {BROKER_URL}"
                )
            return
        self._connection += 1
        # A shared subscription is not told what is retained; who is online must be known after a restart too.
        self._client.subscribe([(topics.all_up(share=_SHARE), _options()), (topics.all_of(Up.STATUS), _options())])

    @_guarded
    def _on_subscribe(
        self, _client: mqtt.Client, _userdata: object, _mid: int, codes: list[ReasonCode], _: object
    ) -> None:
        if any(code.is_failure for code in codes):
            self._refused = (
                f"the broker {self._address} does not let user {self._address.user!r} subscribe to "
                f"{topics.all_up(share=_SHARE)}: grant that right in its access list"
            )
            log.error("subscription_refused", broker=str(self._address), user=self._address.user)
            return
        self._was_connected = True
        log.info("broker_connected", broker=str(self._address))

    @_guarded
    def _on_connect_fail(self, _client: mqtt.Client, _userdata: object) -> None:
        log.warning("broker_unreachable", broker=str(self._address))

    @_guarded
    def _on_disconnect(
        self, _client: mqtt.Client, _userdata: object, _flags: object, code: ReasonCode, _properties: object
    ) -> None:
        self._connection += 1
        if code.is_failure:
            log.warning("broker_connection_lost", broker=str(self._address), reason=str(code))

    @_guarded
    def _on_message(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        try:
            controller_id, kind = topics.parse_up(message.topic)
        except MalformedMessage as error:
            log.warning("topic_refused", error=str(error))
            self._client.ack(message.mid, message.qos)
            return
        mid = message.mid if message.qos else 0
        self.inbox.put(Incoming(controller_id, kind, bytes(message.payload), mid, self._connection))


def _options() -> SubscribeOptions:
    return SubscribeOptions(qos=_QOS)
