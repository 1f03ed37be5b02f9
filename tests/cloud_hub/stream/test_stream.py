"""A stream tells what its reader may see, loses nothing, and ends when its reader may no more."""

import http.client
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import pytest
from flask import Flask
from hub_factories import START, add_controller, add_meter, add_point, add_scans, add_site
from people_factories import Browser, add_person, add_site_of, add_tree
from raw_http import LIVE, ambiguous, send_raw
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session
from stream_reader import QUICK, Message, Reader, cookie_of, streaming
from webhook_factories import tell

from cloud_hub.access.permissions import Role
from cloud_hub.stream.api import PATH
from cloud_hub.webhooks.fanning import fan_out
from demo.processes import wait_until
from protocol.quality import Quality


@pytest.fixture
def cookie(app: Flask, session: Session) -> dict[str, str]:
    """Log in a viewer of the operator."""
    add_person(session, "ann@example.org", 1, Role.VIEWER)
    session.commit()
    return cookie_of(Browser(app, "ann@example.org").client)


def happen(engine: Engine, session: Session, *kinds: str, organisation_id: int = 1, site_id: int | None = None) -> None:
    tell(session, *kinds, organisation_id=organisation_id, site_id=site_id)
    fan_out(engine)


def test_what_happens_is_told_as_it_happens(
    app: Flask, web_engine: Engine, engine: Engine, session: Session, cookie: dict[str, str]
) -> None:
    with streaming(app, web_engine) as station:
        reader = station.ready(cookie)
        assert reader.response.getheader("content-type") == "text/event-stream; charset=utf-8"
        assert reader.response.getheader("cache-control") == "no-store"
        happen(engine, session, "meter.made")
        told = reader.next_of("happened")
        assert told.data["kind"] == "meter.made"
        assert told.data["data"] == {"name": "Zähler"}
        assert told.id == str(session.scalar(text("SELECT position FROM events")))


def test_a_message_ends_where_its_chunks_do_whatever_its_length_says(app: Flask, web_engine: Engine) -> None:
    with streaming(app, web_engine) as station:
        assert send_raw(station.port, LIVE) == [200]
        for length in (3, 5 + len(LIVE)):
            # Read by its length, the second request would be a part of the first or begin in the middle of it.
            assert send_raw(station.port, ambiguous(b"", LIVE, length=length)) in ([200, 200], [400])


def test_a_stream_is_resumed_without_a_loss(
    app: Flask, web_engine: Engine, engine: Engine, session: Session, cookie: dict[str, str]
) -> None:
    with streaming(app, web_engine) as station:
        reader = station.ready(cookie)
        happen(engine, session, "a.made")
        last_id = reader.next_of("happened").id
        reader.close()
        station.wait_for_count(0)
        with Session(engine) as late:
            tell_late = text("INSERT INTO events (organisation_id, kind, subject, data) VALUES (1, :kind, 'x', '{}')")
            late.execute(tell_late, {"kind": "late.made"})
            happen(engine, session, *["b.made"] * 450)
            late.commit()
        fan_out(engine)
        again = station.ready(cookie, last_id)
        happen(engine, session, "c.made")
        assert again.kinds(452) == [*["b.made"] * 450, "late.made", "c.made"]


def test_each_reader_is_told_what_they_may_see(
    app: Flask, web_engine: Engine, engine: Engine, session: Session
) -> None:
    tree = add_tree(session)
    mine, other = add_site_of(session, tree.customer.id, "mine"), add_site_of(session, tree.customer.id, "other")
    add_person(session, "reseller@example.org", tree.reseller.id, Role.VIEWER)
    add_person(session, "customer@example.org", tree.customer.id, Role.VIEWER)
    add_person(session, "installer@example.org", tree.customer.id, Role.INSTALLER, sites=(mine.id,))
    add_person(session, "neighbour@example.org", tree.neighbour.id, Role.ADMIN)
    session.commit()
    with streaming(app, web_engine) as station:
        readers = {
            name: station.ready(cookie_of(Browser(app, f"{name}@example.org").client))
            for name in ("reseller", "customer", "installer", "neighbour")
        }
        happen(engine, session, "operator.event")
        happen(engine, session, "mine.event", organisation_id=tree.customer.id, site_id=mine.id)
        happen(engine, session, "other.event", organisation_id=tree.customer.id, site_id=other.id)
        happen(engine, session, "neighbour.event", organisation_id=tree.neighbour.id)
        happen(engine, session, "last.event", organisation_id=tree.customer.id, site_id=mine.id)
        happen(engine, session, "last.event", organisation_id=tree.neighbour.id)
        told = {name: list(_kinds_until(reader, "last.event")) for name, reader in readers.items()}
    assert told == {
        "reseller": ["mine.event", "other.event", "neighbour.event", "last.event"],
        "customer": ["mine.event", "other.event", "last.event"],
        "installer": ["mine.event", "last.event"],
        "neighbour": ["neighbour.event", "last.event"],
    }


