"""Logins live on the server: they can be seen, ended, and end by themselves."""

import pytest
from account_factories import call, give_authenticator, make_person
from browsing import EMAIL, PASSWORD, form_token, log_in
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session

from cloud_hub.users import sessions
from cloud_hub.work.accounts import forget_ended_logins


def is_in(client: FlaskClient) -> bool:
    return client.get("/api/v1/me").status_code == 200


def listed(client: FlaskClient) -> list[dict[str, object]]:
    answer = client.get("/api/v1/me/sessions")
    assert answer.json is not None
    return list(answer.json["items"])


def test_the_database_holds_no_token(client: FlaskClient, session: Session) -> None:
    with client.session_transaction() as cookie:
        token = cookie["login"]
    row = session.execute(text("SELECT token_hash, login_sessions::text AS row FROM login_sessions")).one()
    assert bytes(row.token_hash) == sessions.hash_token(token)
    assert token not in row.row


def test_a_login_gets_a_token_of_its_own_and_ends_the_one_before_it(client: FlaskClient, app: Flask) -> None:
    copied = app.test_client()
    with client.session_transaction() as cookie, copied.session_transaction() as copy:
        copy.update(cookie)
    assert is_in(copied)
    log_in(client)
    assert is_in(client)
    assert not is_in(copied)


def test_a_copied_cookie_is_worthless_after_the_logout(client: FlaskClient, app: Flask) -> None:
    copied = app.test_client()
    with client.session_transaction() as cookie, copied.session_transaction() as copy:
        copy.update(cookie)
    client.post("/logout", data={"csrf_token": form_token(client)})
    assert not is_in(copied)


@pytest.mark.parametrize(
    "aged",
    ["last_used_at = last_used_at - interval '12 hours 1 second'", "ends_at = now()"],
    ids=["idle for too long", "old"],
)
def test_a_login_ends_by_itself(client: FlaskClient, session: Session, aged: str) -> None:
    session.execute(text(f"UPDATE login_sessions SET {aged}"))
    session.commit()
    assert not is_in(client)
    bind = session.get_bind()
    assert forget_ended_logins(bind.engine) == 1
    assert session.scalar(text("SELECT count(*) FROM login_sessions")) == 0


def test_use_keeps_a_login_but_not_beyond_its_end(client: FlaskClient, session: Session) -> None:
    ends = session.scalar(text("SELECT ends_at FROM login_sessions"))
    session.execute(text("UPDATE login_sessions SET last_used_at = last_used_at - interval '11 hours', address = ''"))
    session.commit()
    assert is_in(client)
    row = session.execute(text("SELECT last_used_at > now() - interval '1 hour', address, ends_at FROM login_sessions"))
    assert row.one() == (True, "127.0.0.1", ends)


def test_one_sees_ones_logins_and_ends_them(client: FlaskClient, app: Flask) -> None:
    phone, tablet = app.test_client(), app.test_client()
    for other in (phone, tablet):
        assert log_in(other).status_code == 303
    rows = listed(client)
    assert [row["is_current"] for row in rows].count(True) == 1
    assert {row["address"] for row in rows} == {"127.0.0.1"}
    assert all(str(row["user_agent"]).startswith("Werkzeug") for row in rows)
    [phones] = [row["id"] for row in listed(phone) if row["is_current"]]

    assert call(client, "DELETE", f"/me/sessions/{phones}").status_code == 204
    assert (is_in(phone), is_in(tablet), is_in(client)) == (False, True, True)
    assert call(client, "DELETE", f"/me/sessions/{phones}").status_code == 404

    assert call(client, "DELETE", "/me/sessions").json == {"ended": 1}
    assert (is_in(tablet), is_in(client)) == (False, True)


def test_nobody_sees_or_ends_the_logins_of_others(client: FlaskClient, app: Flask, session: Session) -> None:
    make_person(session, "bob@example.org")
    bob = app.test_client()
    log_in(bob, email="bob@example.org")
    [bobs] = [row["id"] for row in listed(bob)]
    assert bobs not in [row["id"] for row in listed(client)]
    assert call(client, "DELETE", f"/me/sessions/{bobs}").status_code == 404
    call(client, "DELETE", "/me/sessions")
    assert is_in(bob)


def test_a_new_password_ends_all_other_logins(client: FlaskClient, app: Flask, session: Session) -> None:
    other = app.test_client()
    log_in(other)
    new = "a much better secret"
    changed = call(client, "POST", "/me/password", {"password": PASSWORD, "new_password": new})
    assert changed.status_code == 204
    assert (is_in(client), is_in(other)) == (True, False)
    assert log_in(other).status_code == 401
    assert log_in(other, password=new).status_code == 303
    assert session.scalars(text("SELECT recipient FROM mail_outbox")).all() == [EMAIL]
    trail = session.execute(text("SELECT who, detail FROM audit_events WHERE action = 'password_changed'")).one()
    assert trail == (EMAIL, {"how": "by its owner", "sessions_ended": 1})


@pytest.mark.parametrize(
    ("password", "new", "status"),
    [("a wrong guess", "a much better secret", 403), (PASSWORD, "short", 422), (PASSWORD, PASSWORD, 422)],
)
def test_a_password_is_changed_only_by_who_knows_it_and_to_a_good_one(
    client: FlaskClient, app: Flask, password: str, new: str, status: int
) -> None:
    answer = call(client, "POST", "/me/password", {"password": password, "new_password": new})
    assert answer.status_code == status
    assert log_in(app.test_client()).status_code == 303


@pytest.mark.parametrize(
    ("path", "more", "has_totp"),
    [
        ("/me/password", {"new_password": "a much better secret"}, False),
        ("/me/totp", {}, False),
        ("/me/totp/removal", {}, True),
        ("/me/recovery-codes", {}, True),
    ],
)
def test_a_password_that_is_typed_again_gives_the_login_another_token(
    client: FlaskClient, app: Flask, session: Session, path: str, more: dict[str, str], *, has_totp: bool
) -> None:
    if has_totp:
        give_authenticator(app, session, EMAIL)
    copied = app.test_client()
    with client.session_transaction() as cookie, copied.session_transaction() as copy:
        copy.update(cookie)
    assert call(client, "POST", path, {"password": "a wrong guess"} | more).status_code == 403
    assert (is_in(client), is_in(copied)) == (True, True)
    assert call(client, "POST", path, {"password": PASSWORD} | more).status_code < 300
    assert (is_in(client), is_in(copied)) == (True, False)


def test_guessing_the_password_of_an_open_browser_gets_slow(client: FlaskClient) -> None:
    guess = {"password": "a wrong guess", "new_password": "a much better secret"}
    statuses = [call(client, "POST", "/me/password", guess).status_code for _ in range(6)]
    assert statuses == [403] * 5 + [429]
    assert int(call(client, "POST", "/me/password", guess).headers["Retry-After"]) >= 1
