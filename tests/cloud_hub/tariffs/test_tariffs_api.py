"""Tariffs, hours, prices and factors over HTTP."""

from collections.abc import Callable
from typing import Any

import pytest
from browsing import counted_queries, form_token
from flask.testing import FlaskClient
from hub_factories import add_site
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from cloud_hub.audit.models import AuditEvent

Send = Callable[[str, str, object], TestResponse]

TARIFF = {"slug": "shop", "name": "Shop", "currency": "GBP"}
DOCUMENT = {
    "currency": "GBP",
    "components": [
        {"kind": "flat", "name": "Energy", "price_per_kwh": "0.2845"},
        {"kind": "standing", "name": "Standing", "price_per_day": 0.61},
    ],
}
VERSION = {"valid_from": "2026-01-01T00:00:00Z", "tariff": DOCUMENT, "why": "new year"}
HOURS = {"weekly": {"monday": ["08:00-18:00"]}, "holidays": {"country": "GB"}}
PRICES = {"from": "2026-01-01T00:00:00+01:00", "step_s": 1800, "values": [0.1, None, "-0.05"]}


@pytest.fixture
def send(client: FlaskClient) -> Send:
    """Send a body as JSON, in the name of the one who has logged in."""
    token = form_token(client)

    def send(method: str, path: str, body: object) -> TestResponse:
        return client.open(f"/api/v1/{path}", method=method, json=body, headers={"X-CSRF-Token": token})

    return send


@pytest.fixture
def first_of_all(session: Session, send: Send) -> None:
    """Make the site `north`, the tariff 1 and the price series 1."""
    add_site(session)
    session.commit()
    assert made(send("POST", "tariffs", TARIFF | {"slug": "first"}))["id"] == 1
    assert made(send("POST", "price-series", {"slug": "spot", "name": "Spot", "currency": "GBP"}))["id"] == 1


def get(client: FlaskClient, path: str) -> Any:
    answer = client.get(f"/api/v1/{path}")
    assert answer.status_code == 200, answer.text
    return answer.json


def made(answer: TestResponse) -> Any:
    assert answer.status_code in {200, 201}, answer.text
    return answer.json


def problem(answer: TestResponse) -> tuple[int, str]:
    assert answer.content_type == "application/problem+json"
    said: Any = answer.json
    return answer.status_code, said["detail"]


def tariff_of(shown: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in shown.items() if name != "versions"}


def test_a_tariff_is_made_given_a_version_and_assigned(client: FlaskClient, send: Send, session: Session) -> None:
    add_site(session)
    session.commit()
    tariff = made(send("POST", "tariffs", TARIFF))
    version = made(send("POST", f"tariffs/{tariff['id']}/versions", VERSION))
    assignment = {"tariff_id": tariff["id"], "valid_from": "2026-02-01T00:00:00Z"}
    assigned = made(send("POST", "sites/north/tariffs", assignment))
    assert assigned["recorded_by"] == "ann@example.org"
    shown = get(client, f"tariffs/{tariff['id']}")
    assert [each["id"] for each in shown["versions"]] == [version["id"]]
    # A number in JSON is the decimal that was written.
    assert [each.get("price_per_day") for each in shown["versions"][0]["tariff"]["components"]] == [None, "0.61"]
    assert get(client, "sites/north/tariffs") == {"items": [assigned]}
    assert [each["slug"] for each in get(client, "tariffs")["items"]] == ["shop"]
    actions = session.scalars(select(AuditEvent.action).order_by(AuditEvent.id)).all()
    assert actions == ["tariff_created", "tariff_version_added", "tariff_assigned"]


def test_versions_and_assignments_are_taken_back(client: FlaskClient, send: Send, session: Session) -> None:
    add_site(session)
    session.commit()
    tariff = made(send("POST", "tariffs", TARIFF))
    version = made(send("POST", f"tariffs/{tariff['id']}/versions", VERSION))
    assigned = made(send("POST", "sites/north/tariffs", {"tariff_id": None, "valid_from": "2026-02-01T00:00:00Z"}))
    assert send("DELETE", f"tariffs/{tariff['id']}/versions/{version['id']}", None).status_code == 204
    assert send("DELETE", f"sites/north/tariffs/{assigned['id']}", None).status_code == 204
    assert get(client, f"tariffs/{tariff['id']}")["versions"] == []
    assert get(client, "sites/north/tariffs") == {"items": []}
    assert problem(send("DELETE", f"sites/north/tariffs/{assigned['id']}", None))[0] == 404