def _kinds_until(reader: Reader, last: str) -> list[str]:
    kinds = reader.kinds(1)
    while kinds[-1] != last:
        kinds += reader.kinds(1)
    return kinds


def test_only_wanted_kinds_and_sites_are_told(
    app: Flask, web_engine: Engine, engine: Engine, session: Session, cookie: dict[str, str]
) -> None:
    north, south = add_site(session), add_site(session, "south")
    session.commit()
    with streaming(app, web_engine) as station:
        commands = station.ready(cookie, kinds=["command.*", "alert.fired"])
        of_north = station.ready(cookie, sites="north")
        happen(engine, session, "meter.made", site_id=south.id)
        happen(engine, session, "command.done", site_id=north.id)
        happen(engine, session, "alert.fired", site_id=south.id)
        happen(engine, session, "meter.made", site_id=north.id)
        assert commands.kinds(2) == ["command.done", "alert.fired"]
        assert of_north.kinds(2) == ["command.done", "meter.made"]


def test_values_are_told_at_once_and_then_as_they_change(
    app: Flask, web_engine: Engine, session: Session, cookie: dict[str, str]
) -> None:
    controller = add_controller(session, add_site(session))
    heater, pump = add_meter(session, controller), add_meter(session, controller, "pump")
    points = {meter.id: add_point(session, meter) for meter in (heater, pump)}
    for meter in (heater, pump):
        add_scans(session, meter, [points[meter.id]], [[1.0]])
    session.commit()
    with streaming(app, web_engine) as station:
        reader = station.ready(cookie, sites="north")
        alone = station.ready(cookie, meters=heater.id)
        assert _told_values(reader, {heater.id: 1.0, pump.id: 1.0})
        assert _told_values(alone, {heater.id: 1.0})
        later = START.replace(hour=13)
        add_scans(session, pump, [points[pump.id]], [[7.0]], start=later)
        session.commit()
        message = _told_values(reader, {pump.id: 7.0})
        assert message.id == ""  # so that Last-Event-ID stays that of the last event
        (point,) = message.data["meters"][0]["points"]
        assert (point["point_id"], point["observed_at"]) == (points[pump.id].id, later.isoformat())
        add_scans(session, heater, [points[heater.id]], [[(None, Quality.TIMEOUT)]], start=later)
        session.commit()
        assert _told_values(alone, {heater.id: None})


def _told_values(reader: Reader, expected: dict[int, float | None]) -> Message:
    """Wait until these have been told."""
    known: dict[int, float | None] = {}
    while True:
        message = reader.next_of("values")
        known |= {one["meter_id"]: one["points"][0]["value"] for one in message.data["meters"]}
        if all(known.get(meter_id, "none") == value for meter_id, value in expected.items()):
            return message


