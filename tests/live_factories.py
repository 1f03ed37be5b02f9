"""Makers for tests of what leaves by MQTT: organisations with sites and readings, and a client that reads them."""

import queue
import socket
from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import NamedTuple, Self

import paho.mqtt.client as mqtt
from hub_factories import START, Reading, add_controller, add_meter, add_point, add_scans
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.subscribeoptions import SubscribeOptions
from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.access.models import Membership
from cloud_hub.access.permissions import Role
from cloud_hub.organisations.models import Organisation
from cloud_hub.registry.models import Meter, Point, Site
from cloud_hub.settings import BrokerAddress, parse_broker_url
from cloud_hub.subscribers.service import NewLogin, create_login
from cloud_hub.users.models import User
from demo.mosquitto import PrivateMosquitto

WAIT_S = 30.0


class Heard(NamedTuple):
    """A message as it came."""

    topic: str
    payload: bytes
    is_retained: bool


class Listener:
    """A client at the broker, inside a `with` block; its events can be waited for."""

    def __init__(
        self,
        port: int,
        username: str,
        password: str,
        *,
        protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5,
        client_id: str = "any",
        will: str = "",
    ) -> None:
        self.heard: queue.Queue[Heard] = queue.Queue()
        self.answers: queue.Queue[list[str]] = queue.Queue()
        self.confirmed: queue.Queue[str] = queue.Queue()
        self.connected: queue.Queue[str] = queue.Queue()
        self.ended: queue.Queue[str] = queue.Queue()
        self._port = port
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, protocol=protocol, reconnect_on_failure=False)
        self.client.username_pw_set(username, password)
        if will:
            self.client.will_set(will, b"forged", qos=1, retain=True)
        self.client.on_connect = lambda _c, _u, _f, reason, _p: self.connected.put(str(reason))
        self.client.on_disconnect = lambda _c, _u, _f, reason, _p: self.ended.put(str(reason))
        self.client.on_subscribe = lambda _c, _u, _m, reasons, _p: self.answers.put([str(one) for one in reasons])
        self.client.on_publish = lambda _c, _u, _m, reason, _p: self.confirmed.put(str(reason))
        self.client.on_message = lambda _c, _u, one: self.heard.put(Heard(one.topic, bytes(one.payload), one.retain))

    def __enter__(self) -> Self:
        self.client.connect("127.0.0.1", self._port)
        self.client.loop_start()
        self.reason = self.connected.get(timeout=WAIT_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        # Its callbacks hold us, we hold it: let go, or paho's sockets wait for the collector of cycles.
        del self.client

    def drop(self) -> None:
        """End the connection without a word, as a client that dies."""
        connection = self.client.socket()
        assert isinstance(connection, socket.socket)
        connection.shutdown(socket.SHUT_RDWR)

    def subscribe(self, topic: str) -> None:
        """Subscribe and wait for the answer."""
        if self.client.protocol == mqtt.MQTTv5:
            self.client.subscribe(topic, options=SubscribeOptions(qos=1))
        else:
            self.client.subscribe(topic, 1)
        self.answers.get(timeout=WAIT_S)

    def publish(self, topic: str, payload: bytes = b"forged") -> str:
        """Publish retained, and return what the broker says to it."""
        self.client.publish(topic, payload, qos=1, retain=True)
        return self.confirmed.get(timeout=WAIT_S)

    def next(self) -> Heard:
        """Wait for the next message."""
        return self.heard.get(timeout=WAIT_S)

    def until(self, topic: str) -> list[Heard]:
        """Collect messages until one comes on that topic, and return all."""
        messages = [self.next()]
        while messages[-1].topic != topic:
            messages.append(self.next())
        return messages


def subscriber(broker: PrivateMosquitto, made: NewLogin, **options: object) -> Listener:
    """Describe a subscriber with a login that was made."""
    return Listener(broker.subscriber_port, made.login.username, made.password, **options)  # type: ignore[arg-type]  # keywords of Listener


def hub_client(broker: PrivateMosquitto, client_id: str = "observer") -> Listener:
    """Describe a client with the hub's own rights."""
    return Listener(broker.hub_port, broker.hub.username, broker.hub.password, client_id=client_id)


def address_of(broker: PrivateMosquitto) -> BrokerAddress:
    """Return the broker's address as the hub knows it."""
    return parse_broker_url(broker.hub_url)


def add_organisation(session: Session, slug: str, parent_id: int | None = 1) -> Organisation:
    """Add an organisation below the operator's, or below another."""
    organisation = Organisation(slug=slug, name=slug.title(), parent_id=parent_id)
    session.add(organisation)
    session.flush()
    session.refresh(organisation)
    return organisation


def add_service(session: Session, organisation: Organisation, name: str = "scada") -> User:
    """Add a service account."""
    user = User(kind="service", name=name, organisation_id=organisation.id)
    session.add(user)
    session.flush()
    session.add(Membership(user_id=user.id, organisation_id=organisation.id, role=Role.VIEWER))
    session.flush()
    return user


def add_login(
    session: Session, organisation: Organisation, name: str = "scada", *, is_sparkplug: bool = False
) -> NewLogin:
    """Add a broker login with a service account of its own."""
    service = add_service(session, organisation, name)
    return create_login(session, organisation, service, name, who="test", is_sparkplug=is_sparkplug)


def add_metered_site(
    session: Session,
    organisation: Organisation,
    slug: str = "hut",
    *,
    controller_id: str = "",
    meters: Sequence[str] = ("heater",),
    value: Reading = 230.0,
) -> list[Meter]:
    """Add a site with a controller and meters, each with one reading of power."""
    site = Site(slug=slug, name=slug.title(), organisation_id=organisation.id)
    session.add(site)
    session.flush()
    controller = add_controller(session, site, controller_id or f"{organisation.slug}-{slug}")
    added = [add_meter(session, controller, meter) for meter in meters]
    for meter in added:
        add_reading(session, meter, value)
    return added


def add_reading(session: Session, meter: Meter, value: Reading, step_s: float = 0.0) -> None:
    """Add a reading of a meter's power, so many seconds after the usual start."""
    point = session.scalars(select(Point).where(Point.meter_id == meter.id)).one_or_none() or add_point(session, meter)
    add_scans(session, meter, [point], [[value]], start=START + timedelta(seconds=step_s))
