"""Pages of other origins use the API when they are on the list, by tokens; others do not."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from cloud_hub.app import create_app
from cloud_hub.db import create_engine
from cloud_hub.errors import SettingsError
from cloud_hub.settings import load_settings
from cloud_hub.web.cors import ORIGINS

_OURS = "https://app.example.org"
_DATABASE = {"METERHAUL_DATABASE_URL": "postgresql://hub@db.example/meterhaul"}


@pytest.fixture
def listed(app: Flask) -> FlaskClient:
    """Open a browser at a hub with one origin on its list."""
    app.config[ORIGINS] = frozenset({_OURS})
    return app.test_client()


def _preflight(client: FlaskClient, origin: str, path: str = "/api/v1/sites") -> dict[str, str]:
    asked = {"Origin": origin, "Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "if-match"}
    answer = client.options(path, headers=asked)
    return {"status": str(answer.status_code), **{name.lower(): value for name, value in answer.headers}}


def test_a_listed_origin_is_answered_before_it_logs_in() -> None:
    # Not even the database is asked: there is none here.
    app = create_app(b"k" * 32, create_engine("postgresql://nobody@127.0.0.1:1/nothing"))
    app.config[ORIGINS] = frozenset({_OURS})
    answer = _preflight(app.test_client(), _OURS)
    assert answer["status"] == "204"
    assert answer["access-control-allow-origin"] == _OURS
    assert "PATCH" in answer["access-control-allow-methods"]
    for header in ("Authorization", "If-Match", "Idempotency-Key"):
        assert header in answer["access-control-allow-headers"]
    assert "CSRF" not in answer["access-control-allow-headers"]
    assert answer["vary"] == "Origin"


def test_a_listed_origin_may_read_answers_and_refusals_but_never_by_cookie(listed: FlaskClient) -> None:
    answer = listed.get("/api/v1/sites", headers={"Origin": _OURS})
    assert answer.status_code == 401
    assert answer.headers["Access-Control-Allow-Origin"] == _OURS
    assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_another_origin_is_told_nothing(listed: FlaskClient) -> None:
    for origin in ("https://evil.example", f"{_OURS}.evil.example", "http://app.example.org", "null", ""):
        for answer in (_preflight(listed, origin), listed.get("/api/v1/sites", headers={"Origin": origin}).headers):
            assert not [name for name in dict(answer) if name.lower().startswith("access-control-")], origin


def test_caches_are_told_that_the_answer_depends_on_the_origin(listed: FlaskClient) -> None:
    assert "Origin" in listed.get("/api/v1/sites").headers["Vary"]
    assert "Origin" in listed.get("/api/v1/sites", headers={"Origin": "https://evil.example"}).headers["Vary"]


def test_pages_are_for_no_other_origin(listed: FlaskClient) -> None:
    answer = listed.get("/login", headers={"Origin": _OURS})
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "access-control-allow-origin" not in _preflight(listed, _OURS, "/login")


def test_without_a_list_there_is_none(stranger: FlaskClient) -> None:
    answer = stranger.get("/api/v1/sites", headers={"Origin": _OURS})
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Origin" not in answer.headers.get("Vary", "")


def test_the_list_comes_from_the_environment() -> None:
    given = {"METERHAUL_CORS_ORIGINS": "https://App.example.org, http://localhost:5173,"}
    assert load_settings(_DATABASE | given).cors_origins == (_OURS, "http://localhost:5173")
    assert load_settings(_DATABASE).cors_origins == ()


@pytest.mark.parametrize(
    "origins",
    [
        "*",
        "null",
        "https://*.example.org",
        "app.example.org",
        "https://app.example.org/",
        "https://a:b@c.example",
        "https://a:x",
    ],
)
def test_what_is_no_origin_is_refused_with_the_remedy(origins: str) -> None:
    with pytest.raises(SettingsError, match=r"METERHAUL_CORS_ORIGINS .* write each as https://HOST"):
        load_settings(_DATABASE | {"METERHAUL_CORS_ORIGINS": origins})


def test_limits_come_from_the_environment() -> None:
    given = {"METERHAUL_REQUESTS_PER_MINUTE": "1200", "METERHAUL_LOGINS_PER_MINUTE": "0"}
    limits = load_settings(_DATABASE | given).rate_limits
    assert (limits.per_identity, limits.per_address, limits.logins_per_address) == (1200, 60, 0)


@pytest.mark.parametrize("given", ["-1", "many", "1.5", "9999999"])
def test_a_limit_that_is_no_number_is_refused(given: str) -> None:
    with pytest.raises(SettingsError, match="METERHAUL_STRANGERS_REQUESTS_PER_MINUTE"):
        load_settings(_DATABASE | {"METERHAUL_STRANGERS_REQUESTS_PER_MINUTE": given})
