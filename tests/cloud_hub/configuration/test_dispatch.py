"""Orders leave the outbox signed, once there is somebody to hear them, and are said again until they are answered."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import pytest
from configuration_factories import make_site, told
from hub_factories import add_controller, add_site
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from cloud_hub.configuration import commands, drafts, publishing
from cloud_hub.configuration.broker import OrderLine
from cloud_hub.configuration.dispatch import Dispatcher, expire, repeat_missed
from cloud_hub.configuration.models import Downlink, SentCommand, SiteConfiguration
from cloud_hub.configuration.outbox import hurry
from cloud_hub.configuration.signing import SigningKey, create_signing_key, read_signing_key
from cloud_hub.settings import parse_broker_url
from demo.mosquitto import Login, PrivateMosquitto
from demo.processes import wait_until
from protocol import topics
from protocol.control import CommandKind, Signed, decode_signed, parse_command, parse_config_order
from protocol.site_config import SiteConfig
from protocol.topics import Down

WHO = "ann@example.org"


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    create_signing_key(tmp_path / "signing-key")
    return read_signing_key(tmp_path / "signing-key")


@pytest.fixture
def dispatcher(broker: PrivateMosquitto, key: SigningKey) -> Iterator[Dispatcher]:
    dispatcher = Dispatcher(OrderLine(parse_broker_url(broker.hub_url)), key)
    yield dispatcher
    dispatcher.close()


@pytest.fixture
def login(broker: PrivateMosquitto, session: Session) -> Login:
    """Register a controller of this test's own."""
    login = broker.add_controller(f"dispatch-{datetime.now(UTC):%H%M%S%f}")
    add_controller(session, add_site(session), login.username)
    session.commit()
    return login


class Ears:
    """The ears of a controller, inside a `with` block."""

    def __init__(self, login: Login) -> None:
        self.heard: list[tuple[str, Signed, bool]] = []
        self._ready = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.username_pw_set(login.username, login.password)
        kinds = [(topics.down(login.username, kind), 1) for kind in (Down.CONFIG, Down.COMMAND)]
        self._client.on_connect = lambda client, *_: client.subscribe(kinds)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = lambda _client, _userdata, message: self.heard.append(
            (message.topic.rpartition("/")[2], decode_signed(bytes(message.payload)), bool(message.retain))
        )
        self._address = (login.host, login.port)

    def __enter__(self) -> Self:
        self._client.connect(*self._address)
        self._client.loop_start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def wait(self, count: int) -> list[tuple[str, Signed, bool]]:
        """Wait until so much was heard."""
        wait_until(lambda: len(self.heard) >= count, 20, "the controller to hear")
        return self.heard


def order(session: Session, controller_id: str) -> SentCommand:
    row = commands.order_command(
        session, controller_id, CommandKind.DIAGNOSE, {}, expires_in=timedelta(minutes=10), who=WHO
    )
    session.commit()
    return row


def publish(session: Session, controller_id: str) -> SiteConfiguration:
    draft = drafts.create_draft(session, controller_id, SiteConfig.model_validate(make_site()), note="", who=WHO)
    drafts.validate_draft(session, draft, who=WHO)
    publishing.publish_draft(session, draft, who=WHO)
    session.commit()
    return draft


def state_of(session: Session, command: SentCommand) -> str:
    session.expire_all()
    return session.get_one(SentCommand, command.id).state


def make_due(session: Session) -> None:
    session.execute(text("UPDATE downlinks SET due_at = now() WHERE due_at IS NOT NULL"))
    session.commit()


def test_command_is_signed_and_counts_as_sent_when_somebody_hears_it(
    dispatcher: Dispatcher, key: SigningKey, login: Login, engine: Engine, session: Session
) -> None:
    command = order(session, login.username)
    with Ears(login) as ears:
        assert dispatcher.serve(engine, wait_s=0)
        [(kind, signed, _)] = ears.wait(1)
    assert (kind, parse_command(signed.body).id) == ("command", command.id)
    assert signed == key.sign(Down.COMMAND, login.username, signed.body)
    assert state_of(session, command) == "sent"
    assert told(session, "command.") == ["command.queued", "command.sent"]


def test_command_waits_for_a_controller_that_is_away_and_goes_when_it_comes(
    dispatcher: Dispatcher, login: Login, engine: Engine, session: Session
) -> None:
    command = order(session, login.username)
    dispatcher.serve(engine, wait_s=0)
    assert state_of(session, command) == "queued"
    with Ears(login) as ears:
        with engine.begin() as connection:
            hurry(connection, login.username)
        dispatcher.serve(engine, wait_s=0)
        ears.wait(1)
    assert state_of(session, command) == "sent"


def test_command_that_nobody_answered_is_said_again_and_one_that_was_answered_is_not(
    dispatcher: Dispatcher, login: Login, engine: Engine, session: Session
) -> None:
    order(session, login.username)
    with Ears(login) as ears:
        for count in (1, 2):
            dispatcher.serve(engine, wait_s=0)
            ears.wait(count)
            make_due(session)
        session.execute(text("UPDATE commands SET state = 'received'"))
        session.commit()
        dispatcher.serve(engine, wait_s=0)
        last = order(session, login.username)
        dispatcher.serve(engine, wait_s=0)
        assert [parse_command(signed.body).id for _, signed, _ in ears.wait(3)][2:] == [last.id]
    assert told(session, "command.").count("command.sent") == 2


