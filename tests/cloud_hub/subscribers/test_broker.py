"""Subscribers at a real broker: what they read, what they cannot, and how fast a login ends."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live_factories import (
    WAIT_S,
    Listener,
    add_login,
    add_metered_site,
    add_organisation,
    add_reading,
    address_of,
    hub_client,
    subscriber,
)
from paho.mqtt.enums import MQTTProtocolVersion
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cloud_hub.events.service import publish
from cloud_hub.organisations.models import Organisation
from cloud_hub.subscribers.broker import BrokerLogins
from cloud_hub.subscribers.publisher import say_meters
from cloud_hub.subscribers.service import NewLogin, delete_login, rotate_login
from cloud_hub.subscribers.upkeep import LiveUpkeep
from demo.mosquitto import PrivateMosquitto
from protocol import topics
from protocol.live import decode_event
from protocol.mosquitto import PROCESS_ID, SUBSCRIBER_PASSWORDS, SUBSCRIBER_RIGHTS
from protocol.topics import Down, LiveTopic, Up

BOTH = pytest.mark.parametrize(
    "protocol", [MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311], ids=["5", "3.1.1"]
)


class World:
    """Organisations acme and beta at a broker, each with a meter that is said and a login."""

    def __init__(self, engine: Engine, session: Session, broker: PrivateMosquitto) -> None:
        self.engine, self.session, self.broker = engine, session, broker
        self.acme, self.beta = add_organisation(session, "acme"), add_organisation(session, "beta")
        self.meters = {one.slug: add_metered_site(session, one)[0] for one in (self.acme, self.beta)}
        self.logins = {one.slug: add_login(session, one) for one in (self.acme, self.beta)}
        self.duty, self.upkeep = BrokerLogins(broker.files), LiveUpkeep(address_of(broker))
        self.follow()

    def follow(self) -> None:
        """Commit, and let the broker follow; a round trip shows that it has read its files again."""
        self.session.commit()
        self.broker.await_reload(lambda: self.duty.bring_in_step(self.engine))
        self.upkeep.do(self.engine)

    def connect(self, organisation: str, **options: object) -> Listener:
        return subscriber(self.broker, self.logins[organisation], **options)

    def say(self, organisation: str, value: float, step_s: float) -> None:
        """Let the organisation's meter read something, and say it."""
        add_reading(self.session, self.meters[organisation], value, step_s)
        self.session.commit()
        say_meters(self.engine, self.upkeep._link, [self.meters[organisation].id])


def topic_of(organisation: str) -> str:
    return topics.live(LiveTopic(organisation, "hut", "heater"))


@pytest.fixture
def world(engine: Engine, session: Session, own_broker: PrivateMosquitto) -> Iterator[World]:
    world = World(engine, session, own_broker)
    yield world
    world.upkeep.close()


@BOTH
def test_no_subscription_leads_outside_ones_own_organisation(protocol: MQTTProtocolVersion, world: World) -> None:
    filters = ["#", "meterhaul/live/v1/+/+/+", "meterhaul/live/v1/beta/#", topic_of("beta"), "+/+/+/+/hut/heater"]
    special = ["$SYS/#", "$CONTROL/#", "$share/group/#", f"$share/group/{topic_of('beta')}"]
    with world.connect("acme", protocol=protocol) as listener:
        for topic in filters + special:
            listener.subscribe(topic)
        world.say("beta", 1.0, 10)
        world.say("acme", 2.0, 10)
        heard = [listener.next()]
        while b"2.0" not in heard[-1].payload:
            heard.append(listener.next())
        assert {one.topic for one in heard} == {topic_of("acme")}