def test_operating_hours_are_put_and_come_back(client: FlaskClient, send: Send, session: Session) -> None:
    add_site(session)
    session.commit()
    made(send("PUT", "sites/north/operating-hours", {"first_day": "2026-03-01", "hours": HOURS}))
    made(send("PUT", "sites/north/operating-hours", {"hours": {}}))
    items = get(client, "sites/north/operating-hours")["items"]
    assert [(each["first_day"], each["hours"]) for each in items] == [(None, {}), ("2026-03-01", HOURS)]


def test_prices_go_in_as_a_column_and_come_out_with_their_ends(client: FlaskClient, send: Send) -> None:
    series = made(send("POST", "price-series", {"slug": "spot", "name": "Spot", "currency": "GBP"}))
    path = f"price-series/{series['id']}/prices"
    assert made(send("PUT", path, PRICES)) == {
        "stored": 2,
        "from": "2025-12-31T23:00:00Z",
        "to": "2026-01-01T00:30:00Z",
    }
    assert get(client, f"{path}?from=2025-12-01T00:00:00Z&to=2026-02-01T00:00:00Z")["items"] == [
        {"from": "2025-12-31T23:00:00Z", "until": "2025-12-31T23:30:00Z", "value": "0.1"},
        {"from": "2026-01-01T00:00:00Z", "until": "2026-01-01T00:30:00Z", "value": "-0.05"},
    ]
    assert [each["slug"] for each in get(client, "price-series")["items"]] == ["spot"]


def test_factors_go_in_by_their_ends(client: FlaskClient, send: Send) -> None:
    body = {"slug": "gb", "name": "GB", "region": "GB", "publisher": "NESO", "basis": "location", "kind": "marginal"}
    series = made(send("POST", "emission-series", body))
    assert {"life_cycle": False, "year": None, "kind": "marginal"}.items() <= series.items()
    span = {"from": "2026-01-01T00:00:00Z", "until": "2027-01-01T00:00:00Z", "value": "177.5"}
    path = f"emission-series/{series['id']}/factors"
    assert made(send("PUT", path, {"spans": [span]}))["stored"] == 1
    assert get(client, f"{path}?from=2026-05-01T00:00:00Z&to=2026-06-01T00:00:00Z") == {"items": [span]}
    assert get(client, "emission-series")["items"] == [series]


SLIPS: tuple[tuple[str, object, int, str], ...] = (
    ("POST tariffs", TARIFF | {"slug": "Shop!"}, 422, "the request's body: slug: "),
    ("POST tariffs", TARIFF | {"name": "a\0b"}, 422, "it holds a NUL character"),
    ("POST tariffs", TARIFF | {"organisation": "nobody"}, 404, "there is no organisation 'nobody'"),
    ("POST tariffs", [], 422, "the request's body: "),
    ("POST tariffs/77/versions", VERSION, 404, "there is no tariff 77"),
    ("POST tariffs/1/versions", VERSION | {"valid_from": "2026-01-01T00:00:00"}, 422, "valid_from: "),
    ("POST tariffs/1/versions", VERSION | {"valid_from": 1_767_225_600}, 422, "valid_from: is no instant"),
    ("POST tariffs/1/versions", VERSION | {"valid_form": 1}, 422, "valid_form: is not a key"),
    ("POST tariffs/1/versions", VERSION | {"tariff": DOCUMENT | {"currency": "EUR"}}, 422, "is in GBP"),
    (
        "POST sites/west/tariffs",
        {"tariff_id": None, "valid_from": "2026-01-01T00:00:00Z"},
        404,
        "no site 'west'",
    ),
    (
        "POST sites/north/tariffs",
        {"tariff_id": 77, "valid_from": "2026-01-01T00:00:00Z"},
        404,
        "there is no tariff 77",
    ),
    ("PUT sites/west/operating-hours", {"hours": {}}, 404, "no site 'west'"),
    ("PUT sites/north/operating-hours", {"hours": {"weekly": {"monday": ["9-5"]}}}, 422, "'9' is no time"),
    ("PUT sites/north/operating-hours", {"hours": {}, "first_day": "0001-01-01"}, 422, "no ledger reaches"),
    ("PUT price-series/1/prices", {"values": ["1"]}, 422, "values need from"),
    (
        "POST tariffs/1/versions",
        VERSION | {"valid_from": "0001-01-01T00:00:00+14:00"},
        422,
        "lies outside the years 1970 to 2299",
    ),
    ("PUT price-series/1/prices", PRICES | {"from": "2299-12-31T23:00:00Z"}, 422, "go on beyond the year 2299"),
    ("PUT price-series/1/prices", {}, 422, "send either values with from and step_s, or spans"),
    ("PUT price-series/77/prices", PRICES, 404, "there is no price series 77"),
    ("POST emission-series", {"slug": "x", "basis": "guess"}, 422, "name: is missing"),
)


