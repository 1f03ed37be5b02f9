from typing import Any

import pytest
from browsing import counted_queries
from flask.testing import FlaskClient
from hub_factories import add_controller, add_meter, add_point, add_site
from sqlalchemy import Engine
from sqlalchemy.orm import Session


def get(client: FlaskClient, path: str) -> Any:
    answer = client.get(f"/api/v1/{path}")
    assert answer.status_code == 200, answer.text
    return answer.json


def collect(client: FlaskClient, path: str, limit: int) -> list[Any]:
    items: list[Any] = []
    cursor = ""
    while True:
        page = get(client, f"{path}{'&' if '?' in path else '?'}limit={limit}{cursor}")
        assert len(page["items"]) <= limit
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        cursor = f"&cursor={page['next_cursor']}"


def test_sites_come_by_slug_and_part_by_part(client: FlaskClient, session: Session) -> None:
    for slug in ("c", "a", "e", "b", "d"):
        add_site(session, slug)
    session.commit()
    assert [site["slug"] for site in collect(client, "sites", 2)] == ["a", "b", "c", "d", "e"]


def test_a_site_tells_its_zone_and_times_are_utc(client: FlaskClient, session: Session) -> None:
    add_site(session, "north", name="North hut", time_zone="Europe/Berlin")
    session.commit()
    site = get(client, "sites/north")
    assert site.pop("created_at").endswith("Z")
    assert site == {
        "slug": "north",
        "organisation": "main",
        "name": "North hut",
        "time_zone": "Europe/Berlin",
        "address": {"street": "", "postal_code": "", "city": "", "region": "", "country": ""},
        "position": None,
        "tags": [],
        "state": "in_service",
    }


def test_meters_of_one_site(client: FlaskClient, session: Session) -> None:
    north, south = add_site(session, "north"), add_site(session, "south")
    controller = add_controller(session, north, "n")
    here = [add_meter(session, controller, f"m{n}") for n in range(5)]
    add_meter(session, add_controller(session, south, "s"), "other")
    session.commit()
    assert [meter["id"] for meter in collect(client, "meters?site=north", 2)] == [meter.id for meter in here]
    assert len(collect(client, "meters", 4)) == 6
    assert client.get("/api/v1/meters?site=west").status_code == 404


def test_a_meter_and_its_points(client: FlaskClient, session: Session) -> None:
    meter = add_meter(session, add_controller(session, add_site(session)), "heater", label="Heater", period_s=5)
    point = add_point(session, meter, "energy_active_import_total", quantity="active_energy", unit="Wh", kind="counter")
    session.commit()
    shown = get(client, f"meters/{meter.id}")
    assert {name: shown[name] for name in ("slug", "controller_id", "site", "organisation", "label", "state")} == {
        "slug": "heater",
        "controller_id": "north-1",
        "site": "north",
        "organisation": "main",
        "label": "Heater",
        "state": "in_service",
    }
    assert get(client, f"meters/{meter.id}/points") == {
        "items": [
            {
                "id": point.id,
                "meter_id": meter.id,
                "name": "energy_active_import_total",
                "quantity": "active_energy",
                "unit": "Wh",
                "kind": "counter",
                "label": "",
            }
        ]
    }


@pytest.mark.parametrize("path", ["sites", "meters", "controllers", "streams", "groups"])
def test_a_list_asks_as_often_however_long_it_is(
    client: FlaskClient, session: Session, engine: Engine, path: str
) -> None:
    def count() -> int:
        with counted_queries(engine) as statements:
            get(client, path)
        return len(statements)

    empty = count()
    for number in range(20):
        add_meter(session, add_controller(session, add_site(session, f"site-{number}"), f"controller-{number}"))
    session.commit()
    full = count()
    assert full <= empty + 1
    assert full <= 5
