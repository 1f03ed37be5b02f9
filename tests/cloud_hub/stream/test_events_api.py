"""Events as a list: in the order in which they are told, each to those who may see it."""

from typing import Any

import pytest
from flask import Flask
from hub_factories import add_site
from people_factories import Browser, add_person, add_site_of, add_tree
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from webhook_factories import tell

from cloud_hub.access.permissions import Role
from cloud_hub.webhooks.fanning import fan_out


@pytest.fixture
def viewer(app: Flask, session: Session) -> Browser:
    """Log in a viewer of the operator."""
    add_person(session, "ann@example.org", 1, Role.VIEWER)
    session.commit()
    return Browser(app, "ann@example.org")


def read(browser: Browser, path: str = "/events") -> Any:
    answer = browser.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json


def kinds(browser: Browser, path: str = "/events") -> list[str]:
    return [item["kind"] for item in read(browser, path)["items"]]


def test_events_are_listed_part_by_part_and_the_last_cursor_finds_what_is_new(
    viewer: Browser, engine: Engine, session: Session
) -> None:
    tell(session, "a.made", "b.made", "c.made")
    assert kinds(viewer) == []  # not told yet
    fan_out(engine)
    first = read(viewer, "/events?limit=2")
    assert [item["kind"] for item in first["items"]] == ["a.made", "b.made"]
    rest = f"/events?cursor={first['next_cursor']}"
    assert kinds(viewer, rest) == ["c.made"]
    tell(session, "d.made")
    fan_out(engine)
    assert kinds(viewer, rest) == ["c.made", "d.made"]


def test_an_event_is_shown_whole(viewer: Browser, engine: Engine, session: Session) -> None:
    site = add_site(session)
    tell(session, "meter.made", site_id=site.id)
    fan_out(engine)
    (item,) = read(viewer)["items"]
    assert item.pop("id") > 0
    assert item.pop("at")
    assert item == {
        "kind": "meter.made",
        "organisation_id": 1,
        "site_id": site.id,
        "subject": "meter:7",
        "data": {"name": "Zähler"},
    }


def test_kinds_and_a_site_narrow_the_list(viewer: Browser, engine: Engine, session: Session) -> None:
    north = add_site(session)
    tell(session, "meter.made", site_id=north.id)
    tell(session, "meter.made", "command.done", "command.sent", "site.made")
    fan_out(engine)
    assert kinds(viewer, "/events?kinds=command.*&kinds=site.made") == ["command.done", "command.sent", "site.made"]
    assert kinds(viewer, "/events?site=north") == ["meter.made"]


def test_each_sees_their_own(app: Flask, engine: Engine, session: Session) -> None:
    tree = add_tree(session)
    mine = add_site_of(session, tree.customer.id, "mine")
    add_site_of(session, tree.other.id, "theirs")
    for name, organisation in (("customer", tree.customer), ("neighbour", tree.neighbour)):
        add_person(session, f"{name}@example.org", organisation.id, Role.VIEWER)
    add_person(session, "installer@example.org", tree.customer.id, Role.INSTALLER, sites=(mine.id,))
    session.commit()
    tell(session, "site.event", organisation_id=tree.customer.id, site_id=mine.id)
    tell(session, "organisation.event", organisation_id=tree.customer.id)
    fan_out(engine)
    customer = Browser(app, "customer@example.org")
    assert kinds(customer) == ["site.event", "organisation.event"]
    assert kinds(Browser(app, "installer@example.org")) == ["site.event"]
    assert kinds(Browser(app, "neighbour@example.org")) == []
    assert customer.get("/events?site=theirs").status_code == 404


@pytest.mark.parametrize("query", ["cursor=!", "cursor=YWJj", "limit=0", "kinds=NO", "colour=red", "site=a&site=b"])
def test_what_cannot_be_is_refused(viewer: Browser, query: str) -> None:
    assert viewer.get(f"/events?{query}").status_code == 422


def test_the_web_process_says_who_keeps_streams(viewer: Browser, stranger: Any) -> None:
    answer = viewer.get("/events/stream")
    assert (answer.status_code, "meterhaul hub stream" in answer.text) == (503, True)
    assert stranger.get("/api/v1/events/stream").status_code == 401
