"""Meters, their points, parents and owners over HTTP."""

from datetime import date
from typing import Any

import pytest
from api_client import ApiClient
from factories import make_layout
from flask.testing import FlaskClient
from hub_factories import add_controller, add_meter, add_organisation, add_point, add_site
from ledger_rows import add_day
from registry_factories import add_member, deeds, edit, events, meter_body, refused_edit
from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.access.permissions import Role
from cloud_hub.audit.models import AuditEvent
from cloud_hub.ledger.models import Dirty
from cloud_hub.organisations.models import Organisation
from cloud_hub.registry.models import Controller, Meter
from cloud_hub.registry.service import register_manifest
from protocol.manifest import Manifest


@pytest.fixture
def api(client: FlaskClient, session: Session) -> ApiClient:
    add_controller(session, add_site(session))
    session.commit()
    return ApiClient(client)


def test_a_meter_is_planned_before_it_is_there(api: ApiClient, session: Session) -> None:
    owner = add_member(session, session.get_one(Organisation, 1), "olga@example.org", Role.VIEWER)
    session.commit()
    made = api.done(
        "POST",
        "meters",
        meter_body(role="heater", serial_number="A-17", label="Boiler", unit_id=3, period_s=5, owners=[owner.id]),
    )
    assert made.pop("created_at").endswith("Z")
    assert made == {
        "id": made["id"],
        "slug": "heater",
        "controller_id": "north-1",
        "site": "north",
        "organisation": "main",
        "label": "Boiler",
        "profile": "eastron-sdm120",
        "period_s": 5.0,
        "role": "heater",
        "serial_number": "A-17",
        "parent_id": None,
        "bus": None,
        "unit_id": 3,
        "owners": [owner.id],
        "state": "planned",
        "commissioned_at": None,
        "replaced_by_id": None,
    }
    assert events(session) == [("meter.created", f"meter:{made['id']}")]


def test_a_manifest_finds_the_meter_that_was_planned(api: ApiClient, session: Session) -> None:
    planned = api.done("POST", "meters", meter_body("a", label="Boiler"))
    ready = api.done("POST", "meters", meter_body("b", state="commissioned"))
    layouts = tuple(make_layout(slug, 2) for slug in ("a", "b", "c"))
    register_manifest(session, "north-1", Manifest(layouts=layouts).body)
    session.commit()
    states = {meter["slug"]: (meter["id"], meter["state"]) for meter in api.get("meters")["items"]}
    assert states["a"] == (planned["id"], "planned")
    assert states["b"] == (ready["id"], "in_service")
    assert states["c"][1] == "in_service"
    assert len(api.get(f"meters/{planned['id']}/points")["items"]) == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"slug": "grid"}, "slug: controller 'north-1' has a meter 'grid' already"),
        ({"profile": "eastron-sdm12"}, "profile: profile 'eastron-sdm12' is unknown; did you mean eastron-sdm120"),
        ({"role": "toaster"}, "role: "),
        ({"unit_id": 256}, "unit_id: "),
        ({"bus": "rs485"}, "bus: controller 'north-1' has no bus 'rs485'"),
        ({"parent": "main"}, "parent: controller 'north-1' has no meter 'main'"),
        ({"parent": "grid", "parent_id": 1}, "send one of them"),
        ({"parent_id": 999}, "there is no meter 999"),
        ({"owners": [999]}, "owners: there is no user 999 in the meter's organisation"),
        ({"controller": "south-1"}, "there is no controller 'south-1'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_meter_that_cannot_be_is_refused_by_its_key(
    api: ApiClient, session: Session, change: dict[str, Any], reason: str
) -> None:
    add_meter(session, session.get_one(Controller, "north-1"), "grid")
    session.commit()
    if change.get("parent_id") == 1:
        change = {**change, "parent_id": session.scalars(select(Meter.id)).one()}
    status, said = api.refused("POST", "meters", meter_body(**change))
    assert status in {404, 409, 422}
    assert reason in said
    assert len(api.get("meters")["items"]) == 1


def test_meters_hang_below_others_of_their_site_and_never_in_a_circle(api: ApiClient, session: Session) -> None:
    grid = api.done("POST", "meters", meter_body("grid", role="grid"))["id"]
    floor = api.done("POST", "meters", meter_body("floor", parent_id=grid))["id"]
    heater = api.done("POST", "meters", meter_body("heater", parent="floor"))["id"]
    assert [meter["id"] for meter in api.get(f"meters?parent_id={floor}")["items"]] == [heater]
    for meter in (heater, grid):
        status, reason = refused_edit(api, f"meters/{grid}", {"parent_id": meter})
        assert (status, "a meter cannot be upstream of itself" in reason) == (422, True)
    stranger = add_meter(session, add_controller(session, add_site(session, "south"), "south-1"))
    session.commit()
    status, reason = refused_edit(api, f"meters/{heater}", {"parent_id": stranger.id})
    assert (status, "belongs to another site" in reason) == (422, True)
    assert edit(api, f"meters/{heater}", {"parent_id": None})["parent_id"] is None


