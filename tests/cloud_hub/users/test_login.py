import pytest
from browsing import EMAIL, PASSWORD, form_token, log_in
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session

from cloud_hub.users.attempts import FREE_ATTEMPTS
from cloud_hub.users.password_changes import change_password
from cloud_hub.users.service import AccountExists, InvalidAccount, create_admin, find_user_by_email
from cloud_hub.web.security import trust_proxies


def test_a_page_leads_to_the_login_and_the_login_back_to_the_page(stranger: FlaskClient, session: Session) -> None:
    create_admin(session, EMAIL, PASSWORD)
    session.commit()
    away = stranger.get("/?cursor=x&limit=5")
    assert away.status_code == 302
    assert away.location == "/login?next=/?cursor%3Dx%26limit%3D5"
    assert log_in(stranger, next_page="/?cursor=x&limit=5").location == "/?cursor=x&limit=5"


def test_a_person_may_type_the_address_in_any_case(client: FlaskClient, app: Flask) -> None:
    del client
    assert log_in(app.test_client(), email="  Ann@Example.ORG ").status_code == 303


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:x", "/\t/evil.example", ""]
)
def test_a_login_never_leads_to_another_site(client: FlaskClient, app: Flask, elsewhere: str) -> None:
    del client
    assert log_in(app.test_client(), next_page=elsewhere).location == "/"


@pytest.mark.parametrize(
    ("email", "password"), [(EMAIL, "wrong password"), ("nobody@example.org", PASSWORD), ("", ""), (EMAIL, "x" * 9000)]
)
def test_wrong_address_and_wrong_password_look_alike(
    client: FlaskClient, app: Flask, email: str, password: str
) -> None:
    del client
    answer = log_in(app.test_client(), email=email, password=password)
    assert answer.status_code == 401
    assert "E-mail address or password is wrong." in answer.text


def test_guessing_gets_slow_even_with_the_right_password(client: FlaskClient, app: Flask) -> None:
    del client
    guesser = app.test_client()
    for _ in range(FREE_ATTEMPTS):
        assert log_in(guesser, password="a wrong guess").status_code == 401
    answer = log_in(guesser)
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1


def test_logging_out_ends_the_session(client: FlaskClient) -> None:
    with client.session_transaction() as cookie:
        cookie["csrf"] = "token"
    assert client.post("/logout", data={"csrf_token": "token"}).location == "/login"
    assert client.get("/").status_code == 302


def test_a_new_password_ends_older_sessions(client: FlaskClient, session: Session) -> None:
    assert client.get("/").status_code == 200
    user = find_user_by_email(session, EMAIL)
    assert user is not None
    change_password(session, user, "another password", keep_session=None, how="test")
    session.commit()
    assert client.get("/").status_code == 302


def test_a_disabled_person_is_out_and_stays_out(client: FlaskClient, app: Flask, session: Session) -> None:
    session.execute(text("UPDATE users SET disabled_at = now()"))
    session.commit()
    assert client.get("/").status_code == 302
    assert log_in(app.test_client()).status_code == 401


def test_a_removed_user_is_out(client: FlaskClient, session: Session) -> None:
    session.delete(find_user_by_email(session, EMAIL))
    session.commit()
    assert client.get("/").status_code == 302


def test_a_forged_cookie_is_nobody(stranger: FlaskClient) -> None:
    stranger.set_cookie("meterhaul", "eyJ1c2VyIjoxfQ.aaaa.bbbb")
    assert stranger.get("/").status_code == 302


@pytest.mark.parametrize("path", ["/login", "/logout"])
def test_a_form_without_our_token_is_refused(client: FlaskClient, path: str) -> None:
    assert client.post(path, data={"email": EMAIL, "password": PASSWORD}).status_code == 400
    assert client.post(path, data={"csrf_token": "guess"}).status_code == 400
    assert client.get("/").status_code == 200


def test_the_token_changes_with_the_login(client: FlaskClient, app: Flask) -> None:
    del client
    browser = app.test_client()
    before = form_token(browser)
    log_in(browser)
    assert form_token(browser) != before


@pytest.mark.parametrize("said", ["", "https", "http"])
@pytest.mark.parametrize("proxies", [0, 1])
def test_the_cookie_is_closed_to_scripts_and_bound_to_this_host_over_https(app: Flask, said: str, proxies: int) -> None:
    trust_proxies(app, proxies)
    answer = app.test_client().get("/login", headers={"X-Forwarded-Proto": said} if said else {})
    cookie, is_https = answer.headers["Set-Cookie"], bool(proxies) and said == "https"
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/" in cookie
    assert "Domain" not in cookie
    assert ("Secure" in cookie) is is_https
    assert cookie.startswith("__Host-meterhaul=" if is_https else "meterhaul=")
    assert ("Strict-Transport-Security" in answer.headers) is is_https


def test_a_login_over_https_goes_on_over_https(app: Flask, client: FlaskClient) -> None:
    del client
    browser, https = app.test_client(), {"base_url": "https://hub.example"}
    browser.get("/login", **https)
    with browser.session_transaction(**https) as cookie:
        form = {"email": EMAIL, "password": PASSWORD, "csrf_token": cookie["csrf"]}
    assert browser.post("/login", data=form, **https).status_code == 303
    assert browser.get("/", **https).status_code == 200


def test_a_new_hub_has_no_account(session: Session) -> None:
    assert session.scalar(text("SELECT count(*) FROM users")) == 0


def test_a_password_does_not_grow_old(client: FlaskClient, app: Flask, session: Session) -> None:
    del client
    session.execute(text("UPDATE users SET created_at = created_at - interval '20 years'"))
    session.commit()
    assert log_in(app.test_client()).location == "/"


def test_an_address_has_one_account(session: Session) -> None:
    create_admin(session, EMAIL, PASSWORD)
    with pytest.raises(AccountExists, match=r"already a user ann@example\.org"):
        create_admin(session, EMAIL.upper(), PASSWORD)


@pytest.mark.parametrize(
    ("email", "password", "reason"),
    [("ann", PASSWORD, "not an e-mail"), (EMAIL, "short", "10 to 256"), ("a@" + "b" * 300, PASSWORD, "not an e-mail")],
)
def test_an_impossible_account_is_refused(session: Session, email: str, password: str, reason: str) -> None:
    with pytest.raises(InvalidAccount, match=reason):
        create_admin(session, email, password)
