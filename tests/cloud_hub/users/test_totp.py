"""Codes of an authenticator: asked for after the password, good once, and never a way round the waiting."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from account_factories import authenticator_of, call, code_of, give_authenticator, give_recovery_codes, submit
from browsing import EMAIL, PASSWORD, log_in
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cloud_hub.users import totp
from cloud_hub.users.attempts import FREE_ATTEMPTS
from cloud_hub.users.authentication import Reason, authenticate
from cloud_hub.users.sealing import Seal, SealBroken
from cloud_hub.users.service import find_user_by_email


def test_an_authenticator_is_set_up_by_password_and_code(client: FlaskClient, app: Flask, session: Session) -> None:
    assert call(client, "POST", "/me/totp", {"password": "a wrong guess"}).status_code == 403
    begun = call(client, "POST", "/me/totp", {"password": PASSWORD}).json
    assert begun is not None
    assert begun["qr_svg"].startswith("<svg")
    assert "<script" not in begun["qr_svg"]
    authenticator = authenticator_of(begun["uri"])
    assert authenticator.name == EMAIL
    # Not confirmed yet: logins go by the password alone.
    assert log_in(app.test_client()).location == "/"
    assert call(client, "POST", "/me/totp/confirmation", {"code": "000000"}).status_code == 422

    confirmed = call(client, "POST", "/me/totp/confirmation", {"code": code_of(authenticator)})
    assert confirmed.json is not None
    assert len(set(confirmed.json["codes"])) == 10
    assert client.get("/api/v1/me/totp").json == {"is_on": True, "recovery_codes_left": 10}
    assert log_in(app.test_client()).location.startswith("/login/code")
    kept = session.execute(text("SELECT sealed_secret FROM totp_secrets")).scalar_one()
    assert authenticator.secret.encode() not in bytes(kept)
    assert call(client, "POST", "/me/totp", {"password": PASSWORD}).status_code == 409


def test_a_login_takes_a_code_after_the_password(client: FlaskClient, app: Flask, session: Session) -> None:
    del client
    authenticator = give_authenticator(app, session, EMAIL)
    browser = app.test_client()
    asked = log_in(browser, next_page="/?limit=5")
    assert asked.location == "/login/code?next=/?limit%3D5"
    assert browser.get("/").status_code == 302
    assert browser.get("/api/v1/me").status_code == 401
    assert "One more step" in browser.get("/login/code").text
    assert submit(browser, "/login/code", code="123456").status_code == 401
    entered = submit(browser, "/login/code", code=code_of(authenticator), next="/?limit=5")
    assert entered.location == "/?limit=5"
    assert browser.get("/").status_code == 200


def test_a_code_is_good_once(client: FlaskClient, app: Flask, session: Session) -> None:
    del client
    authenticator = give_authenticator(app, session, EMAIL)
    ahead = code_of(authenticator, steps_ahead=1)
    first, second = app.test_client(), app.test_client()
    for browser in (first, second):
        log_in(browser)
    assert submit(first, "/login/code", code=ahead).status_code == 303
    assert submit(second, "/login/code", code=ahead).status_code == 401
    # Nor is an older one, which somebody may have watched being typed.
    assert submit(second, "/login/code", code=code_of(authenticator)).status_code == 401


def test_of_many_who_show_the_same_code_at_once_one_gets_in(
    client: FlaskClient, app: Flask, session: Session, web_engine: Engine
) -> None:
    del client
    code = code_of(give_authenticator(app, session, EMAIL))

    def enter(_: int) -> Reason:
        with app.test_request_context(), Session(web_engine) as own:
            user = find_user_by_email(session, EMAIL)
            assert user is not None
            own.execute(text("SELECT set_config('meterhaul.login', 'on', true)"))
            is_good = totp.use_code(own, user.id, code, Seal(b"k" * 32, "totp"))
            own.commit()
            return Reason.OK if is_good else Reason.CODE_WRONG

    find_user_by_email(session, EMAIL)
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(enter, range(4)))
    assert outcomes.count(Reason.OK) == 1


@pytest.mark.parametrize("typed", [str.upper, lambda code: code.replace("-", " ")], ids=["shouted", "with blanks"])
def test_a_recovery_code_stands_in_for_the_authenticator_once(
    client: FlaskClient, app: Flask, session: Session, typed: object
) -> None:
    del client
    assert callable(typed)
    give_authenticator(app, session, EMAIL)
    code = give_recovery_codes(session, EMAIL)[3]
    first, second = app.test_client(), app.test_client()
    for browser in (first, second):
        log_in(browser)
    assert submit(first, "/login/code", code=typed(code)).status_code == 303
    assert submit(second, "/login/code", code=code).status_code == 401
    assert first.get("/api/v1/me/totp").json == {"is_on": True, "recovery_codes_left": 9}
    assert session.scalar(text("SELECT detail FROM audit_events WHERE action = 'recovery_code_used'")) == {"left": 9}


def test_the_right_password_makes_no_room_for_more_codes(client: FlaskClient, app: Flask, session: Session) -> None:
    del client
    authenticator = give_authenticator(app, session, EMAIL)
    statuses = []
    for _ in range(FREE_ATTEMPTS + 1):
        guesser = app.test_client()
        log_in(guesser)
        statuses.append(submit(guesser, "/login/code", code="123456").status_code)
    assert statuses == [401] * FREE_ATTEMPTS + [429]
    assert submit(guesser, "/login/code", code=code_of(authenticator)).status_code == 429
    failures = session.scalars(text("SELECT detail->>'factor' FROM audit_events WHERE action = 'login_failed'")).all()
    assert failures == ["code"] * FREE_ATTEMPTS


def test_a_program_sends_password_and_code_together(client: FlaskClient, app: Flask, session: Session) -> None:
    del client
    authenticator = give_authenticator(app, session, EMAIL)
    with app.test_request_context():

        def attempt(password: str, code: str | None) -> Reason:
            outcome = authenticate(session, EMAIL, password, code, "192.0.2.1")
            session.commit()
            return outcome.reason

        assert attempt(PASSWORD, None) is Reason.CODE_NEEDED
        assert attempt("a wrong guess", code_of(authenticator)) is Reason.WRONG
        assert attempt(PASSWORD, "123456") is Reason.CODE_WRONG
        assert attempt(PASSWORD, code_of(authenticator)) is Reason.OK
        assert attempt(PASSWORD, code_of(authenticator)) is Reason.CODE_WRONG


def test_without_the_password_nothing_is_switched_off(client: FlaskClient, app: Flask, session: Session) -> None:
    give_authenticator(app, session, EMAIL)
    old = give_recovery_codes(session, EMAIL)
    wrong, right = {"password": "a wrong guess"}, {"password": PASSWORD}
    assert call(client, "POST", "/me/recovery-codes", wrong).status_code == 403
    fresh = call(client, "POST", "/me/recovery-codes", right).json
    assert fresh is not None
    assert not set(fresh["codes"]) & set(old)
    assert call(client, "POST", "/me/totp/removal", wrong).status_code == 403
    assert client.get("/api/v1/me/totp").json == {"is_on": True, "recovery_codes_left": 10}
    assert call(client, "POST", "/me/totp/removal", right).status_code == 204
    assert log_in(app.test_client()).location == "/"
    assert call(client, "POST", "/me/totp/removal", right).status_code == 409
    assert len(session.scalars(text("SELECT subject FROM mail_outbox")).all()) == 2


def test_a_password_that_waits_for_its_code_waits_ten_minutes(
    client: FlaskClient, app: Flask, session: Session
) -> None:
    del client
    authenticator = give_authenticator(app, session, EMAIL)
    browser = app.test_client()
    log_in(browser)
    session.execute(text("UPDATE login_sessions SET ends_at = ends_at - interval '10 minutes' WHERE NOT is_complete"))
    session.commit()
    assert submit(browser, "/login/code", code=code_of(authenticator)).location == "/login"


def test_a_seal_opens_for_its_owner_and_key_alone() -> None:
    seal = Seal(b"k" * 32, "totp")
    closed = seal.close(b"secret", "totp:1")
    assert seal.open(closed, "totp:1") == b"secret"
    assert seal.close(b"secret", "totp:1") != closed
    for other, owner in ((seal, "totp:2"), (Seal(b"l" * 32, "totp"), "totp:1"), (Seal(b"k" * 32, "keys"), "totp:1")):
        with pytest.raises(SealBroken, match="recovery code"):
            other.open(closed, owner)
    with pytest.raises(SealBroken):
        seal.open(closed[:-1] + bytes([closed[-1] ^ 1]), "totp:1")
