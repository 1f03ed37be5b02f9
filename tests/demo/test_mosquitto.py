"""The broker as we deploy it keeps controllers apart and lets the hub's processes share."""

import queue
from collections.abc import Iterator
from pathlib import Path

import pytest
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from demo import mosquitto
from demo.errors import DemoError
from demo.mosquitto import Login, MissingBroker, PrivateMosquitto
from protocol import topics
from protocol.topics import Down, Up

WAIT_S = 10


class Client:
    """An MQTT 5 client whose events can be waited for."""

    def __init__(self, login: Login, client_id: str, password: str | None = None) -> None:
        self.connected: queue.Queue[ReasonCode] = queue.Queue()
        self.published: queue.Queue[ReasonCode] = queue.Queue()
        self.subscribed: queue.Queue[list[ReasonCode]] = queue.Queue()
        self.disconnected: queue.Queue[ReasonCode] = queue.Queue()
        self.messages: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._mqtt = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id, protocol=mqtt.MQTTv5, reconnect_on_failure=False
        )
        self._mqtt.username_pw_set(login.username, password or login.password)
        self._mqtt.on_connect = lambda _c, _u, _f, reason, _p: self.connected.put(reason)
        self._mqtt.on_publish = lambda _c, _u, _m, reason, _p: self.published.put(reason)
        self._mqtt.on_subscribe = lambda _c, _u, _m, reasons, _p: self.subscribed.put(reasons)
        self._mqtt.on_disconnect = lambda _c, _u, _f, reason, _p: self.disconnected.put(reason)
        self._mqtt.on_message = lambda _c, _u, message: self.messages.put((message.topic, bytes(message.payload)))
        self._mqtt.connect(login.host, login.port)
        self._mqtt.loop_start()
        self.reason = self.connected.get(timeout=WAIT_S)

    def publish(self, topic: str, payload: bytes = b"x", *, retain: bool = False) -> ReasonCode:
        self._mqtt.publish(topic, payload, qos=1, retain=retain)
        return self.published.get(timeout=WAIT_S)

    def subscribe(self, topic: str) -> None:
        self._mqtt.subscribe(topic, options=SubscribeOptions(qos=1))
        self.subscribed.get(timeout=WAIT_S)

    def next_message(self) -> tuple[str, bytes]:
        return self.messages.get(timeout=WAIT_S)

    def close(self) -> None:
        self._mqtt.disconnect()
        self._mqtt.loop_stop()


class Clients:
    def __init__(self) -> None:
        self.made: list[Client] = []

    def connect(self, login: Login, client_id: str = "any", password: str | None = None) -> Client:
        self.made.append(Client(login, client_id, password))
        return self.made[-1]


@pytest.fixture
def clients() -> Iterator[Clients]:
    made = Clients()
    yield made
    for client in made.made:
        client.close()


def test_wrong_password_is_refused(broker: PrivateMosquitto, clients: Clients) -> None:
    login = broker.add_controller("refused-1")
    assert clients.connect(login, password="wrong").reason.getName() == "Not authorized"


def test_controller_is_refused_at_the_hubs_door(broker: PrivateMosquitto, clients: Clients) -> None:
    login = broker.add_controller("lost-1")
    astray = Login(login.host, broker.hub_port, login.username, login.password)
    assert clients.connect(astray).reason.is_failure


def test_controller_added_to_a_running_broker_keeps_its_password(broker: PrivateMosquitto, clients: Clients) -> None:
    login = broker.add_controller("again-1")
    assert broker.add_controller("again-1") == login
    assert not clients.connect(login).reason.is_failure


def test_controller_cannot_write_under_another_name(broker: PrivateMosquitto, clients: Clients) -> None:
    a, b = (broker.add_controller(name) for name in ("writer-a", "writer-b"))
    hub = clients.connect(broker.hub)
    hub.subscribe(topics.all_up())
    controller = clients.connect(a)
    assert controller.publish(topics.up(b.username, Up.BATCH)).getName() == "Not authorized"
    assert controller.publish(topics.down(a.username, Down.ACK)).getName() == "Not authorized"
    assert not controller.publish(topics.up(a.username, Up.BATCH), b"mine").is_failure
    assert hub.next_message() == (topics.up("writer-a", Up.BATCH), b"mine")


