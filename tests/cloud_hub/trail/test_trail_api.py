"""Who may read the audit trail reads it by filters, newest first; what was denied stands in it too."""

from datetime import UTC, datetime, timedelta
from typing import Any

from browsing import EMAIL, form_token
from flask.testing import FlaskClient
from sqlalchemy import Engine, text

from cloud_hub.web.security import trust_proxies

TRAIL = "/api/v1/organisations/main/audit"


def add_tariff(client: FlaskClient, slug: str) -> None:
    trust_proxies(client.application, 1)
    body = {"slug": slug, "name": slug, "currency": "EUR"}
    headers = {"X-CSRF-Token": form_token(client), "X-Request-Id": f"request-{slug}"}
    answer = client.post("/api/v1/tariffs", json=body, headers=headers)
    assert answer.status_code == 201, answer.text


def read(client: FlaskClient, **query: str) -> list[dict[str, Any]]:
    answer = client.get(TRAIL, query_string=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.get_json()["items"]
    return items


def test_a_deed_says_who_did_what_from_where_in_which_request(client: FlaskClient) -> None:
    add_tariff(client, "day")
    (event,) = read(client, action="tariff_created")
    assert event["who"] == EMAIL
    assert event["address"] == "127.0.0.1"
    assert event["request_id"] == "request-day"
    assert len(event["hash"]) == 64


def test_it_is_read_in_parts_newest_first(client: FlaskClient) -> None:
    for slug in ("day", "night", "peak"):
        add_tariff(client, slug)
    first = client.get(TRAIL, query_string={"action": "tariff_created", "limit": 2}).get_json()
    assert [event["request_id"] for event in first["items"]] == ["request-peak", "request-night"]
    rest = client.get(
        TRAIL, query_string={"action": "tariff_created", "limit": 2, "cursor": first["next_cursor"]}
    ).get_json()
    assert [event["request_id"] for event in rest["items"]] == ["request-day"]
    assert rest["next_cursor"] is None


def test_filters_narrow_it(client: FlaskClient) -> None:
    add_tariff(client, "day")
    now = datetime.now(UTC)
    assert read(client, action="tariff_created", who=EMAIL)
    assert read(client, action="tariff_created", who="bob@example.org") == []
    (event,) = read(client, action="tariff_created")
    assert read(client, subject=event["subject"], **{"from": (now - timedelta(hours=1)).isoformat()})
    assert read(client, to=(now - timedelta(hours=1)).isoformat()) == []


def test_an_attempt_that_was_denied_stands_in_the_trail_with_its_reason(client: FlaskClient, engine: Engine) -> None:
    assert client.get("/api/v1/meters/4711").status_code == 404
    (missing,) = read(client, action="denied")
    assert missing["subject"] == "GET /api/v1/meters/4711"
    assert missing["detail"] == {"permission": "sites.read", "reason": "there is no meter 4711"}
    with engine.begin() as connection:
        connection.execute(text("UPDATE memberships SET role = 'viewer'"))
    assert client.get(TRAIL).status_code == 403
    with engine.connect() as connection:
        detail = connection.execute(text("SELECT detail FROM audit_events ORDER BY id DESC LIMIT 1")).scalar_one()
    assert detail == {"permission": "audit.read", "reason": "you may not do this: it takes the permission audit.read"}
