"""Controllers and their buses over HTTP."""

from datetime import date
from typing import Any

import pytest
from api_client import ApiClient
from factories import make_manifest
from flask import Flask
from flask.testing import FlaskClient
from hub_factories import add_controller, add_meter, add_organisation, add_point, add_site
from ledger_rows import add_day
from registry_factories import add_member, api_as, bus_body, deeds, edit, events, meter_body
from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.access.permissions import Role
from cloud_hub.ledger.models import Dirty
from cloud_hub.registry.buses import list_buses, read_line
from cloud_hub.registry.models import Controller, Meter
from cloud_hub.registry.service import register_manifest
from protocol.line_config import Parity, Transport

SERIAL = {"id": "rs485", "serial": {"device": "/dev/ttyUSB0", "baud": 19200, "parity": "E"}}


@pytest.fixture
def api(client: FlaskClient, session: Session) -> ApiClient:
    add_site(session)
    session.commit()
    return ApiClient(client)


def test_a_controller_is_registered_planned_and_its_first_report_puts_it_in_service(
    api: ApiClient, session: Session
) -> None:
    made = api.done("POST", "controllers", {"id": "north-1", "site": "north", "label": "Cellar"})
    assert made.pop("created_at").endswith("Z")
    assert made == {
        "id": "north-1",
        "site": "north",
        "organisation": "main",
        "label": "Cellar",
        "state": "planned",
    }
    register_manifest(session, "north-1", make_manifest((1,)).body)
    session.commit()
    assert api.get("controllers/north-1")["state"] == "in_service"
    steps = api.get("controllers/north-1/life-cycle")["items"]
    assert [(step["after"], step["recorded_by"]) for step in steps] == [
        ("planned", "ann@example.org"),
        ("commissioned", "controller:north-1"),
        ("in_service", "controller:north-1"),
    ]
    assert [kind for kind, _ in events(session)][:3] == [
        "controller.created",
        "controller.commissioned",
        "controller.in_service",
    ]


def test_an_id_is_unique_in_the_whole_hub_and_nobody_learns_whose_it_is(app: Flask, session: Session) -> None:
    mine, theirs = add_organisation(session, "mine"), add_organisation(session, "theirs")
    add_controller(session, add_site(session, organisation_id=theirs.id), "box-1")
    add_site(session, "hut", organisation_id=mine.id)
    add_member(session, mine, "mia@example.org", Role.TECHNICIAN)
    session.commit()
    api = api_as(app, "mia@example.org")
    assert api.refused("POST", "controllers", {"id": "box-1", "site": "hut"}) == (
        409,
        "id: there is a controller 'box-1' already: ids are unique in the whole hub, choose another one",
    )
    assert api.refused("GET", "controllers/box-1")[0] == 404
    assert api.refused("POST", "controllers", {"id": "box-2", "site": "north"})[0] == 404
    assert session.scalars(select(Controller.id)).all() == ["box-1"]


def test_what_a_controller_is_called_changes_under_its_etag(api: ApiClient, session: Session) -> None:
    add_controller(session, add_site(session, "south"), "south-1")
    session.commit()
    seen = api.etag("controllers/south-1")
    assert edit(api, "controllers/south-1", {"label": "Roof"})["label"] == "Roof"
    assert api.send("PATCH", "controllers/south-1", {"label": "Attic"}, match=seen).status_code == 412


def test_what_a_controller_last_said_of_itself(api: ApiClient, session: Session) -> None:
    add_controller(session, add_site(session, "south"), "south-1")
    session.commit()
    said = api.get("controllers/south-1/status")
    assert (said["presence"], said["agent_version"], said["health"]) == ("online", "0.1.0", None)


def test_a_controller_takes_its_meters_along_to_another_site(api: ApiClient, session: Session) -> None:
    old = add_site(session, "old", time_zone="Europe/Berlin")
    box = add_controller(session, old, "box-1")
    here, elsewhere = add_meter(session, box, "here"), add_meter(session, box, "elsewhere")
    elsewhere.site_id = add_site(session, "far").id
    add_day(session, add_point(session, here, kind="counter"), old, date(2026, 3, 2), 1_000_000)
    other = add_organisation(session, "other")
    add_site(session, "new", time_zone="Asia/Kathmandu", organisation_id=other.id)
    session.commit()
    assert api.done("POST", "controllers/box-1/move", {"site": "new"})["organisation"] == "other"
    assert api.get(f"meters/{here.id}")["site"] == "new"
    assert api.get(f"meters/{here.id}")["organisation"] == "other"
    assert api.get(f"meters/{elsewhere.id}")["site"] == "far"
    assert session.scalars(select(Dirty.meter_id)).all() == [here.id]
    assert deeds(session) == ["controller_moved", "controller_moved"]