def test_configuration_is_retained_for_a_controller_that_comes_later(
    dispatcher: Dispatcher, login: Login, engine: Engine, session: Session
) -> None:
    publish(session, login.username)
    dispatcher.serve(engine, wait_s=0)
    with Ears(login) as ears:
        [(kind, signed, is_retained)] = ears.wait(1)
    assert (kind, is_retained) == ("config", True)
    assert parse_config_order(signed.body).site.revision == 1
    assert session.scalars(select(Downlink.due_at)).all() == [None]


def test_only_the_newest_of_several_configurations_is_sent(
    dispatcher: Dispatcher, login: Login, engine: Engine, session: Session
) -> None:
    publish(session, login.username)
    publish(session, login.username)
    with Ears(login) as ears:
        dispatcher.serve(engine, wait_s=0)
        order(session, login.username)
        dispatcher.serve(engine, wait_s=0)
        kinds = [kind for kind, _, _ in ears.wait(2)]
        assert kinds == ["config", "command"]
        assert parse_config_order(ears.heard[0][1].body).site.revision == 2


def test_order_leaves_as_soon_as_it_is_committed(
    dispatcher: Dispatcher, login: Login, engine: Engine, session: Session
) -> None:
    dispatcher.serve(engine, wait_s=0)
    with Ears(login) as ears:
        # It would wait for a minute if nobody told it.
        serving = threading.Thread(target=lambda: dispatcher.serve(engine, wait_s=60))
        serving.start()
        order(session, login.username)
        serving.join(timeout=30)
        assert not serving.is_alive()
        dispatcher.serve(engine, wait_s=0)
        ears.wait(1)


def test_several_dispatchers_send_each_order_once(
    broker: PrivateMosquitto, key: SigningKey, login: Login, engine: Engine, session: Session
) -> None:
    ordered = [order(session, login.username).id for _ in range(20)]
    both = [Dispatcher(OrderLine(parse_broker_url(broker.hub_url)), key) for _ in range(2)]
    with Ears(login) as ears:
        threads = [threading.Thread(target=one.serve, args=(engine,), kwargs={"wait_s": 0}) for one in both]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        last = order(session, login.username).id
        both[0].serve(engine, wait_s=0)
        heard = [parse_command(signed.body).id for _, signed, _ in ears.wait(21)]
    for one in both:
        one.close()
    assert sorted(heard) == sorted([*ordered, last])


def test_claim_of_a_process_that_died_is_taken_over(
    dispatcher: Dispatcher, login: Login, engine: Engine, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = order(session, login.username)

    def die(*_: object, **__: object) -> list[int | None]:
        raise KeyboardInterrupt

    with Ears(login) as ears:
        with monkeypatch.context() as patched:
            patched.setattr(OrderLine, "say", die)
            with pytest.raises(KeyboardInterrupt):
                dispatcher.serve(engine, wait_s=0)
        dispatcher.serve(engine, wait_s=0)
        assert ears.heard == [], "it belongs to the one that died, for a while"
        make_due(session)
        dispatcher.serve(engine, wait_s=0)
        ears.wait(1)
    assert state_of(session, command) == "sent"


def test_broker_that_is_away_costs_no_order(
    own_broker: PrivateMosquitto, key: SigningKey, engine: Engine, session: Session
) -> None:
    login = own_broker.add_controller("north-1")
    add_controller(session, add_site(session))
    session.commit()
    dispatcher = Dispatcher(OrderLine(parse_broker_url(own_broker.hub_url)), key)
    assert dispatcher.serve(engine, wait_s=0)
    own_broker.kill()
    command = order(session, "north-1")
    assert not dispatcher.serve(engine, wait_s=0)
    assert state_of(session, command) == "queued"
    own_broker.start()
    with Ears(login) as ears:
        wait_until(lambda: dispatcher.serve(engine, wait_s=0), 60, "the connection to come back")
        ears.wait(1)
    dispatcher.close()
    assert state_of(session, command) == "sent"


def test_command_whose_time_is_over_is_expired_and_says_why(login: Login, engine: Engine, session: Session) -> None:
    waiting, sent, begun = (order(session, login.username) for _ in range(3))
    session.execute(text("UPDATE commands SET state = 'sent' WHERE id = :id"), {"id": sent.id})
    session.execute(text("UPDATE commands SET state = 'received' WHERE id = :id"), {"id": begun.id})
    session.commit()
    over = datetime.now(UTC) + timedelta(minutes=11)
    assert expire(engine, over) == 2
    session.expire_all()
    rows = {row.id: row for row in session.scalars(select(SentCommand))}
    assert (rows[waiting.id].state, "was not there" in rows[waiting.id].reason) == ("expired", True)
    assert (rows[sent.id].state, "did not answer in time" in rows[sent.id].reason) == ("expired", True)
    assert rows[begun.id].state == "received", "it may still be answered"
    assert expire(engine, over + timedelta(minutes=10)) == 1
    assert state_of(session, begun) == "interrupted"
    assert told(session, "command.")[-3:] == ["command.expired", "command.expired", "command.interrupted"]


def test_configuration_that_a_controller_does_not_go_by_is_said_again(
    dispatcher: Dispatcher, login: Login, engine: Engine, session: Session
) -> None:
    row = publish(session, login.username)
    dispatcher.serve(engine, wait_s=0)
    reports = {row.hash: None, "another": "due"}
    for reported, expected in reports.items():
        session.execute(
            text(
                "UPDATE controllers SET presence = 'online', health_at = now(), "
                "health = jsonb_build_object('configuration', jsonb_build_object('hash', CAST(:hash AS text)))"
            ),
            {"hash": reported},
        )
        session.execute(text("UPDATE downlinks SET sent_at = now() - interval '1 hour'"))
        session.commit()
        repeat_missed(engine)
        session.expire_all()
        assert (session.scalars(select(Downlink.due_at)).one() is None) is (expected is None)
