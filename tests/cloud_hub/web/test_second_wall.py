"""Where the database lets everybody see everything, a request still finds nothing that is another organisation's."""

import re
from typing import Any

import pytest
from browsing import form_token, log_in
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from two_organisations import DAY, Owner, add_owner, add_person

from cloud_hub.app import create_app
from cloud_hub.web.operations import Operation, operations_of
from cloud_hub.web.ranges import DayRange

TAGS = {"Readings", "Delivery", "Ledger", "Tariffs", "Analysis", "Export"}
INSTANTS = {"from": "2026-01-31T00:00:00Z", "to": "2026-02-01T00:00:00Z"}
DAYS = {"from": "2026-01-31", "to": "2026-02-01"}


@pytest.fixture
def west(session: Session) -> Owner:
    """Add the organisation of the one who asks."""
    owner = add_owner(session, "western")
    add_person(session, owner)
    session.commit()
    return owner


@pytest.fixture
def east(session: Session) -> Owner:
    """Add an organisation that they must not see."""
    owner = add_owner(session, "eastern")
    session.commit()
    return owner


@pytest.fixture
def open_app(engine: Engine) -> Flask:
    """Build the application as one whom no row-level security holds back."""
    return create_app(b"k" * 32, engine)


@pytest.fixture
def asking(open_app: Flask, west: Owner, east: Owner) -> FlaskClient:  # noqa: ARG001 - both are there
    """Log in as a person of the first."""
    client = open_app.test_client()
    assert log_in(client).status_code == 303
    return client


def reads(app: Flask) -> list[Operation]:
    """List all routes of these slices that read."""
    return [each for each in operations_of(app).values() if each.tag in TAGS and each.method == "GET"]


def address(operation: Operation, owner: Owner) -> str:
    path = operation.rule
    for placeholder, kind in operation.names.items():
        for form in (f"<id:{placeholder}>", f"<{placeholder}>"):
            path = path.replace(form, str(owner.names[kind]))
    assert "<" not in path
    return path


def arguments(operation: Operation) -> dict[str, Any]:
    if operation.query is None:
        return {}
    fields = {field.alias or name for name, field in operation.query.model_fields.items()}
    ranged = DAYS if issubclass(operation.query, DayRange) or "totals" in operation.rule else INSTANTS
    wanted = {name: value for name, value in ranged.items() if name in fields}
    return wanted | ({"at": INSTANTS["from"]} if "at" in fields else {})


def test_every_route_reads_what_is_ones_own_and_nothing_else(
    asking: FlaskClient, open_app: Flask, west: Owner, east: Owner
) -> None:
    shown, seen = set(), 0
    for operation in reads(open_app):
        answer = asking.get(address(operation, west), query_string=arguments(operation), buffered=True)
        assert answer.status_code == 200, (operation.rule, answer.text)
        assert east.mark not in answer.text, operation.rule
        seen += 1
        if west.mark in answer.text:
            shown.add(operation.rule.removeprefix("/api/v1"))
    assert seen >= 45
    # Of the lists that are about no one thing, each has shown what there is to be seen.
    assert shown >= {
        "/controllers",
        "/streams",
        "/suspects",
        "/tariffs",
        "/price-series",
        "/emission-series",
        "/export/readings",
        "/export/intervals",
        "/export/totals",
    }


def test_what_is_anothers_is_not_found_by_its_name(asking: FlaskClient, open_app: Flask, east: Owner) -> None:
    for operation in reads(open_app):
        if operation.names:
            answer = asking.get(address(operation, east), query_string=arguments(operation), buffered=True)
            assert answer.status_code == 404, (operation.rule, answer.text)
            assert east.names["site"] == "eastern:north"


FILTERS = (
    "controllers?site=site",
    "controllers?organisation=organisation",
    "streams?controller=controller",
    "streams?site=site",
    "suspects?meter=meter",
    "suspects?organisation=organisation",
    "tariffs?organisation=organisation",
    "export/readings?organisation=organisation",
    "export/intervals?site=site",
    "export/totals?meter=meter",
    "export/readings?point=point",
    "sites/north/emissions?series=emission_series",
)


def test_a_filter_that_names_what_is_anothers_finds_nothing(asking: FlaskClient, west: Owner, east: Owner) -> None:
    for filtered in FILTERS:
        path, name, kind = re.split(r"[?=]", filtered)
        days = DAYS if path.startswith(("export", "sites")) else {}
        own = asking.get(f"/api/v1/{path}", query_string=days | {name: west.names[kind]}, buffered=True)
        assert own.status_code == 200, (filtered, own.text)
        foreign = asking.get(f"/api/v1/{path}", query_string=days | {name: east.names[kind]})
        assert foreign.status_code == 404, filtered


def test_a_slug_that_both_have_means_ones_own(asking: FlaskClient, west: Owner) -> None:
    answer = asking.get("/api/v1/sites/north/latest")
    assert [item["meter_id"] for item in answer.json["items"]] == [west.names["meter"]]  # type: ignore[index]  # 200 has a body
    assert str(DAY) in asking.get("/api/v1/export/readings", query_string=DAYS | {"site": "north"}, buffered=True).text


def test_nobody_assigns_or_adds_to_what_is_anothers(asking: FlaskClient, west: Owner, east: Owner) -> None:
    headers = {"X-CSRF-Token": form_token(asking)}
    at = {"valid_from": "2026-03-01T00:00:00Z"}
    foreign = {"tariff_id": east.names["tariff"]} | at
    assert asking.post("/api/v1/sites/north/tariffs", json=foreign, headers=headers).status_code == 404
    own = {"tariff_id": west.names["tariff"]} | at
    assert asking.post("/api/v1/sites/north/tariffs", json=own, headers=headers).status_code == 201
    made = {"slug": "x", "name": "X", "currency": "GBP", "organisation": east.mark}
    assert asking.post("/api/v1/tariffs", json=made, headers=headers).status_code == 404
    series = {"kind": "series", "name": "Energy", "series": east.mark}
    version = at | {"tariff": {"currency": "GBP", "components": [series]}}
    answer = asking.post(f"/api/v1/tariffs/{west.names['tariff']}/versions", json=version, headers=headers)
    assert answer.status_code == 422
    assert "there is no price series 'eastern'" in answer.text
