"""Many sites and meters in one request: all or none, or each with what came of it."""

from typing import Any

import pytest
from api_client import ApiClient
from browsing import counted_queries
from flask.testing import FlaskClient
from hub_factories import add_controller, add_site
from registry_factories import events, meter_body, site_body
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from cloud_hub.registry.models import Meter, Site

MANY = 1000


@pytest.fixture
def api(client: FlaskClient, session: Session) -> ApiClient:
    add_controller(session, add_site(session))
    session.commit()
    return ApiClient(client)


def count(session: Session, table: type[Site | Meter]) -> int:
    session.rollback()
    return session.scalar(select(func.count()).select_from(table)) or 0


def test_all_or_none_and_the_refusal_names_the_item(api: ApiClient, session: Session) -> None:
    items = [site_body("a"), site_body("b"), site_body("a")]
    answer = api.send("POST", "sites/bulk", {"items": items})
    said: Any = answer.json
    assert answer.status_code == 409
    assert said["detail"].startswith("items: 2: slug: organisation 'main' has a site 'a' already")
    assert count(session, Site) == 1
    done = api.done("POST", "sites/bulk", {"items": items[:2]})
    assert [item["site"]["slug"] for item in done["items"]] == ["a", "b"]


def test_a_refusal_points_at_the_key(api: ApiClient) -> None:
    answer = api.send("POST", "meters/bulk", {"items": [meter_body("a"), meter_body("b", profile="nothing-like-it")]})
    said: Any = answer.json
    assert (answer.status_code, said["errors"][0]["pointer"]) == (422, "/items/1/profile")


def test_partial_registers_those_that_can_be(api: ApiClient, session: Session) -> None:
    items = [
        meter_body("grid"),
        meter_body("heater", parent="grid"),
        meter_body("grid"),
        meter_body("pump", parent="nobody"),
        meter_body("pump", bus="none"),
        meter_body("lamp", profile="nothing-like-it"),
        meter_body("lamp"),
    ]
    done = api.done("POST", "meters/bulk?partial=true", {"items": items})
    assert [(item["index"], (item["problem"] or {}).get("status")) for item in done["items"]] == [
        (0, None),
        (1, None),
        (2, 409),
        (3, 404),
        (4, 404),
        (5, 422),
        (6, None),
    ]
    assert done["items"][1]["meter"]["parent_id"] == done["items"][0]["meter"]["id"]
    assert done["items"][2]["problem"]["detail"].startswith("slug: ")
    assert count(session, Meter) == 3
    assert len([kind for kind, _ in events(session) if kind == "meter.created"]) == 3


def test_what_names_a_foreign_thing_refuses_the_whole_request(api: ApiClient, session: Session) -> None:
    items = [meter_body("a"), meter_body("b", controller="theirs-1")]
    assert api.refused("POST", "meters/bulk?partial=true", {"items": items}) == (
        404,
        "there is no controller 'theirs-1'",
    )
    assert count(session, Meter) == 0


def test_no_more_than_a_thousand_at_once(api: ApiClient, session: Session) -> None:
    items = [meter_body(f"m-{number}") for number in range(MANY + 1)]
    status, reason = api.refused("POST", "meters/bulk", {"items": items})
    assert (status, "items: " in reason) == (422, True)
    assert api.refused("POST", "meters/bulk", {"items": []})[0] == 422
    assert count(session, Meter) == 0


@pytest.mark.parametrize("what", ["sites", "meters"])
def test_each_of_many_costs_a_few_statements(api: ApiClient, web_engine: Engine, what: str) -> None:
    make = site_body if what == "sites" else meter_body

    def statements(*numbers: int) -> int:
        with counted_queries(web_engine) as sent:
            api.done("POST", f"{what}/bulk", {"items": [make(f"{what}-{number}") for number in numbers]})
        return len(sent)

    # The thing itself, its life, the trail, the event.
    assert statements(*range(1, 21)) - statements(0) == 19 * 4
