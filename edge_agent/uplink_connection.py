"""One connection to the broker: the sole importer of the MQTT client.

It has a thread that does nothing but move packets; what they mean is decided on the event loop, so no
mistake in a callback can end the thread unseen, and its end is always told.
"""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_agent.errors import AgentError, BrokerRefused, BrokerUnreachable

_REFUSALS = frozenset({0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C})
"""Protocol version, client id, user name or password, not authorised, banned, method: a person must act."""
_LOOP_S = 1.0
_CONNECT_TIMEOUT_S = 15.0
_ANSWER_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class BrokerLogin:
    """Where the broker is, and who we are to it."""

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    """None for a line without encryption."""
    keepalive_s: int = 1200


@dataclass(frozen=True, slots=True)
class LastWill:
    """What the broker says for us, retained, when the connection breaks."""

    topic: str
    payload: bytes


class Connection:
    """One connection, from its first packet to its last."""

    def __init__(
        self,
        *,
        login: BrokerLogin,
        client_id: str,
        will: LastWill,
        subscriptions: Sequence[str],
        on_message: Callable[[str, bytes], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._login = login
        self._client = _make_client(login, client_id, will)
        self._subscriptions = [(topic, SubscribeOptions(qos=1)) for topic in subscriptions]
        self._on_message = on_message
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self.ended: asyncio.Future[AgentError] = self._loop.create_future()
        """Why it ended, once it has."""
        self._answers: dict[int, asyncio.Future[int]] = {}
        self._stopping = threading.Event()
        self._set_callbacks()

    async def open(self) -> None:
        """Connect, log in and subscribe.

        Raises: BrokerUnreachable, BrokerRefused.
        """
        threading.Thread(target=self._move_packets, name="uplink", daemon=True).start()
        either: set[asyncio.Future[None] | asyncio.Future[AgentError]] = {self._opened, self.ended}
        await asyncio.wait(either, timeout=_CONNECT_TIMEOUT_S * 2, return_when=asyncio.FIRST_COMPLETED)
        if self._opened.done():
            return
        self.end("the broker did not answer in time")
        raise self.ended.result()

    async def publish(self, topic: str, payload: bytes, *, retain: bool) -> int:
        """Publish and return the reason code of the broker's answer.

        Raises: BrokerUnreachable.
        """
        if self.ended.done():
            raise unreachable(self._login, "the connection is gone")
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise unreachable(self._login, mqtt.error_string(info.rc))
        answer: asyncio.Future[int] = self._loop.create_future()
        self._answers[info.mid] = answer
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                return await answer
        except TimeoutError:
            # A half-open line: TCP and the client would believe in it for another keepalive.
            self.end("it does not answer any more")
            raise unreachable(self._login, "it does not answer any more") from None
        finally:
            self._answers.pop(info.mid, None)

    def publish_unwatched(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Publish something whose loss does not matter."""
        self._client.publish(topic, payload, qos=1, retain=retain)

    def leave(self) -> None:
        """Disconnect in order, so that the broker does not publish our Last Will."""
        self._client.disconnect()

    def end(self, why: str) -> None:
        """Let the connection go at once; does nothing when it is gone."""
        self._stopping.set()
        self._finish(unreachable(self._login, why))
        line = self._client.socket()
        if isinstance(line, socket.socket):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def _finish(self, error: AgentError) -> None:
        if not self.ended.done():
            self.ended.set_result(error)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)
        self._answers.clear()

    # On the network thread: move packets, and hand on to the event loop whatever they say.

    def _move_packets(self) -> None:
        error: AgentError = unreachable(self._login, "the network thread failed")
        try:
            self._client.connect(
                self._login.host,
                self._login.port,
                keepalive=self._login.keepalive_s,
                clean_start=True,
                properties=_no_session(),
            )
            code = MQTTErrorCode.MQTT_ERR_SUCCESS
            while code == MQTTErrorCode.MQTT_ERR_SUCCESS and not self._stopping.is_set():
                code = self._client.loop(_LOOP_S)
            error = unreachable(self._login, mqtt.error_string(code))
        except ssl.SSLCertVerificationError as fault:
            error = BrokerRefused(
                f"the certificate of the broker {_name(self._login)} is not trusted ({fault.verify_message}): "
                "check broker.tls.ca and broker.host in agent.toml, and the clock"
            )
        except Exception as fault:  # noqa: BLE001 - whatever it was, this connection is over and says so
            error = unreachable(self._login, str(fault) or type(fault).__name__)
        finally:
            self._close_socket()
            self._hand_on(self._finish, error)

    def _close_socket(self) -> None:
        line = self._client.socket()
        if isinstance(line, socket.socket):
            with suppress(OSError):
                line.close()

    def _hand_on(self, what: Callable[..., None], *arguments: object) -> None:
        # The event loop may be closed while the process ends.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(what, *arguments)

    def _set_callbacks(self) -> None:
        client = self._client
        client.suppress_exceptions = True
        # Its presence makes paho leave all writing to the network thread.
        client.on_socket_register_write = lambda *_: None
        client.on_connect = lambda _c, _u, _flags, reason, _p: self._hand_on(self._greeted, reason)
        client.on_subscribe = lambda _c, _u, _mid, reasons, _p: self._hand_on(self._subscribed, reasons)
        client.on_disconnect = lambda _c, _u, flags, reason, _p: self._hand_on(
            self._dismissed, flags.is_disconnect_packet_from_server, reason
        )
        client.on_publish = lambda _c, _u, mid, reason, _p: self._hand_on(self._answered, mid, reason.value)
        client.on_message = lambda _c, _u, message: self._hand_on(self._heard, message.topic, bytes(message.payload))

    # On the event loop.

    def _greeted(self, reason: ReasonCode) -> None:
        if reason.is_failure:
            self._finish(self._refusal(reason))
        elif not self.ended.done():
            self._client.subscribe(self._subscriptions)

    def _subscribed(self, reasons: list[ReasonCode]) -> None:
        refused = next((reason for reason in reasons if reason.is_failure), None)
        if refused is not None:
            self._finish(
                BrokerRefused(
                    f"the broker {_name(self._login)} does not let us read our own topics ({refused}): "
                    "check its access rules for this controller"
                )
            )
        elif not self._opened.done():
            self._opened.set_result(None)

    def _dismissed(self, by_broker: bool, reason: ReasonCode) -> None:  # noqa: FBT001 - as paho says it
        if by_broker:
            self._finish(unreachable(self._login, f"the broker ended the connection: {reason}"))

    def _answered(self, mid: int, reason_code: int) -> None:
        answer = self._answers.get(mid)
        if answer is not None and not answer.done():
            answer.set_result(reason_code)

    def _heard(self, topic: str, payload: bytes) -> None:
        if not self.ended.done():
            self._on_message(topic, payload)

    def _refusal(self, reason: ReasonCode) -> AgentError:
        if reason.value in _REFUSALS:
            return BrokerRefused(
                f"the broker {_name(self._login)} refused our login ({reason}): check broker.username, "
                "broker.password_file and broker.tls in agent.toml, and that the broker knows this controller"
            )
        return unreachable(self._login, str(reason))


def unreachable(login: BrokerLogin, why: str) -> BrokerUnreachable:
    """Say for people why the broker cannot be reached."""
    return BrokerUnreachable(
        f"no connection to the broker {_name(login)} ({why}): check the network, and broker.host and broker.port "
        "in agent.toml; it is tried again"
    )


def _name(login: BrokerLogin) -> str:
    return f"{login.host}:{login.port}"


def _no_session() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho leaves it untyped
    properties.SessionExpiryInterval = 0
    return properties


def _make_client(login: BrokerLogin, client_id: str, will: LastWill) -> mqtt.Client:
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5, reconnect_on_failure=False
    )
    client.connect_timeout = _CONNECT_TIMEOUT_S
    if login.username is not None:
        client.username_pw_set(login.username, login.password)
    if login.tls is not None:
        client.tls_set_context(login.tls)
    client.will_set(will.topic, will.payload, qos=1, retain=True)
    return client
