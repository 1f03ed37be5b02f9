"""One connection to the broker: the sole importer of the MQTT client.

It has a thread that does nothing but move packets; what they mean is decided on the event loop, so no
mistake in a callback can end the thread unseen, and its end is always told.
"""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_agent.errors import AgentError, BrokerRefused, BrokerUnreachable
from edge_agent.uplink.line_watch import LineWatch
from edge_agent.uplink.tls import ResumingContext

_REFUSALS = frozenset({0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C})
"""Protocol version, client id, user name or password, not authorised, banned, method: a person must act."""
_LOOP_S = 1.0
_CONNECT_TIMEOUT_S = 15.0
_CLOSE_TIMEOUT_S = 2.0
_ANSWER_TIMEOUT_S = 20.0
"""Without an answer and without progress on the line for so long, a connection is given up."""


@dataclass(frozen=True, slots=True)
class BrokerLogin:
    """Where the broker is, and who we are to it."""

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ResumingContext | None = None
    """None for a line without encryption."""


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
        keepalive_s: int,
        will: LastWill,
        subscriptions: Mapping[str, int],
        on_message: Callable[[str, bytes], None],
        on_survived: Callable[[float], None] = lambda _: None,
    ) -> None:
        """Describe it.

        `subscriptions` says with which quality of service a topic is to arrive; `on_survived` is told of
        silences, in seconds, that the line lived through.
        """
        self._loop = asyncio.get_running_loop()
        self._login = login
        self._keepalive_s = keepalive_s
        self.watch = LineWatch(on_survived=lambda idle_s: self._hand_on(on_survived, idle_s))
        self._client = _make_client(login, client_id, will)
        self._subscriptions = [(topic, SubscribeOptions(qos=qos)) for topic, qos in subscriptions.items()]
        self._on_message = on_message
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self.ended: asyncio.Future[AgentError] = self._loop.create_future()
        """Why it ended, once it has."""
        self._is_closed: asyncio.Future[None] = self._loop.create_future()
        self._answers: dict[int, asyncio.Future[int]] = {}
        self._aliases: dict[str, int] = {}
        self._aliases_max = 0
        self._stopping = threading.Event()
        self._has_socket = False
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
        name, properties = self._short_name(topic)
        info = self._client.publish(name, payload, qos=1, retain=retain, properties=properties)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise unreachable(self._login, mqtt.error_string(info.rc))
        answer: asyncio.Future[int] = self._loop.create_future()
        self._answers[info.mid] = answer
        try:
            return await self._patiently(answer)
        finally:
            self._answers.pop(info.mid, None)

    async def _patiently(self, answer: asyncio.Future[int]) -> int:
        """Wait for the broker's answer for as long as the line moves: a slow one takes its time for a backlog.

        Raises: BrokerUnreachable.
        """
        while True:
            acked_before = self.watch.acked_bytes
            await asyncio.wait({answer}, timeout=_ANSWER_TIMEOUT_S)
            if answer.done():
                return answer.result()
            if self.watch.acked_bytes == acked_before:
                # A half-open line: TCP and the client would believe in it for another keepalive. This
                # settles every answer that is waited for.
                self.end("it does not answer any more")

    def _short_name(self, topic: str) -> tuple[str, Properties | None]:
        """Name a topic in full once per connection and by a number from then on, where the broker takes that."""
        known = self._aliases.get(topic)
        if known is None and len(self._aliases) >= self._aliases_max:
            return topic, None
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # paho leaves it untyped
        properties.TopicAlias = self._aliases.setdefault(topic, len(self._aliases) + 1)
        return ("" if known else topic), properties

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

    async def closed(self) -> None:
        """Wait until its socket is closed and `watch` has seen the last of it, or at least for a while."""
        await asyncio.wait({self._is_closed}, timeout=_CLOSE_TIMEOUT_S)

    def _note_closed(self) -> None:
        if not self._is_closed.done():
            self._is_closed.set_result(None)

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
                keepalive=self._keepalive_s,
                clean_start=True,
                properties=_no_session(),
            )
            code = MQTTErrorCode.MQTT_ERR_SUCCESS
            while code == MQTTErrorCode.MQTT_ERR_SUCCESS and not self._stopping.is_set():
                code = self._client.loop(_LOOP_S)
                self.watch.look(self._client.socket())
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
            self._hand_on(self._note_closed)

    def _close_socket(self) -> None:
        line = self._client.socket()
        tls = self._login.tls
        if line is None and tls is not None and not self._has_socket:
            # The handshake failed: its bytes were sent all the same, and nobody else closes it.
            line = tls.newest
            tls.forget()
        if isinstance(line, socket.socket):
            self.watch.closing(line)
            with suppress(OSError):
                line.close()

    def _socket_opened(self, line: object) -> None:
        self._has_socket = True
        self.watch.opened(line)

    def _hand_on(self, what: Callable[..., None], *arguments: object) -> None:
        # The event loop may be closed while the process ends.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(what, *arguments)

    def _set_callbacks(self) -> None:
        client = self._client
        client.suppress_exceptions = True
        # Its presence makes paho leave all writing to the network thread.
        client.on_socket_register_write = lambda *_: None
        client.on_socket_open = lambda _c, _u, line: self._socket_opened(line)
        client.on_socket_close = lambda _c, _u, line: self.watch.closing(line)
        client.on_connect = lambda _c, _u, _flags, reason, properties: self._hand_on(self._greeted, reason, properties)
        client.on_subscribe = lambda _c, _u, _mid, reasons, _p: self._took_subscriptions(reasons)
        client.on_disconnect = lambda _c, _u, flags, reason, _p: self._hand_on(
            self._dismissed, flags.is_disconnect_packet_from_server, reason
        )
        client.on_publish = lambda _c, _u, mid, reason, _p: self._hand_on(self._answered, mid, reason.value)
        client.on_message = lambda _c, _u, message: self._hand_on(self._heard, message.topic, bytes(message.payload))

    def _took_subscriptions(self, reasons: list[ReasonCode]) -> None:
        if self._login.tls is not None:
            # The broker has spoken, so what resumes its session has come before that.
            self._login.tls.remember(self._client.socket())
        self._hand_on(self._subscribed, reasons)

    # On the event loop.

    def _greeted(self, reason: ReasonCode, properties: Properties | None) -> None:
        self._aliases_max = getattr(properties, "TopicAliasMaximum", 0)
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
