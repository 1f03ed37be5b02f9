from importlib.resources import files
from typing import Any

import pytest
from browsing import EMAIL, form_token
from flask import Flask, url_for
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session

from cloud_hub.access.guard import PUBLIC
from cloud_hub.app import create_app
from cloud_hub.db import create_engine
from cloud_hub.web.operations import operations_of


@pytest.mark.parametrize("path", ["/api/v1/sites", "/api/v1/points/1/series", "/api/v1/meters/1/latest?fields=x"])
def test_the_api_tells_strangers_to_log_in(stranger: FlaskClient, path: str) -> None:
    answer = stranger.get(path)
    assert answer.status_code == 401
    assert answer.content_type == "application/problem+json"
    said = {"type": "/api/v1/problems#unauthorized", "title": "Unauthorized", "status": 401, "detail": "Log in first."}
    assert answer.json is not None
    assert said.items() <= answer.json.items()


def test_every_route_but_the_public_ones_needs_a_login(app: Flask, stranger: FlaskClient) -> None:
    # Of routes that are operations, the permission says it; these are not, and serve whoever asks.
    public = {"static", "health.live", "health.ready"}
    operations = operations_of(app)
    guarded = 0
    for rule in app.url_map.iter_rules():
        operation = operations.get(rule.endpoint)
        is_public = rule.endpoint in public if operation is None else operation.permission == PUBLIC
        if "GET" not in (rule.methods or set()) or is_public:
            continue
        guarded += 1
        with app.test_request_context():
            values: dict[str, Any] = dict.fromkeys(rule.arguments, 1)
            path = url_for(rule.endpoint, **values)
        assert stranger.get(path).status_code in {302, 401}, path
    assert guarded > 50


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/nothing", 404),
        ("/api/v1/sites/nowhere", 404),
        ("/api/v1/meters/1", 404),
        ("/api/v1/meters/99999999999999999999", 404),
        ("/api/v1/meters/0", 404),
        ("/api/v1/sites?cursor=!", 422),
        ("/api/v1/meters?limit=0", 422),
        ("/api/v1/sites/a%00b", 400),
        ("/api/v1/meters?site=%00", 400),
    ],
)
def test_what_goes_wrong_under_api_is_a_problem(client: FlaskClient, path: str, status: int) -> None:
    answer = client.get(path)
    assert answer.content_type == "application/problem+json"
    assert answer.json is not None
    assert (answer.status_code, answer.json["status"]) == (status, status)
    assert answer.json["detail"]


def test_a_wrong_method_names_the_right_ones(client: FlaskClient) -> None:
    answer = client.delete("/api/v1/sites", headers={"X-CSRF-Token": form_token(client)})
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize("path", ["/nothing", "/meters/7"])
def test_what_goes_wrong_elsewhere_is_a_page(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.content_type.startswith("text/html")
    assert "Not Found" in answer.text


def test_pages_allow_nothing_from_elsewhere_and_are_not_kept(client: FlaskClient) -> None:
    answer = client.get("/")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'self';")
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "<script>" not in answer.text
    assert "style=" not in answer.text


def test_texts_say_in_which_charset_they_are(client: FlaskClient) -> None:
    paths = ["/", "/login", "/account", "/nothing", "/api/v1/docs", "/api/v1/sites", "/static/meterhaul.css"]
    paths += [f"/static/{file.name}" for file in (files("cloud_hub") / "static").iterdir() if "." in file.name]
    for path in paths:
        with client.get(path) as answer:
            kind = answer.headers["Content-Type"]
        is_text = kind.startswith("text/") or "+xml" in kind
        assert kind.endswith("; charset=utf-8") or not is_text, (path, kind)
        assert is_text or kind == "application/json" or kind.startswith(("image/", "font/")), (path, kind)


def test_every_page_behind_the_login_has_the_way_out(client: FlaskClient, app: Flask) -> None:
    pages = [
        operation.rule
        for operation in operations_of(app).values()
        if operation.is_page and operation.method == "GET" and operation.permission != PUBLIC
    ]
    plain = [rule for rule in pages if "<" not in rule]
    assert len(plain) > 2
    for path in plain:
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert 'action="/logout"' in answer.text, path
    # Those that show one thing are made of the same frame.
    for page in (files("cloud_hub") / "templates").rglob("*.html"):  # type: ignore[attr-defined]  # it is a Path
        if not page.name.startswith("_") and page.name != "base.html":
            assert page.read_text().startswith('{% extends "base.html" %}'), page.name


def test_what_a_person_typed_comes_back_as_text(stranger: FlaskClient) -> None:
    token = form_token(stranger)
    form = {"email": '"><script>x</script>', "password": "p", "next": '"><b>', "csrf_token": token}
    answer = stranger.post("/login", data=form)
    assert "<script>x" not in answer.text
    assert "<b>" not in answer.text


def test_health_needs_no_login(stranger: FlaskClient) -> None:
    assert stranger.get("/health/live").json == {"status": "live"}
    assert stranger.get("/health/ready").json == {"status": "ready"}


def test_an_unmigrated_database_is_not_ready_and_says_the_remedy(stranger: FlaskClient, session: Session) -> None:
    session.execute(text("DROP TABLE alembic_version"))
    session.commit()
    answer = stranger.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json is not None
    assert "run 'meterhaul hub init'" in answer.json["reason"]


def test_without_a_database_pages_and_api_say_so_and_the_process_lives() -> None:
    engine = create_engine("postgresql://nobody:secret@127.0.0.1:1/nothing")
    client = create_app(b"k" * 32, engine).test_client()
    with client.session_transaction() as cookie:
        cookie["login"] = "x"
    assert client.get("/health/live").status_code == 200
    ready = client.get("/health/ready")
    assert ready.status_code == 503
    assert "secret" not in ready.text
    for path in ("/", "/api/v1/sites"):
        answer = client.get(path)
        assert answer.status_code == 503
        assert "database does not answer" in answer.text
        assert answer.headers["Retry-After"]


def test_an_unforeseen_error_is_answered_without_its_inside(client: FlaskClient, session: Session) -> None:
    session.execute(text("DROP TABLE points CASCADE"))
    session.execute(text("INSERT INTO sites (slug, name) VALUES ('north', 'North')"))
    session.commit()
    answer = client.get("/")
    assert answer.status_code == 500
    assert "points" not in answer.text
    assert EMAIL not in client.get("/api/v1/nothing").text
