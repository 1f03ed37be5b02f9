"""Bodies that nobody sends by mistake, and some that many do: each is refused in one sentence, none is at fault for us."""

import json

import pytest
from browsing import form_token
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from cloud_hub.app import REQUEST_BYTES_MAX
from cloud_hub.web.documents import DEPTH_MAX, ERRORS_MAX


@pytest.fixture
def headers(client: FlaskClient) -> dict[str, str]:
    return {"X-CSRF-Token": form_token(client)}


def send(client: FlaskClient, headers: dict[str, str], body: bytes, kind: str = "application/json") -> TestResponse:
    return client.post("/api/v1/tariffs", data=body, content_type=kind, headers=headers)


def nested(depth: int) -> bytes:
    return b'{"slug":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "is no JSON"),
        (b"{", "is no JSON"),
        (b"[]", "its keys are slug, name, currency, organisation"),
        (b'"text"', "its keys are slug, name, currency, organisation"),
        (b"null", "its keys are slug, name, currency, organisation"),
        (b"\xff\xfe", "is no JSON"),
        (b'{"slug": NaN}', "NaN is no number"),
        (b'{"slug": "a\\u0000b"}', "it holds a NUL character"),
        (b'{"slug": "\\ud800"}', "is no JSON"),
        (nested(DEPTH_MAX + 1), f"more than {DEPTH_MAX} deep"),
        (nested(100_000), "is no JSON"),
        (b'{"slug": 1' + b"0" * 5_000 + b"}", "is no JSON"),
        (b'{"slug": "day", "name": "Day", "currency": "EUR", "is_admin": true}', "is_admin: is not a key"),
        (b'{"slug": 7, "name": "Day", "currency": "EUR"}', "slug: "),
        (b'{"slug": "day", "currency": "EUR"}', "name: is missing"),
    ],
    ids=lambda value: value[:40].decode("latin-1") if isinstance(value, bytes) else None,
)
def test_a_body_that_makes_no_sense_is_told_why(
    client: FlaskClient, headers: dict[str, str], body: bytes, said: str
) -> None:
    answer = send(client, headers, body)
    assert answer.status_code == 422, answer.text
    assert answer.content_type == "application/problem+json"
    assert said in answer.get_json()["detail"]


def test_as_deep_as_is_allowed_is_read(client: FlaskClient, headers: dict[str, str]) -> None:
    assert "deep" not in send(client, headers, nested(DEPTH_MAX)).get_json()["detail"]


def test_a_body_above_the_limit_is_refused_unread(client: FlaskClient, headers: dict[str, str]) -> None:
    answer = send(client, headers, json.dumps({"slug": "x" * REQUEST_BYTES_MAX}).encode())
    assert answer.status_code == 413
    assert answer.get_json()["type"].endswith("#too-large")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_body_that_is_not_said_to_be_json_is_refused(client: FlaskClient, headers: dict[str, str], kind: str) -> None:
    answer = send(client, headers, b'{"slug": "day", "name": "Day", "currency": "EUR"}', kind)
    assert answer.status_code == 415
    assert "Content-Type: application/json" in answer.get_json()["detail"]


def test_no_more_places_at_fault_are_named_than_somebody_reads(client: FlaskClient, headers: dict[str, str]) -> None:
    answer = send(client, headers, json.dumps({f"key-{number}": 1 for number in range(500)}).encode())
    assert len(answer.get_json()["errors"]) == ERRORS_MAX


@pytest.mark.parametrize("cursor", ["%%%", "bm90IGEgbnVtYmVy", "x" * 501, "AA", "4pi6"])
@pytest.mark.parametrize("path", ["sites", "meters", "organisations", "tariffs", "organisations/main/audit"])
def test_a_broken_cursor_is_said_to_be_one(client: FlaskClient, path: str, cursor: str) -> None:
    answer = client.get(f"/api/v1/{path}", query_string={"cursor": cursor})
    assert answer.status_code in {200, 422}, answer.text
    if answer.status_code == 422:
        assert "cursor" in answer.get_json()["detail"]


@pytest.mark.parametrize("name", ["limit", "cursor"])
def test_a_parameter_comes_once(client: FlaskClient, name: str) -> None:
    answer = client.get(f"/api/v1/sites?{name}=1&{name}=2")
    assert answer.status_code == 422
    assert f"{name} is there 2 times" in answer.get_json()["detail"]