@pytest.mark.usefixtures("first_of_all")
def test_a_slip_is_named_in_one_sentence(send: Send) -> None:
    for address, body, status, said in SLIPS:
        method, path = address.split()
        found, detail = problem(send(method, path, body))
        assert found == status, (address, detail)
        assert said in detail, address
        assert "\n" not in detail, address


def test_a_list_is_narrowed_by_what_is_said_of_it(client: FlaskClient, send: Send) -> None:
    for slug, currency in (("shop", "GBP"), ("barn", "EUR"), ("mill", "EUR")):
        made(send("POST", "tariffs", {"slug": slug, "name": slug, "currency": currency}))
    assert [each["slug"] for each in get(client, "tariffs?currency=EUR")["items"]] == ["barn", "mill"]
    assert [each["slug"] for each in get(client, "tariffs?slug=shop&organisation=main")["items"]] == ["shop"]
    first = get(client, "tariffs?limit=2")
    rest = get(client, f"tariffs?limit=2&cursor={first['next_cursor']}")
    assert [[each["slug"] for each in part["items"]] for part in (first, rest)] == [["shop", "barn"], ["mill"]]
    assert {each["organisation"] for each in first["items"]} == {"main"}


def test_lists_ask_as_many_queries_for_many(client: FlaskClient, send: Send, web_engine: Engine) -> None:
    factors = {"name": "GB", "region": "GB", "publisher": "NESO", "basis": "location"}
    bodies = {"tariffs": TARIFF, "price-series": TARIFF, "emission-series": factors}
    for path, body in bodies.items():
        made(send("POST", path, body | {"slug": "first"}))
        with counted_queries(web_engine) as few:
            assert len(get(client, path)["items"]) == 1
        for number in range(3):
            made(send("POST", path, body | {"slug": f"more-{number}"}))
        with counted_queries(web_engine) as many:
            assert len(get(client, path)["items"]) == 4
        assert len(many) == len(few), path


def test_a_tariff_of_the_organisation_above_is_seen_and_not_changed(
    client: FlaskClient, send: Send, session: Session
) -> None:
    tariff = made(send("POST", "tariffs", TARIFF))
    session.execute(text("INSERT INTO organisations (slug, name, parent_id) VALUES ('below', 'Below', 1)"))
    session.execute(
        text("UPDATE memberships SET organisation_id = (SELECT id FROM organisations WHERE slug = 'below')")
    )
    session.commit()
    assert get(client, "tariffs")["items"] == [{**tariff_of(tariff), "organisation": None}]
    assert problem(send("POST", f"tariffs/{tariff['id']}/versions", VERSION))[0] == 403
    assert made(send("POST", "tariffs", TARIFF))["organisation"] == "below"


def test_a_body_that_is_no_json_is_refused(client: FlaskClient, send: Send) -> None:
    made(send("POST", "tariffs", TARIFF))
    with client.session_transaction() as cookie:
        token = cookie["csrf"]
    for body in (b"", b"{", b'{"a": NaN}', b'"\\ud800"', b"\xff", b"[" * 100_000):
        sent = {"data": body, "content_type": "application/json", "headers": {"X-CSRF-Token": token}}
        status, detail = problem(client.post("/api/v1/tariffs", **sent))
        assert status == 422, body[:10]
        assert detail.startswith("the request's body is no JSON ("), body[:10]


def test_nobody_writes_without_login_or_token(client: FlaskClient, stranger: FlaskClient) -> None:
    assert client.post("/api/v1/tariffs", json=TARIFF).status_code == 400
    assert stranger.post("/api/v1/tariffs", json=TARIFF).status_code == 401
    assert get(client, "tariffs") == {"items": [], "next_cursor": None}