def test_a_controller_does_not_tear_meters_from_those_upstream(api: ApiClient, session: Session) -> None:
    old = add_site(session, "old")
    above = add_meter(session, add_controller(session, old, "box-1"), "grid")
    below = add_meter(session, add_controller(session, old, "box-2"), "heater")
    below.parent_id = above.id
    session.commit()
    for box in ("box-1", "box-2"):
        status, reason = api.refused("POST", f"controllers/{box}/move", {"site": "north"})
        assert (status, f"meter {below.id} hangs below meter {above.id}" in reason) == (409, True)
    assert api.done("POST", "controllers/box-1/move", {"site": "north", "with_meters": False})["site"] == "north"
    session.expire_all()
    assert session.get_one(Meter, above.id).site_id == old.id


def test_a_bus_is_what_a_configuration_says_of_it(api: ApiClient, session: Session) -> None:
    api.done("POST", "controllers", {"id": "north-1", "site": "north"})
    made = api.done("POST", "controllers/north-1/buses", SERIAL)
    assert (made["controller"], made["id"], made["transport"], made["port"]) == ("north-1", "rs485", "rtu", None)
    assert made["serial"]["stop_bits"] == 1
    plain = api.done("POST", "controllers/north-1/buses", bus_body())
    assert (plain["transport"], plain["host"], plain["port"], plain["timeout_s"]) == ("tcp", "192.168.1.10", 502, 1.0)
    assert [bus["id"] for bus in api.get("controllers/north-1/buses")["items"]] == ["main-bus", "rs485"]
    lines = {bus.slug: read_line(bus) for bus in list_buses(session, "north-1")}
    assert lines["rs485"].serial is not None
    assert (lines["rs485"].serial.parity, lines["main-bus"].transport) == (Parity.EVEN, Transport.TCP)


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (bus_body(host="10.0.0.9"), 409, "has a bus 'main-bus' already"),
        (bus_body("twin"), 409, "the address 192.168.1.10:502 is that of bus 'main-bus' already"),
        ({"id": "b"}, 422, "transport 'tcp' needs a 'host'"),
        ({"id": "b", "transport": "rtu", "host": "h"}, 422, "transport 'rtu' needs a serial line"),
        ({"id": "b", "serial": {"device": "COM1"}}, 422, "serial: device: "),
        ({"id": "b", "host": "h", "baud": 9600}, 422, "baud: is not a key that belongs here"),
    ],
    ids=["name", "address", "no host", "no serial line", "device", "unknown key"],
)
def test_a_bus_that_cannot_be_is_refused(api: ApiClient, body: dict[str, Any], status: int, reason: str) -> None:
    api.done("POST", "controllers", {"id": "north-1", "site": "north"})
    api.done("POST", "controllers/north-1/buses", bus_body())
    said = api.refused("POST", "controllers/north-1/buses", body)
    assert (said[0], reason in said[1]) == (status, True), said[1]


def test_a_bus_is_described_anew_and_removed_when_no_meter_is_on_it(api: ApiClient, session: Session) -> None:
    api.done("POST", "controllers", {"id": "north-1", "site": "north"})
    path = f"buses/{api.done('POST', 'controllers/north-1/buses', bus_body())['bus_id']}"
    changed = api.done("PUT", path, bus_body(host="10.0.0.9", port=1502))
    assert (changed["host"], changed["port"]) == ("10.0.0.9", 1502)
    meter = api.done("POST", "meters", meter_body(bus="main-bus", unit_id=7))
    assert (meter["bus"], meter["unit_id"]) == ("main-bus", 7)
    assert api.refused("DELETE", path) == (409, "1 meters are on bus 'main-bus': put them on another bus first")
    edit(api, f"meters/{meter['id']}", {"bus": None})
    api.done("DELETE", path)
    assert api.refused("GET", path)[0] == 404
    assert [deed for deed in deeds(session) if deed.startswith("bus")] == ["bus_created", "bus_changed", "bus_removed"]


def test_an_installer_wires_a_site_and_no_other(app: Flask, session: Session) -> None:
    organisation = add_organisation(session, "mine")
    site, other = (add_site(session, slug, organisation_id=organisation.id) for slug in ("hut", "other"))
    add_controller(session, other, "other-1")
    add_member(session, organisation, "tim@example.org", Role.INSTALLER, sites=[site])
    session.commit()
    api = api_as(app, "tim@example.org")
    api.done("POST", "controllers", {"id": "box-1", "site": "hut"})
    api.done("POST", "controllers/box-1/buses", bus_body())
    meter = api.done("POST", "meters", meter_body(controller="box-1", bus="main-bus", unit_id=1))
    assert api.done("POST", f"meters/{meter['id']}/life-cycle", {"to": "commissioned"})["commissioned_at"] is not None
    assert api.refused("POST", "controllers/other-1/buses", bus_body())[0] == 404
    assert api.refused("POST", "controllers/box-1/move", {"site": "other"})[0] == 404
    assert api.refused("POST", "meters", meter_body("new", controller="box-1", site="other"))[0] == 404