@BOTH
def test_subscribers_cannot_say_anything(protocol: MQTTProtocolVersion, world: World) -> None:
    with world.connect("acme", protocol=protocol) as listener, hub_client(world.broker) as observer:
        said = [
            listener.publish(topic)
            for topic in (
                topic_of("acme"),
                topics.event("acme", "meter.commissioned"),
                topics.up("north-1", Up.BATCH),
                topics.down("north-1", Down.COMMAND),
                topics.sparkplug("acme", topics.SparkplugKind.NCMD, "hut"),
            )
        ]
        if protocol == MQTTProtocolVersion.MQTTv5:
            assert set(said) == {"Not authorized"}
        for topic in (topics.all_live(), topics.all_up(), topics.all_sparkplug()):
            observer.subscribe(topic)
        world.say("beta", 3.0, 10)
        heard = [observer.next()]
        while b"3.0" not in heard[-1].payload:
            heard.append(observer.next())
    assert not [one for one in heard if one.payload == b"forged"]


@BOTH
def test_last_will_of_a_subscriber_is_never_said(protocol: MQTTProtocolVersion, world: World) -> None:
    with hub_client(world.broker) as observer:
        observer.subscribe(topics.all_live())
        with world.connect("acme", protocol=protocol, will=topic_of("acme")) as listener:
            # Without a word, as a client that dies: then the broker says the will, where it may.
            listener.drop()
            assert listener.ended.get(timeout=WAIT_S)
        with world.connect("acme"):
            world.say("beta", 4.0, 10)
        heard = [observer.next()]
        while b"4.0" not in heard[-1].payload:
            heard.append(observer.next())
    assert not [one for one in heard if one.payload == b"forged"]


def test_nobody_is_evicted_by_a_client_id(world: World) -> None:
    agent_login = world.broker.add_controller("north-1")
    with (
        Listener(world.broker.port, agent_login.username, agent_login.password) as agent,
        hub_client(world.broker, "the-hub") as hub,
        world.connect("beta", client_id="same") as victim,
    ):
        for stolen in ("north-1", "the-hub", "same", "scada@beta"):
            with world.connect("acme", client_id=stolen) as thief:
                assert thief.reason == "Success"
        victim.subscribe(topic_of("beta"))
        assert victim.next().is_retained
        assert agent.ended.empty()
        assert hub.ended.empty()


def test_wrong_password_and_wrong_door_are_refused(world: World) -> None:
    made = world.logins["acme"]
    for port, password in (
        (world.broker.subscriber_port, "wrong"),
        (world.broker.port, made.password),
        (world.broker.hub_port, made.password),
    ):
        with Listener(port, made.login.username, password) as listener:
            assert listener.reason == "Not authorized"


@pytest.mark.parametrize(
    "end",
    [
        lambda session, made: delete_login(session, made.login, who="test"),
        lambda session, made: rotate_login(session, made.login, who="test"),
        lambda session, made: session.execute(
            text("UPDATE users SET disabled_at = now() WHERE id = :id"), {"id": made.login.user_id}
        ),
    ],
    ids=["deleted", "rotated", "service disabled"],
)
def test_live_session_ends_with_its_login(end: Callable[[Session, NewLogin], object], world: World) -> None:
    with world.connect("acme") as revoked, world.connect("beta") as other:
        end(world.session, world.logins["acme"])
        world.follow()
        assert revoked.ended.get(timeout=WAIT_S)
        assert other.ended.empty()
    with world.connect("acme") as again:
        assert again.reason == "Not authorized"


def test_rotated_password_opens_the_door(world: World) -> None:
    world.logins["acme"] = rotate_login(world.session, world.logins["acme"].login, who="test")
    world.follow()
    with world.connect("acme") as listener:
        assert listener.reason == "Success"


def test_reseller_reads_what_is_below_it_and_loses_what_leaves(world: World) -> None:
    reseller = add_organisation(world.session, "reseller")
    world.logins["reseller"] = add_login(world.session, reseller)
    _move(world.session, world.acme, reseller.id)
    world.follow()
    with world.connect("reseller") as listener:
        listener.subscribe("meterhaul/live/#")
        assert listener.next().topic == topic_of("acme")

        _move(world.session, world.acme, 1)
        _move(world.session, world.beta, reseller.id)
        world.follow()
        world.say("acme", 5.0, 20)
        world.say("beta", 6.0, 20)
        # The session lives on with its new rights.
        assert listener.next().topic == topic_of("beta")
        assert listener.heard.empty()


