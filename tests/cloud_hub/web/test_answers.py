import pytest
from browsing import EMAIL, form_token
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session

from cloud_hub.app import create_app
from cloud_hub.db import create_engine


@pytest.mark.parametrize("path", ["/api/v1/sites", "/api/v1/points/1/series", "/api/v1/nothing"])
def test_the_api_tells_strangers_to_log_in(stranger: FlaskClient, path: str) -> None:
    answer = stranger.get(path)
    assert answer.status_code == 401
    assert answer.content_type == "application/problem+json"
    assert answer.json == {"type": "about:blank", "title": "Unauthorized", "status": 401, "detail": "Log in first."}


def test_every_route_but_the_listed_ones_needs_a_login(app: Flask, stranger: FlaskClient) -> None:
    public = {"/login", "/health/live", "/health/ready"}
    for rule in app.url_map.iter_rules():
        if "GET" in (rule.methods or set()) and rule.endpoint != "static" and rule.rule not in public:
            path = rule.rule.replace("<id:meter_id>", "1").replace("<id:point_id>", "1").replace("<slug>", "north")
            assert stranger.get(path).status_code in {302, 401}, path


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
        cookie["user"], cookie["proof"] = 1, "x"
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
