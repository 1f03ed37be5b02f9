"""A whole site in one request: all of it, or nothing, and a refusal that names the key at fault."""

from collections.abc import Callable
from typing import Any

import pytest
from api_client import ApiClient
from browsing import form_token
from flask import Flask
from flask.testing import FlaskClient
from hub_factories import add_organisation
from registry_factories import PROFILE, add_member, api_as, deeds
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud_hub.access.permissions import Role
from cloud_hub.organisations.models import Organisation
from cloud_hub.registry.models import Bus, Controller, Meter, MeterGroup, Site
from cloud_hub.tariffs.models import SiteHours, Tariff, TariffAssignment

PATH = "sites/register"


@pytest.fixture
def api(client: FlaskClient) -> ApiClient:
    return ApiClient(client)


@pytest.fixture
def whole(session: Session) -> dict[str, Any]:
    """A site with everything."""
    main = session.get_one(Organisation, 1)
    owner = add_member(session, main, "olga@example.org", Role.VIEWER)
    tariff = Tariff(organisation_id=1, slug="shop", name="Shop", currency="EUR")
    session.add(tariff)
    session.commit()
    return {
        "site": {"slug": "north", "name": "North hut", "time_zone": "Europe/Berlin", "tags": ["alps"]},
        "controllers": [
            {"id": "north-1", "buses": [{"id": "net", "host": "10.0.0.1"}]},
            {"id": "north-2", "buses": [{"id": "rs485", "serial": {"device": "/dev/ttyUSB0"}}]},
        ],
        "meters": [
            meter("heater", "north-2", bus="rs485", unit_id=3, parent="main", role="heater"),
            meter("grid", "north-1", bus="net", name="main", role="grid", owners=[owner.id]),
            meter("grid", "north-2", name="back-up", parent="main", role="ups"),
        ],
        "groups": [{"slug": "warm", "name": "Warm", "meters": ["heater", "main"]}],
        "operating_hours": {"hours": {"weekly": {"monday": ["08:00-18:00"]}}},
        "tariff": {"tariff_id": tariff.id, "valid_from": "2026-01-01T00:00:00Z"},
    }


def meter(slug: str, controller: str, **changes: Any) -> dict[str, Any]:
    return {"slug": slug, "controller": controller, "profile": PROFILE, **changes}


def counts(session: Session) -> list[int]:
    session.rollback()
    tables = (Site, Controller, Bus, Meter, MeterGroup, SiteHours, TariffAssignment)
    return [session.scalar(select(func.count()).select_from(table)) or 0 for table in tables]


def test_a_whole_site_is_registered_at_once(api: ApiClient, session: Session, whole: dict[str, Any]) -> None:
    made = api.done("POST", PATH, whole)
    assert (made["dry_run"], made["site"]["slug"], made["controllers"]) == (False, "north", ["north-1", "north-2"])
    assert counts(session) == [1, 2, 2, 3, 1, 1, 1]
    heater, grid, backup = (api.get(f"meters/{one['id']}") for one in made["meters"])
    assert [one["name"] for one in made["meters"]] == ["heater", "main", "back-up"]
    assert (heater["parent_id"], heater["bus"], heater["unit_id"]) == (grid["id"], "rs485", 3)
    assert (backup["parent_id"], backup["slug"], backup["controller_id"]) == (grid["id"], "grid", "north-2")
    assert len(grid["owners"]) == 1
    assert api.get(f"groups/{made['groups'][0]['id']}")["meters"] == sorted([heater["id"], grid["id"]])
    assert deeds(session)[0] == "site_created"


def test_a_dry_run_says_that_it_could_be_done_and_keeps_nothing(
    api: ApiClient, session: Session, whole: dict[str, Any]
) -> None:
    made = api.done("POST", f"{PATH}?dry_run=true", whole)
    assert (made["dry_run"], made["site"]["organisation"]) == (True, "main")
    assert {one["id"] for one in made["meters"] + made["groups"]} == {None}
    assert counts(session) == [0] * 7
    assert deeds(session) == []


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (lambda w: w["site"].update(time_zone="Nowhere"), (422, "site: time_zone: 'Nowhere' is no time zone")),
        (lambda w: w["meters"][2].update(name="main"), (422, "meters: 2: name: there is a meter 'main'")),
        (lambda w: w["meters"][2].update(slug="heater"), (409, "meters: 2: slug: controller 'north-2' has a meter 'heater'")),
        (lambda w: w["meters"][0].update(parent="nobody"), (422, "meters: 0: parent: there is no meter 'nobody'")),
        (lambda w: w["meters"][1].update(parent="heater"), (422, ": parent: the meter is upstream of itself")),
        (lambda w: w["meters"][0].update(bus="net"), (422, "meters: 0: bus: controller 'north-2' has no bus 'net'")),
        (lambda w: w["meters"][0].pop("controller"), (422, "meters: 0: controller: is missing, and the site has several")),
        (lambda w: w["meters"][0].update(controller="x"), (422, "meters: 0: controller: there is no controller 'x'")),
        (lambda w: w["meters"][1].update(owners=[99]), (422, "meters: 1: owners: there is no user 99")),
        (lambda w: w["meters"][0].update(profile="x"), (422, "meters: 0: profile: ")),
        (lambda w: w["controllers"][1].update(id="north-1"), (409, "controllers: 1: id: there is a controller 'north-1'")),
        (lambda w: w["controllers"][0]["buses"].append({"id": "b", "host": "10.0.0.1"}), (409, "controllers: 0: buses: 1: ")),
        (lambda w: w["groups"][0].update(meters=["lamp"]), (422, "groups: 0: meters: there is no meter 'lamp'")),
        (lambda w: w["operating_hours"]["hours"]["weekly"].update(monday=["9-5"]), (422, "operating_hours: hours: ")),
        (lambda w: w["tariff"].update(tariff_id=99), (404, "there is no tariff 99")),
        (lambda w: w.update(controllers=[]), (422, "there are meters and no controller")),
    ],
    ids=[
        "zone", "name twice", "slug twice", "no parent", "circle", "bus of another", "no controller", "unknown controller",
        "owner", "profile", "controller twice", "address twice", "group", "hours", "tariff", "no controllers",
    ],
)  # fmt: skip
def test_a_refusal_names_the_key_and_nothing_is_kept(
    api: ApiClient, session: Session, whole: dict[str, Any], change: Change, refusal: tuple[int, str]
) -> None:
    change(whole)
    said = api.refused("POST", PATH, whole)
    assert (said[0], refusal[1] in said[1]) == (refusal[0], True), said[1]
    assert counts(session) == [0] * 7


def test_it_takes_what_the_single_requests_take(app: Flask, session: Session, whole: dict[str, Any]) -> None:
    mine = add_organisation(session, "mine")
    add_member(session, mine, "tim@example.org", Role.TECHNICIAN)
    session.commit()
    api = api_as(app, "tim@example.org")
    assert api.refused("POST", PATH, {**whole, "tariff": None})[1].endswith("and tariffs.write")
    bare = {**whole, "tariff": None, "operating_hours": None, "meters": [], "groups": []}
    assert api.refused("POST", PATH, {**bare, "organisation": "main"})[0] in {403, 404}
    assert api.done("POST", PATH, bare)["site"]["organisation"] == "mine"


def test_the_same_key_registers_once(client: FlaskClient, session: Session, whole: dict[str, Any]) -> None:
    headers = {"X-CSRF-Token": form_token(client), "Idempotency-Key": "first-site"}
    answers = [client.post(f"/api/v1/{PATH}", json=whole, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json == answers[1].json
    assert counts(session)[0] == 1