def test_whoever_is_not_let_in_is_told_why_as_the_web_tells_it(
    app: Flask, web_engine: Engine, session: Session, cookie: dict[str, str]
) -> None:
    tree = add_tree(session)
    site = add_site_of(session, tree.other.id, "theirs")
    controller = add_controller(session, site, "theirs-1")
    meter = add_meter(session, controller)
    add_person(session, "poor@example.org", tree.customer.id, Role.VIEWER)
    session.commit()
    poor = cookie_of(Browser(app, "poor@example.org").client)
    with streaming(app, web_engine) as station:
        cases: list[tuple[dict[str, str], dict[str, Any], HTTPStatus]] = [
            ({}, {}, HTTPStatus.UNAUTHORIZED),
            ({"Cookie": "meterhaul=forged"}, {}, HTTPStatus.UNAUTHORIZED),
            ({"Authorization": "Bearer mh_wrong"}, {}, HTTPStatus.UNAUTHORIZED),
            (poor, {"sites": "theirs"}, HTTPStatus.NOT_FOUND),
            (poor, {"meters": meter.id}, HTTPStatus.NOT_FOUND),
            (cookie, {"meters": "abc"}, HTTPStatus.UNPROCESSABLE_ENTITY),
            (cookie, {"kinds": "NO"}, HTTPStatus.UNPROCESSABLE_ENTITY),
            (cookie, {"colour": "red"}, HTTPStatus.UNPROCESSABLE_ENTITY),
            (cookie | {"Last-Event-ID": "abc"}, {}, HTTPStatus.UNPROCESSABLE_ENTITY),
        ]
        for headers, query, status in cases:
            reader = station.read(headers, **query)
            assert reader.status == status, (headers, query)
            assert reader.response.getheader("content-type") == "application/problem+json"
            assert reader.problem()
        assert station.streams.board.count == 0


def test_a_role_without_the_permission_is_refused(app: Flask, web_engine: Engine, session: Session) -> None:
    session.execute(
        text("INSERT INTO roles (organisation_id, slug, name, permissions) VALUES (1, 'few', 'Few', '{sites.read}')")
    )
    role_id = session.scalar(text("SELECT id FROM roles"))
    add_person(session, "few@example.org", 1, Role.CUSTOM, role_id=role_id)
    session.commit()
    with streaming(app, web_engine) as station:
        reader = station.read(cookie_of(Browser(app, "few@example.org").client))
        assert (reader.status, "events.read" in reader.problem()) == (403, True)


def test_a_stream_ends_when_its_reader_may_no_more(
    app: Flask, web_engine: Engine, session: Session, cookie: dict[str, str]
) -> None:
    with streaming(app, web_engine, pace=replace(QUICK, recheck_s=0.2)) as station:
        reader = station.ready(cookie)
        session.execute(text("UPDATE users SET disabled_at = now()"))
        session.commit()
        assert reader.next_of("end").data == {"reason": "not permitted any more"}
        assert reader.next() is None
        station.wait_for_count(0)
        assert station.read(cookie).status == HTTPStatus.UNAUTHORIZED


def test_a_stream_ends_when_rights_change_and_is_resumed_with_the_new_ones(
    app: Flask, web_engine: Engine, session: Session, cookie: dict[str, str]
) -> None:
    tree = add_tree(session)
    session.commit()
    with streaming(app, web_engine, pace=replace(QUICK, recheck_s=0.2)) as station:
        reader = station.ready(cookie)
        session.execute(text("UPDATE memberships SET organisation_id = :id"), {"id": tree.customer.id})
        session.commit()
        assert reader.next_of("end").data == {"reason": "rights changed"}
        assert station.ready(cookie).status == HTTPStatus.OK


def test_a_reader_who_does_not_read_is_cut_and_loses_nothing(
    app: Flask, web_engine: Engine, engine: Engine, session: Session, cookie: dict[str, str]
) -> None:
    with streaming(app, web_engine, pace=replace(QUICK, slow_s=0.5)) as station:
        reader, bystander = station.ready(cookie, receive_buffer=64 * 1024), station.ready(cookie)
        for _ in range(4):
            flood(engine, session, 50)
            assert len(bystander.kinds(50)) == 50  # who reads is told all the while
        station.wait_for_count(1)
        seen, last_id = read_to_the_end(reader)
        assert seen < 200
        again = station.ready(cookie, last_id)
        assert len(again.kinds(200 - seen)) == 200 - seen