def test_broker_that_lost_its_files_is_given_the_same_logins_again(world: World) -> None:
    world.broker.kill()
    world.broker.wipe()
    world.broker.start()
    with world.connect("acme") as listener:
        assert listener.reason == "Not authorized"
    world.follow()
    with world.connect("acme") as listener:
        assert listener.reason == "Success"


def test_nothing_is_written_while_nothing_changes(world: World) -> None:
    files = [world.broker.files / name for name in (SUBSCRIBER_PASSWORDS, SUBSCRIBER_RIGHTS)]
    before = [path.stat().st_ino for path in files]
    world.duty.bring_in_step(world.engine)
    BrokerLogins(world.broker.files).bring_in_step(world.engine)
    assert [path.stat().st_ino for path in files] == before


def test_no_file_holds_a_password(world: World) -> None:
    written = (world.broker.files / SUBSCRIBER_PASSWORDS).read_text()
    assert "scada@acme:$7$101$" in written
    assert not [made for made in world.logins.values() if made.password in written]


def test_process_that_took_a_dead_brokers_number_is_not_signalled(
    engine: Engine, session: Session, tmp_path: Path
) -> None:
    add_login(session, add_organisation(session, "acme"))
    session.commit()
    # Were this number signalled, it would be the end of these tests.
    (tmp_path / PROCESS_ID).write_text(f"{os.getpid()}\n")
    BrokerLogins(tmp_path).bring_in_step(engine)
    assert "scada@acme" in (tmp_path / SUBSCRIBER_RIGHTS).read_text()


def test_events_reach_their_own_organisation_and_are_not_retained(world: World) -> None:
    with world.connect("acme") as listener:
        listener.subscribe("meterhaul/events/#")
        for organisation in (world.beta, world.acme):
            publish(
                world.session,
                organisation.id,
                site_id=world.meters[organisation.slug].site_id,
                kind="meter.commissioned",
                subject="meter:7",
                data={"by": "ann"},
            )
        world.session.commit()
        world.upkeep.do(world.engine)
        heard = listener.next()
    event = decode_event(heard.payload)
    assert (heard.topic, heard.is_retained) == ("meterhaul/events/v1/acme/meter.commissioned", False)
    assert (event.subject, event.site, event.data) == ("meter:7", "hut", {"by": "ann"})
    with world.connect("acme") as later:
        later.subscribe("meterhaul/#")
        assert later.until(topic_of("acme"))[0].topic == topic_of("acme")


def test_sparkplug_login_may_ask_for_a_birth_of_its_own_nodes_only(world: World) -> None:
    world.logins["acme"] = add_login(world.session, world.acme, "plant", is_sparkplug=True)
    world.follow()
    with world.connect("acme") as listener:
        command = topics.SparkplugKind.NCMD
        assert "Not authorized" not in listener.publish(topics.sparkplug("acme", command, "hut"))
        assert listener.publish(topics.sparkplug("beta", command, "hut")) == "Not authorized"
        assert listener.publish(topics.sparkplug("acme", topics.SparkplugKind.DDATA, "hut", "x")) == "Not authorized"


def test_organisation_that_no_topic_can_name_keeps_nobody_elses_login_from_ending(world: World) -> None:
    add_organisation(world.session, "No Topic#", world.beta.id)
    delete_login(world.session, world.logins["acme"].login, who="test")
    world.follow()
    assert "scada@acme" not in (world.broker.files / SUBSCRIBER_PASSWORDS).read_text()


def _move(session: Session, organisation: Organisation, parent_id: int) -> None:
    organisation.parent_id = parent_id
    session.flush()