def test_controller_cannot_hear_what_is_said_to_another(broker: PrivateMosquitto, clients: Clients) -> None:
    a, b = (broker.add_controller(name) for name in ("hearer-a", "hearer-b"))
    controller = clients.connect(a)
    for topic in (topics.down(b.username, Down.ACK), topics.any_down(), topics.all_up(), "#"):
        controller.subscribe(topic)
    hub = clients.connect(broker.hub)
    hub.publish(topics.down(b.username, Down.ACK), b"to b")
    clients.connect(b).publish(topics.up(b.username, Up.BATCH), b"from b")
    hub.publish(topics.down(a.username, Down.ACK), b"to a")
    assert controller.next_message() == (topics.down("hearer-a", Down.ACK), b"to a")


def test_hub_processes_share_what_agents_say(broker: PrivateMosquitto, clients: Clients) -> None:
    agent = clients.connect(broker.add_controller("shared-1"))
    first, second = clients.connect(broker.hub, "ingest-1"), clients.connect(broker.hub, "ingest-2")
    for process in (first, second):
        process.subscribe(topics.all_up(share="ingest"))
    sent = {f"{number}".encode() for number in range(20)}
    for payload in sorted(sent):
        assert agent.publish(topics.up("shared-1", Up.BATCH), payload).getName() == "Success"
    received = [first.messages, second.messages]
    heard: list[bytes] = []
    while len(heard) < len(sent):
        heard += [source.get(timeout=WAIT_S)[1] for source in received if not source.empty()]
    assert sorted(heard) == sorted(sent)
    assert first.disconnected.empty()
    assert second.disconnected.empty()


def test_hub_cannot_speak_as_an_agent(broker: PrivateMosquitto, clients: Clients) -> None:
    hub = clients.connect(broker.hub)
    assert hub.publish(topics.up("spoofed-1", Up.BATCH)).getName() == "Not authorized"


def test_controller_cannot_evict_another_by_its_client_id(broker: PrivateMosquitto, clients: Clients) -> None:
    victim = clients.connect(broker.add_controller("victim-1"), "victim-1")
    clients.connect(broker.add_controller("thief-1"), "victim-1")
    victim.subscribe(topics.down("victim-1", Down.ACK))
    clients.connect(broker.hub).publish(topics.down("victim-1", Down.ACK), b"still here")
    assert victim.next_message()[1] == b"still here"
    assert victim.disconnected.empty()


def test_second_login_of_one_controller_ends_the_first(broker: PrivateMosquitto, clients: Clients) -> None:
    login = broker.add_controller("twice-1")
    first = clients.connect(login, "one")
    clients.connect(login, "two")
    assert first.disconnected.get(timeout=WAIT_S).is_failure


def test_killed_and_wiped_broker_takes_the_same_logins_again(own_broker: PrivateMosquitto, clients: Clients) -> None:
    login = own_broker.add_controller("survivor-1")
    clients.connect(login).publish(topics.up("survivor-1", Up.STATUS), retain=True)
    own_broker.kill()
    own_broker.wipe()
    own_broker.start()
    hub = clients.connect(own_broker.hub)
    hub.subscribe(topics.all_up())
    clients.connect(login).publish(topics.up("survivor-1", Up.BATCH), b"after")
    assert hub.next_message() == (topics.up("survivor-1", Up.BATCH), b"after")


def test_port_in_use_is_named(own_broker: PrivateMosquitto, tmp_path: Path) -> None:
    second = PrivateMosquitto(tmp_path / "second", port=own_broker.port)
    with pytest.raises(DemoError, match=f"port {own_broker.port} of 127.0.0.1 is in use"):
        second.start()


def test_missing_program_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("shutil.which", lambda *_a, **_k: None)
    with pytest.raises(MissingBroker, match="install"):
        mosquitto.ensure_installed()
