"""Apps log in for short access tokens and go on by refresh tokens that are good once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pyotp
from flask import Flask
from flask.testing import FlaskClient
from joserfc import jwt
from joserfc.jwk import KeySet
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session
from token_factories import ask_for_login, bearer, log_in_app, make_person, make_token

from cloud_hub.audit.models import AuditEvent
from cloud_hub.mail.models import OutgoingMail
from cloud_hub.tokens.logins import ABSOLUTE, IDLE, begin_login, carry_on
from cloud_hub.tokens.models import RefreshToken, Token
from cloud_hub.tokens.purge import forget_ended_tokens
from cloud_hub.users import totp
from cloud_hub.users.authentication import current_seal
from cloud_hub.users.sessions import end_all

_SITES = "/api/v1/sites"


def _uses(client: FlaskClient, pair: dict[str, Any]) -> int:
    return client.get(_SITES, headers=bearer(pair["access_token"])).status_code


def _refresh(client: FlaskClient, pair: dict[str, Any]) -> Any:
    return client.post("/api/v1/auth/refresh", json={"refresh_token": pair["refresh_token"]})


def _revoke(client: FlaskClient, token: str) -> int:
    return client.post("/api/v1/auth/revoke", json={"token": token}).status_code


def test_a_password_buys_a_pair_of_tokens(stranger: FlaskClient, session: Session) -> None:
    make_person(session)
    answer = ask_for_login(stranger)
    pair = answer.get_json()
    assert answer.headers["Cache-Control"] == "no-store"
    assert (pair["token_type"], pair["expires_in"]) == ("Bearer", 900)
    assert _uses(stranger, pair) == 200
    assert "Set-Cookie" not in answer.headers
    event = session.scalars(select(AuditEvent)).one()
    assert (event.action, event.who, event.address) == ("app_logged_in", "kim@example.org", "127.0.0.1")
    assert event.request_id == answer.headers["X-Request-Id"]


def test_a_code_is_asked_for_where_the_account_has_one(stranger: FlaskClient, app: Flask, session: Session) -> None:
    user = make_person(session)
    with app.app_context():
        seal = current_seal()
    authenticator = pyotp.parse_uri(totp.enrol(session, user, seal))
    assert isinstance(authenticator, pyotp.TOTP)
    assert totp.confirm(session, user.id, authenticator.now(), seal)
    session.commit()
    missing = ask_for_login(stranger)
    assert missing.status_code == 401
    assert "code" in missing.get_json()["detail"]
    assert ask_for_login(stranger, code="000000").status_code == 401
    code = authenticator.at(datetime.now(UTC), counter_offset=1)
    assert _uses(stranger, log_in_app(stranger, code=code)) == 200
    assert ask_for_login(stranger, code=code).status_code == 401


def test_wrong_address_and_wrong_password_look_alike(stranger: FlaskClient, session: Session) -> None:
    make_person(session)
    for email, password in (("kim@example.org", "wrong"), ("nobody@example.org", "correct horse battery")):
        answer = ask_for_login(stranger, email, password=password)
        assert answer.status_code == 401
        assert answer.get_json()["detail"] == "E-mail address or password is wrong."


def test_guessing_gets_slow(stranger: FlaskClient, session: Session) -> None:
    make_person(session)
    for _ in range(5):
        ask_for_login(stranger, password="wrong")
    answer = ask_for_login(stranger)
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1


def test_a_refresh_token_is_good_once(stranger: FlaskClient, session: Session) -> None:
    make_person(session)
    first = log_in_app(stranger)
    second = _refresh(stranger, first).get_json()
    assert second["refresh_token"] != first["refresh_token"]
    third = _refresh(stranger, second).get_json()
    assert _uses(stranger, third) == 200


def test_a_refresh_token_that_is_used_twice_ends_the_login_for_both(stranger: FlaskClient, session: Session) -> None:
    make_person(session)
    first = log_in_app(stranger)
    second = _refresh(stranger, first).get_json()
    again = _refresh(stranger, first)
    assert again.status_code == 401
    assert _uses(stranger, first) == _uses(stranger, second) == 401
    assert _refresh(stranger, second).status_code == 401
    assert _refresh(stranger, first).status_code == 401
    actions = session.scalars(select(AuditEvent.action)).all()
    assert actions.count("refresh_token_reused") == 1
    assert "used twice" in session.scalars(select(OutgoingMail.body)).one()


def test_another_login_goes_on(stranger: FlaskClient, session: Session) -> None:
    make_person(session)
    mine, theirs = log_in_app(stranger), log_in_app(stranger)
    _refresh(stranger, theirs)
    _refresh(stranger, theirs)
    assert _uses(stranger, theirs) == 401
    assert _uses(stranger, mine) == 200


def test_what_is_no_refresh_token_is_refused(stranger: FlaskClient) -> None:
    for given in ("x", "mhr_" + "x" * 43, "é"):
        assert _refresh(stranger, {"refresh_token": given}).status_code == 401


def test_an_access_token_refreshes_nothing_and_a_refresh_token_opens_nothing(
    stranger: FlaskClient, session: Session
) -> None:
    make_person(session)
    pair = log_in_app(stranger)
    assert _refresh(stranger, {"refresh_token": pair["access_token"]}).status_code == 401
    assert _uses(stranger, {"access_token": pair["refresh_token"]}) == 401


def test_a_login_ends_when_its_app_stays_away_and_at_last_by_its_age(session: Session) -> None:
    user = make_person(session, with_password=False)
    began = datetime(2026, 1, 1, tzinfo=UTC)
    now, (login, refresh_token) = began, begin_login(session, user, name="App", permissions=None, now=began)
    assert carry_on(session, refresh_token, began + IDLE).live is None
    while now < began + ABSOLUTE - IDLE:
        now += IDLE - timedelta(days=1)
        carried = carry_on(session, refresh_token, now)
        assert carried.live is not None
        refresh_token = carried.refresh_token
    assert login.expires_at == began + ABSOLUTE
    assert carry_on(session, refresh_token, began + ABSOLUTE).live is None


def test_a_revoked_login_ends_at_once(stranger: FlaskClient, session: Session) -> None:
    make_person(session)
    for which in ("access_token", "refresh_token"):
        pair = log_in_app(stranger)
        assert _revoke(stranger, pair[which]) == 204
        assert _uses(stranger, pair) == 401
        assert _refresh(stranger, pair).status_code == 401


def test_whoever_finds_an_api_token_can_revoke_it(stranger: FlaskClient, session: Session) -> None:
    _, token = make_token(session, make_person(session))
    assert _revoke(stranger, token) == 204
    assert _uses(stranger, {"access_token": token}) == 401
    assert "token_revoked" in session.scalars(select(AuditEvent.action)).all()


def test_revoking_what_never_was_tells_nothing(stranger: FlaskClient) -> None:
    for given in ("x", "mh_0123456789ab_" + "x" * 43, "mhr_" + "x" * 43):
        assert _revoke(stranger, given) == 204


def test_knowing_a_tokens_name_does_not_revoke_it(stranger: FlaskClient, session: Session) -> None:
    _, token = make_token(session, make_person(session))
    assert _revoke(stranger, token[:16] + "x" * 43) == 204
    assert _uses(stranger, {"access_token": token}) == 200


def test_the_end_of_all_logins_ends_those_of_apps_and_leaves_api_tokens(
    stranger: FlaskClient, session: Session
) -> None:
    user = make_person(session)
    _, token = make_token(session, user)
    pair = log_in_app(stranger)
    end_all(session, user.id)
    session.commit()
    assert _uses(stranger, pair) == 401
    assert _uses(stranger, {"access_token": token}) == 200


def test_an_app_may_be_kept_from_what_its_person_may(stranger: FlaskClient, session: Session) -> None:
    make_person(session)
    pair = log_in_app(stranger, permissions=["sites.read"])
    assert _uses(stranger, pair) == 200
    assert stranger.get("/api/v1/tariffs", headers=bearer(pair["access_token"])).status_code == 403


def test_a_login_is_listed_with_its_last_use_and_ended_by_its_person(stranger: FlaskClient, session: Session) -> None:
    make_person(session)
    pair = log_in_app(stranger, name="Kim's phone")
    headers = bearer(log_in_app(stranger, name="Kim's tablet")["access_token"])
    assert _uses(stranger, pair) == 200
    phone = stranger.get("/api/v1/me/tokens", headers=headers).get_json()["items"][0]
    assert (phone["kind"], phone["name"]) == ("login", "Kim's phone")
    assert phone["last_used_at"] is not None
    assert stranger.delete(f"/api/v1/me/tokens/{phone['id']}", headers=headers).status_code == 204
    assert _uses(stranger, pair) == 401


def test_a_stranger_can_check_an_access_token_with_the_published_keys(stranger: FlaskClient, session: Session) -> None:
    assert stranger.get("/.well-known/jwks.json").get_json() == {"keys": []}
    user = make_person(session)
    pair = log_in_app(stranger)
    answer = stranger.get("/.well-known/jwks.json")
    assert "d" not in answer.get_json()["keys"][0]
    assert answer.headers["Cache-Control"].startswith("public")
    decoded = jwt.decode(pair["access_token"], KeySet.import_key_set(answer.get_json()), algorithms=["Ed25519"])
    assert decoded.claims["sub"] == str(user.id)


def test_a_key_that_is_forgotten_lets_nobody_in_any_more(stranger: FlaskClient, session: Session, app: Flask) -> None:
    make_person(session)
    pair = log_in_app(stranger)
    app.config["SECRET_KEY"] = b"another key, as long as the first"
    assert _uses(stranger, pair) == 200  # what was signed can be checked without it
    assert _uses(stranger, log_in_app(stranger)) == 200  # and a key that can be read is made
    session.execute(text("DELETE FROM signing_keys"))
    session.commit()
    assert _uses(stranger, pair) == 401


def test_what_ended_long_ago_is_forgotten(session: Session, engine: Engine) -> None:
    user = make_person(session, with_password=False)
    ends = {
        "good": "expires_at = now() + interval '1 day'",
        "expired": "expires_at = now() - interval '31 days'",
        "revoked": "revoked_at = now() - interval '31 days'",
        "revoked of late": "revoked_at = now() - interval '29 days'",
    }
    for name, end in ends.items():
        begin_login(session, user, name=name, permissions=None, now=datetime.now(UTC))
        session.execute(text(f"UPDATE tokens SET {end} WHERE name = :name"), {"name": name})
    session.commit()
    forget_ended_tokens(engine)
    assert session.scalars(select(Token.name).order_by(Token.name)).all() == ["good", "revoked of late"]
    assert len(session.scalars(select(RefreshToken.token_id)).all()) == 2