def test_a_flood_does_not_cut_who_reads_and_memory_stays_bounded(
    app: Flask, web_engine: Engine, engine: Engine, session: Session, cookie: dict[str, str]
) -> None:
    with streaming(app, web_engine) as station:
        reader = station.ready(cookie)
        flood(engine, session, 450)
        told = [reader.next_of("happened") for _ in range(450)]
        (connection,) = station.streams.board.connections()
        assert connection.take_events() == b""
    positions = [int(one.id) for one in told]
    assert positions == sorted(set(positions))
    assert [one.data["subject"] for one in told] == [f"n:{n}" for n in range(1, 451)]


def flood(engine: Engine, session: Session, count: int) -> None:
    """Let many large events happen at once."""
    session.execute(
        text(
            "INSERT INTO events (organisation_id, kind, subject, data) "
            "SELECT 1, 'big.made', 'n:' || n, jsonb_build_object('text', repeat('x', 20000)) "
            "FROM generate_series(1, :count) n"
        ),
        {"count": count},
    )
    session.commit()
    fan_out(engine)


def read_to_the_end(reader: Reader) -> tuple[int, str]:
    """Read what came before a cut; return the number of events, and the id of the last."""
    seen, last_id = 0, ""
    try:
        while (message := reader.next()) is not None:
            seen += message.name == "happened"
            last_id = message.id or last_id
    except (OSError, ValueError, http.client.HTTPException):
        pass  # cut in the middle of a message
    return seen, last_id


def test_nobody_takes_all_streams(app: Flask, web_engine: Engine, session: Session, cookie: dict[str, str]) -> None:
    add_person(session, "bob@example.org", 1, Role.VIEWER)
    session.commit()
    bob = cookie_of(Browser(app, "bob@example.org").client)
    with streaming(app, web_engine, streams_max=3, per_identity_max=2) as station:
        readers = [station.ready(cookie) for _ in range(2)]
        refused = station.read(cookie)
        assert (refused.status, refused.response.getheader("retry-after")) == (429, "10")
        station.ready(bob)
        assert station.read(bob).status == HTTPStatus.SERVICE_UNAVAILABLE
        readers[0].close()
        station.wait_for_count(2)
        station.ready(bob)


def test_a_quiet_stream_says_that_it_lives(
    app: Flask, web_engine: Engine, engine: Engine, session: Session, cookie: dict[str, str]
) -> None:
    with streaming(app, web_engine, pace=replace(QUICK, heartbeat_s=0.05)) as station:
        reader = station.ready(cookie)
        wait_until(lambda: _hears_comment(reader), 30, "a sign of life")
        happen(engine, session, "meter.made")
        assert reader.kinds(1) == ["meter.made"]


def _hears_comment(reader: Reader) -> bool:
    return reader.response.readline().startswith(b":")


def test_streams_end_with_the_process_and_say_so(app: Flask, web_engine: Engine, cookie: dict[str, str]) -> None:
    with streaming(app, web_engine) as station:
        reader = station.ready(cookie)
        station.end()
        assert reader.next_of("end").data == {"reason": "restart"}
        assert reader.next() is None


def test_a_lost_connection_to_the_database_is_made_again(
    app: Flask, web_engine: Engine, engine: Engine, session: Session, cookie: dict[str, str]
) -> None:
    with streaming(app, web_engine) as station:
        reader = station.ready(cookie)
        kill = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
        wait_until(lambda: session.execute(kill).all() != [], 30, "the listener")
        session.rollback()
        happen(engine, session, "meter.made")
        assert reader.kinds(1) == ["meter.made"]


def test_other_paths_are_the_webs(app: Flask, web_engine: Engine, cookie: dict[str, str]) -> None:
    with streaming(app, web_engine) as station:
        for path, status in (("/", 404), ("/api/v1/events", 404), ("/health/live", 200), ("/health/ready", 200)):
            connection = http.client.HTTPConnection("127.0.0.1", station.port, timeout=10)
            connection.request("GET", path, headers=cookie)
            answer = connection.getresponse()
            assert (answer.status, bool(answer.read())) == (status, True)
            connection.close()
        connection = http.client.HTTPConnection("127.0.0.1", station.port, timeout=10)
        connection.request("POST", PATH, headers=cookie)
        assert connection.getresponse().status == HTTPStatus.METHOD_NOT_ALLOWED
        connection.close()
