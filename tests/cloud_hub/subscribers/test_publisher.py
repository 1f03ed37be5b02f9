"""Committed readings reach their topics: the newest only, in the right order, at the right place."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from hub_factories import START, add_controller, add_meter
from live_factories import (
    WAIT_S,
    Heard,
    add_metered_site,
    add_organisation,
    add_reading,
    address_of,
    hub_client,
)
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cloud_hub.events.service import publish
from cloud_hub.registry.models import Site
from cloud_hub.subscribers.link import Link, LinkLost
from cloud_hub.subscribers.publisher import LivePublisher, say_meters
from cloud_hub.subscribers.upkeep import LiveUpkeep, clear_left, say_events
from demo.mosquitto import PrivateMosquitto
from demo.processes import wait_until
from protocol import topics
from protocol.live import decode_live
from protocol.quality import Quality


@pytest.fixture
def link(own_broker: PrivateMosquitto) -> Iterator[Link]:
    link = Link(address_of(own_broker), "test")
    yield link
    link.close()


def standing(broker: PrivateMosquitto) -> dict[str, bytes]:
    """Return what stands retained in the live tree."""
    with hub_client(broker) as observer:
        # What is retained was queued when the subscription was confirmed: the mark comes behind it.
        observer.subscribe(topics.all_live())
        observer.subscribe(topics.all_sparkplug())
        mark = topics.sparkplug("mark", topics.SparkplugKind.NDEATH, "mark")
        observer.client.publish(mark, b"mark", qos=1)
        return {one.topic: one.payload for one in observer.until(mark)[:-1]}


def test_newest_readings_stand_as_small_json(
    engine: Engine, session: Session, own_broker: PrivateMosquitto, link: Link
) -> None:
    acme = add_organisation(session, "acme")
    good, doubtful, silent = add_metered_site(session, acme, meters=("good", "doubtful", "silent"))
    add_reading(session, good, 250.5, 60)
    add_reading(session, doubtful, (9999.0, Quality.OUT_OF_RANGE), 60)
    add_reading(session, silent, (None, Quality.TIMEOUT), 60)
    session.commit()
    say_meters(engine, link, [good.id, doubtful.id, silent.id])

    at = "2026-01-31T12:01:00Z"
    told = {topic.rpartition("/")[2]: json.loads(payload) for topic, payload in standing(own_broker).items()}
    assert told == {
        "good": {"observed_at": at, "values": {"active_power_total": {"value": 250.5, "unit": "W"}}},
        "doubtful": {
            "observed_at": at,
            "values": {"active_power_total": {"value": 9999.0, "unit": "W", "quality": "out_of_range"}},
        },
        "silent": {
            "observed_at": at,
            "values": {"active_power_total": {"value": None, "unit": "W", "quality": "timeout"}},
        },
    }
    assert set(standing(own_broker)) == {f"meterhaul/live/v1/acme/hut/{name}" for name in told}


def test_late_backlog_does_not_overwrite_what_is_newer(
    engine: Engine, session: Session, own_broker: PrivateMosquitto, link: Link
) -> None:
    (meter,) = add_metered_site(session, add_organisation(session, "acme"), value=1.0)
    add_reading(session, meter, 2.0, 600)
    add_reading(session, meter, 3.0, 300)
    session.commit()
    say_meters(engine, link, [meter.id])
    (payload,) = standing(own_broker).values()
    message = decode_live(payload)
    assert message.observed_at == START + timedelta(seconds=600)
    assert message.values["active_power_total"].value == 2.0


def test_what_is_noted_often_is_said_less_often_and_ends_with_the_newest(
    engine: Engine, session: Session, own_broker: PrivateMosquitto
) -> None:
    (meter,) = add_metered_site(session, add_organisation(session, "acme"))
    with hub_client(own_broker) as observer, LivePublisher(engine, address_of(own_broker)) as publisher:
        observer.subscribe(topics.all_live())
        for number in range(1, 51):
            add_reading(session, meter, float(number), number)
            session.commit()
            publisher.note([meter.id])
        heard = [decode_live(observer.next().payload)]
        while heard[-1].values["active_power_total"].value != 50.0:
            heard.append(decode_live(observer.next().payload))
    assert len(heard) < 50
    assert heard == sorted(heard, key=lambda one: one.observed_at)


def test_nothing_is_said_before_it_is_committed(
    engine: Engine, session: Session, own_broker: PrivateMosquitto, link: Link
) -> None:
    (meter,) = add_metered_site(session, add_organisation(session, "acme"), value=1.0)
    session.commit()
    add_reading(session, meter, 2.0, 60)
    say_meters(engine, link, [meter.id])
    (payload,) = standing(own_broker).values()
    assert decode_live(payload).values["active_power_total"].value == 1.0


def test_publisher_waits_for_a_broker_that_is_away(
    engine: Engine, session: Session, own_broker: PrivateMosquitto
) -> None:
    (meter,) = add_metered_site(session, add_organisation(session, "acme"), value=7.0)
    session.commit()
    own_broker.kill()
    with LivePublisher(engine, address_of(own_broker)) as publisher:
        publisher.note([meter.id])
        wait_until(lambda: publisher._is_failing, WAIT_S, "the publisher to find nobody")
        own_broker.start()
        wait_until(lambda: standing(own_broker), WAIT_S, "the reading to stand")


def test_broker_that_does_not_answer_is_lost_not_hung(own_broker: PrivateMosquitto) -> None:
    own_broker.kill()
    with pytest.raises(LinkLost, match="does not answer"):
        Link(address_of(own_broker), "test").open()


def test_second_meter_of_one_id_on_a_site_is_named_with_its_controller(
    engine: Engine, session: Session, own_broker: PrivateMosquitto, link: Link
) -> None:
    (first,) = add_metered_site(session, add_organisation(session, "acme"))
    other = add_controller(session, session.get_one(Site, first.site_id), "hut-2")
    second = add_meter(session, other, "heater")
    add_reading(session, second, 5.0)
    session.commit()
    say_meters(engine, link, [second.id, first.id])
    told = {topic.rpartition("/")[2]: decode_live(payload) for topic, payload in standing(own_broker).items()}
    values = {name: message.values["active_power_total"].value for name, message in told.items()}
    assert values == {"heater": 230.0, "heater~hut-2": 5.0}


def test_renamed_and_moved_meters_leave_nothing_where_they_were(
    engine: Engine, session: Session, own_broker: PrivateMosquitto
) -> None:
    acme, beta = add_organisation(session, "acme"), add_organisation(session, "beta")
    moved, renamed = add_metered_site(session, acme, meters=("moved", "renamed"))
    add_metered_site(session, beta, "shop", meters=())
    session.commit()
    upkeep = LiveUpkeep(address_of(own_broker))
    upkeep.do(engine)
    assert {topic.partition("/v1/")[2] for topic in standing(own_broker)} == {"acme/hut/moved", "acme/hut/renamed"}

    session.execute(
        text("UPDATE meters SET site_id = (SELECT id FROM sites WHERE slug = 'shop') WHERE id = :id"), {"id": moved.id}
    )
    session.execute(text("UPDATE meters SET slug = 'boiler' WHERE id = :id"), {"id": renamed.id})
    session.commit()
    upkeep.do(engine)
    upkeep.close()
    assert {topic.partition("/v1/")[2] for topic in standing(own_broker)} == {"beta/shop/moved", "acme/hut/boiler"}


def test_two_meters_that_swap_their_names_swap_their_topics(
    engine: Engine, session: Session, own_broker: PrivateMosquitto
) -> None:
    first, second = add_metered_site(session, add_organisation(session, "acme"), meters=("a", "b"))
    add_reading(session, second, 2.0, 1)
    session.commit()
    upkeep = LiveUpkeep(address_of(own_broker))
    upkeep.do(engine)
    for slug, meter in (("c", first), ("a", second), ("b", first)):
        session.execute(text("UPDATE meters SET slug = :slug WHERE id = :id"), {"slug": slug, "id": meter.id})
    session.commit()
    upkeep.do(engine)
    upkeep.close()
    told = {topic.rpartition("/")[2]: decode_live(payload) for topic, payload in standing(own_broker).items()}
    assert {name: message.values["active_power_total"].value for name, message in told.items()} == {
        "b": 230.0,
        "a": 2.0,
    }


def test_a_place_that_another_holds_is_not_spoken_on(
    engine: Engine, session: Session, own_broker: PrivateMosquitto, link: Link
) -> None:
    first, second = add_metered_site(session, add_organisation(session, "acme"), meters=("a", "b"))
    session.commit()
    say_meters(engine, link, [first.id])
    session.execute(text("UPDATE meters SET slug = 'c' WHERE id = :id"), {"id": first.id})
    session.execute(text("UPDATE meters SET slug = 'a' WHERE id = :id"), {"id": second.id})
    add_reading(session, second, 2.0, 1)
    session.commit()
    say_meters(engine, link, [first.id, second.id])
    (payload,) = standing(own_broker).values()
    assert decode_live(payload).values["active_power_total"].value == 230.0

    say_meters(engine, link, clear_left(engine, link))
    assert {topic.rpartition("/")[2] for topic in standing(own_broker)} == {"a", "c"}


def test_broker_that_lost_everything_is_told_everything_again(
    engine: Engine, session: Session, own_broker: PrivateMosquitto
) -> None:
    add_metered_site(session, add_organisation(session, "acme"), meters=[f"m{number}" for number in range(250)])
    session.commit()
    upkeep = LiveUpkeep(address_of(own_broker))
    upkeep.do(engine)
    before = standing(own_broker)
    assert len(before) == 250

    own_broker.kill()
    own_broker.wipe()
    own_broker.start()
    assert standing(own_broker) == {}

    def said_again() -> bool:
        upkeep.do(engine)
        return standing(own_broker) == before

    wait_until(said_again, WAIT_S, "everything to stand again")
    upkeep.close()


def test_two_publishers_never_let_the_older_stand(
    engine: Engine, session: Session, own_broker: PrivateMosquitto
) -> None:
    (meter,) = add_metered_site(session, add_organisation(session, "acme"))
    session.commit()
    address = address_of(own_broker)
    with (
        hub_client(own_broker) as observer,
        LivePublisher(engine, address, "a") as a,
        LivePublisher(engine, address, "b") as b,
    ):
        observer.subscribe(topics.all_live())
        for number in range(1, 41):
            add_reading(session, meter, float(number), number)
            session.commit()
            (a, b)[number % 2].note([meter.id])
        heard: list[Heard] = []
        while not heard or decode_live(heard[-1].payload).values["active_power_total"].value != 40.0:
            heard.append(observer.next())
    order = [decode_live(one.payload).observed_at for one in heard]
    assert order == sorted(order)


def test_an_event_that_is_committed_late_is_not_forgotten(engine: Engine, session: Session, link: Link) -> None:
    acme = add_organisation(session, "acme")
    session.commit()
    publish(session, acme.id, kind="early.number", subject="x:1", data={})
    with Session(engine) as other, other.begin():
        publish(other, acme.id, kind="late.number", subject="x:2", data={})
    assert say_events(engine, link) == 1
    session.commit()
    assert say_events(engine, link) == 1
    assert say_events(engine, link) == 0


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE meters SET state = 'retired' WHERE slug = 'gone'",
        "UPDATE meters SET state = 'replaced' WHERE slug = 'gone'",
        "UPDATE sites SET state = 'retired' WHERE slug = 'hut'",
    ],
    ids=["retired", "replaced", "site retired"],
)
def test_what_has_ended_stands_nowhere(
    change: str, engine: Engine, session: Session, own_broker: PrivateMosquitto
) -> None:
    acme = add_organisation(session, "acme")
    add_metered_site(session, acme, meters=("gone",))
    add_metered_site(session, acme, "shop", meters=("stays",))
    session.commit()
    upkeep = LiveUpkeep(address_of(own_broker))
    upkeep.do(engine)
    assert len(standing(own_broker)) == 2
    session.execute(text(change))
    session.commit()
    upkeep.do(engine)
    upkeep.close()
    assert {topic.partition("/v1/")[2] for topic in standing(own_broker)} == {"acme/shop/stays"}


def test_names_that_no_topic_can_have_hold_up_nothing_else(
    engine: Engine, session: Session, own_broker: PrivateMosquitto, link: Link
) -> None:
    acme = add_organisation(session, "acme")
    (odd,) = add_metered_site(session, acme, "No Topic#", controller_id="odd-1", meters=("odd",))
    (even,) = add_metered_site(session, acme, "shop", meters=("even",))
    publish(session, acme.id, kind="No Topic#", subject="x:1", data={})
    session.commit()
    say_meters(engine, link, [odd.id, even.id])
    assert say_events(engine, link) == 1
    assert {topic.rpartition("/")[2] for topic in standing(own_broker)} == {"even"}