def test_an_edit_leaves_what_was_before_and_after(api: ApiClient, session: Session) -> None:
    path = f"meters/{api.done('POST', 'meters', meter_body())['id']}"
    seen = api.etag(path)
    edit(api, path, {"label": "Boiler", "role": "water", "profile": "eastron-sdm630"})
    assert api.send("PATCH", path, {"label": "Late"}, match=seen).status_code == 412
    session.rollback()
    detail = session.scalars(select(AuditEvent.detail).where(AuditEvent.action == "meter_changed")).one()
    assert detail == {
        "before": {"label": "", "role": "other", "profile": "eastron-sdm120"},
        "after": {"label": "Boiler", "role": "water", "profile": "eastron-sdm630"},
    }


def test_a_meter_goes_to_another_site_without_those_it_hangs_on(api: ApiClient, session: Session) -> None:
    grid = api.done("POST", "meters", meter_body("grid"))["id"]
    heater = api.done("POST", "meters", meter_body("heater", parent="grid"))["id"]
    far = add_site(session, "far", time_zone="Asia/Kathmandu")
    point = add_point(session, session.get_one(Meter, heater), kind="counter")
    add_day(session, point, far, date(2026, 3, 2), 1_000_000)
    session.commit()
    status, reason = refused_edit(api, f"meters/{heater}", {"site": "far"})
    assert (status, f"meter {heater} hangs below meter {grid}" in reason) == (409, True)
    moved = edit(api, f"meters/{heater}", {"site": "far", "parent_id": None})
    assert (moved["site"], moved["parent_id"], moved["controller_id"]) == ("far", None, "north-1")
    assert session.scalars(select(Dirty.meter_id)).all() == [heater]
    assert deeds(session)[-1] == "meter_moved"


def test_owners_are_members_and_leave_with_the_organisation(api: ApiClient, session: Session) -> None:
    olga = add_member(session, session.get_one(Organisation, 1), "olga@example.org", Role.VIEWER)
    other = add_organisation(session, "other")
    paul = add_member(session, other, "paul@example.org", Role.VIEWER)
    add_site(session, "theirs", organisation_id=other.id)
    session.commit()
    path = f"meters/{api.done('POST', 'meters', meter_body(owners=[olga.id]))['id']}"
    assert [meter["slug"] for meter in api.get(f"meters?owner={olga.id}")["items"]] == ["heater"]
    assert api.get(f"meters?owner={paul.id}")["items"] == []
    status, reason = refused_edit(api, path, {"owners": [paul.id]})
    assert (status, f"there is no user {paul.id}" in reason) == (422, True)
    moved = edit(api, path, {"site": "theirs"})
    assert (moved["organisation"], moved["owners"]) == ("other", [])
    assert edit(api, path, {"owners": [paul.id]})["owners"] == [paul.id]


def test_meters_are_found_by_all_that_is_known_of_them(api: ApiClient, session: Session) -> None:
    add_organisation(session, "empty")
    session.commit()
    api.done("POST", "meters", meter_body("grid", role="grid", serial_number="X-1"))
    pump = api.done("POST", "meters", meter_body("pump", role="water", label="Cellar pump", state="in_service"))["id"]
    group = api.done("POST", "groups", {"slug": "wet", "name": "Wet", "meters": [pump]})["id"]
    for query, found in {
        "role=grid": ["grid"],
        "state=in_service": ["pump"],
        "text=CELLAR": ["pump"],
        "text=x-1": ["grid"],
        "controller=north-1": ["grid", "pump"],
        "organisation=main": ["grid", "pump"],
        "organisation=empty": [],
        f"group={group}": ["pump"],
        "site=north&role=water": ["pump"],
    }.items():
        assert [meter["slug"] for meter in api.get(f"meters?{query}")["items"]] == found, query


def test_a_point_gets_a_label_of_its_own(api: ApiClient, session: Session) -> None:
    meter = api.done("POST", "meters", meter_body())["id"]
    point = add_point(session, session.get_one(Meter, meter))
    session.commit()
    assert edit(api, f"points/{point.id}", {"label": "Phase 1"})["label"] == "Phase 1"
    assert api.get(f"points/{point.id}")["name"] == "active_power_total"
    assert deeds(session)[-1] == "point_changed"
