"""The operator can help somebody back into their account; it is recorded, and the owner is told."""

import json

import pytest
from account_factories import give_authenticator, give_recovery_codes, submit
from browsing import EMAIL, log_in
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session

from cloud_hub.cli import main
from cloud_hub.users.attempts import FREE_ATTEMPTS


@pytest.fixture(autouse=True)
def _environment(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METERHAUL_DATABASE_URL", database_url)


def test_a_lost_authenticator_is_taken_off(
    client: FlaskClient, app: Flask, session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    give_authenticator(app, session, EMAIL)
    give_recovery_codes(session, EMAIL)
    assert main(["account", EMAIL, "--remove-authenticator", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["has_authenticator"], told["sessions"]) == (False, 0)
    assert client.get("/").status_code == 302
    assert log_in(client).location == "/"
    recorded = session.execute(text("SELECT who, detail FROM audit_events WHERE action = 'totp_switched_off'")).one()
    assert recorded.who != EMAIL
    assert recorded.detail == {"by": "operator"}
    assert session.scalars(text("SELECT recipient FROM mail_outbox")).all() == [EMAIL]
    assert main(["account", EMAIL, "--remove-authenticator"]) == 1
    assert "has no authenticator" in capsys.readouterr().err


def test_whoever_waits_may_try_again_and_whoever_is_in_is_out(
    client: FlaskClient, app: Flask, capsys: pytest.CaptureFixture[str]
) -> None:
    other = app.test_client()
    for _ in range(FREE_ATTEMPTS):
        log_in(other, password="a wrong guess")
    assert log_in(other).status_code == 429
    assert main(["account", EMAIL, "--forget-failures", "--end-sessions"]) == 0
    assert "sessions           0" in capsys.readouterr().out
    assert client.get("/").status_code == 302
    assert log_in(other).status_code == 303


def test_an_unknown_address_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["account", "nobody@example.org"]) == 1
    assert "nobody@example.org" in capsys.readouterr().err


def test_the_token_of_a_form_is_the_sessions_own(client: FlaskClient, app: Flask) -> None:
    other = app.test_client()
    log_in(other)
    other.get("/account")
    with other.session_transaction() as cookie:
        foreign = cookie["csrf"]
    assert client.post("/account/sessions/end", data={"csrf_token": foreign}).status_code == 400
    assert submit(client, "/account/sessions/end").status_code == 303
