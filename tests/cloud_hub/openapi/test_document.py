"""The API's document is valid, whole and true to the routes; people can read it too."""

import json

import pytest
from flask import Flask
from flask.testing import FlaskClient
from openapi_spec_validator import validate

from cloud_hub.openapi.api import document_of
from cloud_hub.web.operations import operations_of
from cloud_hub.web.problems import PROBLEM_TYPES
from cloud_hub.web.security import trust_proxies


def test_the_document_is_valid_openapi(stranger: FlaskClient) -> None:
    document = stranger.get("/api/v1/openapi.json").get_json()
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_every_route_of_the_api_is_in_it_and_nothing_else(app: Flask) -> None:
    ours = {rule.endpoint for rule in app.url_map.iter_rules() if rule.rule.startswith(("/api/v1/", "/.well-known/"))}
    pages = {one.endpoint for one in operations_of(app).values() if one.is_page}
    described = {
        operation["operationId"] for methods in document_of(app)["paths"].values() for operation in methods.values()
    }
    assert described == {endpoint.replace(".", "_") for endpoint in ours - pages}


def test_every_route_says_what_it_does_and_what_it_takes(app: Flask) -> None:
    for methods in document_of(app)["paths"].values():
        for operation in methods.values():
            assert operation["summary"]
            assert operation["x-permission"]


def test_what_is_read_has_a_shape(app: Flask) -> None:
    bare = [
        one.rule
        for one in operations_of(app).values()
        if one.method == "GET" and not one.is_page and one.answer is None and one.media == ("application/json",)
    ]
    assert bare == []


def test_the_page_shows_every_operation(stranger: FlaskClient, app: Flask) -> None:
    page = stranger.get("/api/v1/docs").text
    for methods in document_of(app)["paths"].values():
        for operation in methods.values():
            assert f'id="{operation["operationId"]}"' in page


def test_the_type_of_a_problem_leads_to_what_it_means(stranger: FlaskClient) -> None:
    problem = stranger.get("/api/v1/sites").get_json()
    assert problem["type"] == "/api/v1/problems#unauthorized"
    page = stranger.get("/api/v1/problems").text
    assert 'id="unauthorized"' in page
    assert PROBLEM_TYPES["unauthorized"].meaning in page


def test_a_refusal_names_the_request_and_every_place_at_fault(client: FlaskClient, app: Flask) -> None:
    trust_proxies(app, 1)
    answer = client.get("/api/v1/sites?limit=none&nonsense=1", headers={"X-Request-Id": "my-request-1"})
    assert answer.status_code == 422
    assert answer.headers["X-Request-Id"] == "my-request-1"
    assert answer.get_json()["request_id"] == "my-request-1"
    assert {error["pointer"] for error in answer.get_json()["errors"]} == {"/limit", "/nonsense"}


def test_nobody_but_a_trusted_proxy_names_requests(stranger: FlaskClient) -> None:
    assert stranger.get("/login", headers={"X-Request-Id": "my-request-1"}).headers["X-Request-Id"] != "my-request-1"


@pytest.mark.parametrize("given", ["x", "has blanks in it", "x" * 65, "<script>"])
def test_a_name_for_a_request_that_is_none_is_replaced(stranger: FlaskClient, app: Flask, given: str) -> None:
    trust_proxies(app, 1)
    answer = stranger.get("/login", headers={"X-Request-Id": given})
    assert answer.headers["X-Request-Id"] != given
    assert len(answer.headers["X-Request-Id"]) == 16


def test_the_command_prints_the_document_without_a_database(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from cloud_hub.cli import main  # noqa: PLC0415 - loads no more than it needs

    monkeypatch.setenv("METERHAUL_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    assert main(["openapi"]) == 0
    assert json.loads(capsys.readouterr().out)["openapi"].startswith("3.1")
