from typing import Any

from browsing import counted_queries
from flask.testing import FlaskClient
from hub_factories import add_controller, add_gap_record, add_site, add_stream
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from protocol.scans import GapReason


def get(client: FlaskClient, path: str) -> Any:
    answer = client.get(f"/api/v1/{path}")
    assert answer.status_code == 200, answer.text
    return answer.json


def test_a_controller_that_never_spoke_has_delivered_nothing(client: FlaskClient, session: Session) -> None:
    add_controller(session, add_site(session), presence=None, last_seen_at=None)
    session.commit()
    (controller,) = get(client, "controllers?site=north")["items"]
    assert controller["presence"] is None
    assert controller["last_seen_at"] is None
    assert controller["delivery"] == {
        "committed": 0,
        "waiting": 0,
        "gaps": 0,
        "never_arrived": 0,
        "quarantined": 0,
    }


def test_every_announced_scan_is_counted_once(client: FlaskClient, session: Session) -> None:
    controller = add_controller(session, add_site(session))
    stream = add_stream(
        session,
        controller,
        b"a" * 16,
        committed="{[1,10],[21,30]}",
        gaps="{[11,12]}",
        quarantined="{[13,15]}",
        announced_next=101,
    )
    add_gap_record(session, stream, 11, 12, reason=GapReason.THINNED)
    add_gap_record(session, stream, 91, 100, reason=GapReason.NEVER_ARRIVED)
    add_stream(session, controller, b"b" * 16, committed="{[1,5]}", announced_next=6)
    session.commit()
    (answer,) = get(client, "controllers")["items"]
    assert answer["delivery"] == {"committed": 25, "waiting": 65, "gaps": 2, "never_arrived": 10, "quarantined": 3}
    first, second = get(client, "streams?controller=north-1")["items"]
    assert first["stream_id"] == (b"a" * 16).hex()
    assert sum(first["delivery"].values()) == first["announced_next"] - 1
    assert second["delivery"]["waiting"] == 0


def test_scans_that_arrive_before_they_were_announced_do_not_count_against_it(
    client: FlaskClient, session: Session
) -> None:
    add_stream(session, add_controller(session, add_site(session)), committed="{[50,60]}", announced_next=1)
    session.commit()
    (answer,) = get(client, "controllers")["items"]
    assert (answer["delivery"]["committed"], answer["delivery"]["waiting"]) == (11, 0)


def test_streams_of_an_unknown_controller_are_not_found(client: FlaskClient) -> None:
    assert client.get("/api/v1/streams?controller=nobody").status_code == 404


def test_streams_come_part_by_part(client: FlaskClient, session: Session) -> None:
    controller = add_controller(session, add_site(session))
    for number in range(3):
        add_stream(session, controller, bytes([number]) * 16)
    session.commit()
    first = get(client, "streams?limit=2")
    rest = get(client, f"streams?limit=2&cursor={first['next_cursor']}")
    assert [len(first["items"]), len(rest["items"]), rest["next_cursor"]] == [2, 1, None]


def test_controllers_and_streams_are_narrowed_by_what_is_said_of_them(client: FlaskClient, session: Session) -> None:
    there = add_controller(session, add_site(session))
    gone = add_controller(session, add_site(session, "south"), "south-1", presence="offline")
    for controller in (there, gone):
        add_stream(session, controller)
    session.commit()
    assert [each["id"] for each in get(client, "controllers?presence=offline")["items"]] == ["south-1"]
    assert [each["id"] for each in get(client, "controllers?site=main:north&organisation=main")["items"]] == ["north-1"]
    assert [each["controller_id"] for each in get(client, "streams?site=south")["items"]] == ["south-1"]
    assert {each["organisation"] for each in get(client, "controllers")["items"]} == {"main"}
    assert client.get("/api/v1/controllers?presence=asleep").status_code == 422


def test_lists_ask_as_many_queries_for_many(client: FlaskClient, session: Session, web_engine: Engine) -> None:
    site = add_site(session)
    add_stream(session, add_controller(session, site))
    session.commit()
    asked = {}
    for path in ("controllers", "streams"):
        with counted_queries(web_engine) as few:
            assert len(get(client, path)["items"]) == 1
        asked[path] = len(few)
    for number in range(2, 6):
        add_stream(session, add_controller(session, site, f"north-{number}"))
    session.commit()
    for path, few_queries in asked.items():
        with counted_queries(web_engine) as many:
            assert len(get(client, path)["items"]) == 5
        assert len(many) == few_queries, path
