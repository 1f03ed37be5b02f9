"""Everybody can say how they want to be served, and nobody else can say or read it."""

from typing import Any

import pytest
from account_factories import call, make_person, submit
from browsing import EMAIL, log_in
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cloud_hub.access.permissions import PERMISSIONS_OF, Role
from cloud_hub.users.models import Profile
from cloud_hub.web.security import trust_proxies

DEFAULTS = {"email": ["warning", "critical"], "sms": [], "push": [], "quiet_hours": None}
QUIET = {"start": "22:00", "end": "06:30", "time_zone": "Europe/Berlin", "despite": ["critical"]}


def me(client: FlaskClient) -> tuple[dict[str, Any], str]:
    """Return what one is told of oneself, and its ETag."""
    answer = client.get("/api/v1/me")
    assert answer.json is not None
    return answer.json, answer.headers["ETag"]


def change(client: FlaskClient, body: dict[str, Any]) -> Any:
    return call(client, "PATCH", "/me", body, If_Match=me(client)[1])


def test_one_is_told_who_one_is_and_what_one_may_do(client: FlaskClient, app: Flask, session: Session) -> None:
    told, _ = me(client)
    [membership] = told["memberships"]
    assert (told["email"], told["kind"], told["has_totp"], membership["role"]) == (EMAIL, "person", False, "admin")
    assert membership["sites"] is None
    assert told["profile"]["notifications"] == DEFAULTS
    make_person(session, "bob@example.org", role=Role.VIEWER)
    bob = app.test_client()
    log_in(bob, email="bob@example.org")
    assert me(bob)[0]["permissions"] == sorted(PERMISSIONS_OF[Role.VIEWER])


def test_a_profile_is_changed_in_parts_and_the_change_is_recorded(client: FlaskClient, session: Session) -> None:
    change(client, {"language": "de", "time_zone": "Europe/Berlin", "time_display": "own", "clock": "12"})
    answer = change(client, {"name": "Ann", "notifications": {"sms": ["critical", "info"], "quiet_hours": QUIET}})
    assert answer.status_code == 200
    profile = me(client)[0]["profile"]
    assert (profile["name"], profile["language"], profile["time_zone"]) == ("Ann", "de", "Europe/Berlin")
    assert (profile["time_display"], profile["clock"]) == ("own", "12")
    assert profile["notifications"] == DEFAULTS | {"sms": ["info", "critical"], "quiet_hours": QUIET}
    trail = "SELECT detail FROM audit_events WHERE action = 'profile_changed' ORDER BY id DESC LIMIT 1"
    recorded = session.scalar(text(trail))
    assert recorded["before"] == {"name": "", "notifications": DEFAULTS}
    assert recorded["after"]["name"] == "Ann"


@pytest.mark.parametrize(
    "body",
    [
        {"language": "fr"},
        {"time_zone": "Berlin"},
        {"time_display": "own"},
        {"clock": 24},
        {"name": "x" * 121},
        {"surname": "Lovelace"},
        {"notifications": {"email": ["disaster"]}},
        {"notifications": {"fax": ["info"]}},
        {"notifications": {"quiet_hours": QUIET | {"start": "25:00"}}},
        {"notifications": {"quiet_hours": QUIET | {"time_zone": "../../etc/passwd"}}},
        {"notifications": {"quiet_hours": {"start": "22:00"}}},
        {"name": None},
    ],
    ids=str,
)
def test_nonsense_changes_nothing(client: FlaskClient, body: dict[str, Any]) -> None:
    before = me(client)
    assert change(client, body).status_code == 422
    assert me(client) == before


def test_a_change_of_what_one_has_not_seen_is_refused(client: FlaskClient) -> None:
    seen = me(client)[1]
    assert call(client, "PATCH", "/me", {"name": "Ann"}, If_Match=seen).status_code == 200
    assert call(client, "PATCH", "/me", {"name": "Eve"}, If_Match=seen).status_code == 412
    assert call(client, "PATCH", "/me", {"name": "Eve"}).status_code == 428
    assert me(client)[0]["profile"]["name"] == "Ann"


def test_the_database_shows_each_person_their_own_rows_alone(
    client: FlaskClient, session: Session, web_engine: Engine
) -> None:
    change(client, {"name": "Ann"})
    bob = make_person(session, "bob@example.org", role=Role.ADMIN)
    with Session(web_engine) as own:
        for table in ("profiles", "login_sessions", "totp_secrets", "recovery_codes", "password_resets"):
            own.execute(
                text(
                    "SELECT set_config('meterhaul.organisations', '{1}', true), set_config('meterhaul.user', :id, true)"
                ),
                {"id": str(bob.id)},
            )
            assert own.scalar(text(f"SELECT count(*) FROM {table}")) == 0
    assert session.query(Profile).count() == 1


def test_the_page_shows_and_saves_the_profile(client: FlaskClient) -> None:
    page = client.get("/account").text
    assert EMAIL in page
    form = {"name": "Ann <b>", "language": "de", "time_display": "own", "time_zone": "Asia/Tokyo", "clock": "12"}
    quiet = {"quiet": "on", "quiet_start": "21:00", "quiet_end": "05:00", "quiet_zone": "Asia/Tokyo"}
    saved = submit(client, "/account/profile", **form, **quiet, push=["critical", "warning"], despite=["critical"])
    assert saved.location == "/account?done=profile"
    page = client.get("/account?done=profile").text
    assert "Your profile is saved." in page
    assert "Ann &lt;b&gt;" in page
    assert "Times in Asia/Tokyo." in page
    told = me(client)[0]["profile"]["notifications"]
    assert (told["email"], told["push"], told["quiet_hours"]["start"]) == ([], ["warning", "critical"], "21:00")
    refused = submit(client, "/account/profile", **(form | {"time_zone": "Tokyo"}))
    assert refused.status_code == 422
    assert "no time zone" in refused.text


def test_behind_a_proxy_the_address_is_the_visitors_and_without_one_nobody_is_believed(
    client: FlaskClient, app: Flask, session: Session
) -> None:
    del client

    def address_seen(forwarded: str) -> str:
        browser = app.test_client()
        browser.environ_base["HTTP_X_FORWARDED_FOR"] = forwarded
        assert log_in(browser).status_code == 303
        return str(session.scalar(text("SELECT address FROM login_sessions ORDER BY id DESC LIMIT 1")))

    assert address_seen("198.51.100.1") == "127.0.0.1"
    trust_proxies(app, 1)
    assert address_seen("203.0.113.9, 198.51.100.1") == "198.51.100.1"
