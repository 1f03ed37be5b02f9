"""Whoever a provider vouches for gets into the account they have; no lie about it opens anything."""

import time
from collections.abc import Callable, Iterator

import pytest
from account_factories import code_of, give_authenticator, make_person, submit
from browsing import EMAIL
from flask import Flask
from flask.testing import FlaskClient
from oidc_provider import CLIENT_ID, CLIENT_SECRET, Claims, OidcProvider
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.orm import Session

from cloud_hub.cli import main
from cloud_hub.settings import SingleSignOn
from cloud_hub.users.sessions import ABSOLUTE_LIMIT
from cloud_hub.users.single_sign_on import set_up_single_sign_on


@pytest.fixture(scope="module")
def _provider() -> Iterator[OidcProvider]:
    with OidcProvider() as provider:
        yield provider


@pytest.fixture
def provider(_provider: OidcProvider, app: Flask, session: Session) -> Iterator[OidcProvider]:
    """Give a provider that the hub knows, which vouches for somebody with an account."""
    meet(app, _provider)
    make_person(session, EMAIL, password=None)
    truth = dict(vars(_provider))
    yield _provider
    vars(_provider).update(truth)


def meet(app: Flask, provider: OidcProvider) -> None:
    """Let the hub know the provider, and read its description when somebody comes next."""
    secret = SecretStr(CLIENT_SECRET)
    set_up_single_sign_on(app, SingleSignOn(issuer=provider.issuer, client_id=CLIENT_ID, client_secret=secret))


def come_by(provider: OidcProvider, browser: FlaskClient, wanted: str = "") -> str:
    """Go to the provider and log in there; return the way back."""
    away = browser.get("/single-sign-on", query_string={"next": wanted} if wanted else None)
    assert away.status_code == 302, away.text
    return provider.log_in(away.location)


def test_without_a_provider_there_is_no_such_way_in(stranger: FlaskClient) -> None:
    assert "single sign-on" not in stranger.get("/login").text
    assert stranger.get("/single-sign-on").status_code == 404
    assert stranger.get("/single-sign-on/callback?code=x&state=y").status_code == 404


def test_a_verified_address_opens_the_account_that_has_it(provider: OidcProvider, stranger: FlaskClient) -> None:
    assert 'href="/single-sign-on?next=' in stranger.get("/login").text
    provider.email = EMAIL.upper()
    entered = stranger.get(come_by(provider, stranger, "/account"))
    assert entered.location == "/account"
    me = stranger.get("/api/v1/me").json
    assert me is not None
    assert (me["email"], me["has_password"]) == (EMAIL, False)
    asked = provider.asked[-1]
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3


def test_a_login_by_the_provider_ends_like_any_other_and_keeps_nothing_of_it(
    provider: OidcProvider, stranger: FlaskClient, session: Session
) -> None:
    assert stranger.get(come_by(provider, stranger)).status_code == 303
    with stranger.session_transaction() as cookie:
        assert set(cookie) == {"_permanent", "login"}
    assert session.scalar(text("SELECT ends_at - created_at FROM login_sessions")) == ABSOLUTE_LIMIT


@pytest.mark.parametrize(("site", "is_sent"), [("cross-site", False), ("same-site", False), ("none", True)])
def test_no_foreign_page_begins_a_login(
    provider: OidcProvider, stranger: FlaskClient, site: str, *, is_sent: bool
) -> None:
    answer = stranger.get("/single-sign-on?next=/account", headers={"Sec-Fetch-Site": site})
    assert answer.location.startswith(provider.issuer if is_sent else "/login?next=/account")


def test_a_person_with_an_authenticator_shows_its_code_here_too(
    provider: OidcProvider, stranger: FlaskClient, app: Flask, session: Session
) -> None:
    authenticator = give_authenticator(app, session, EMAIL)
    entered = stranger.get(come_by(provider, stranger, "/account"))
    assert entered.location == "/login/code?next=/account"
    assert submit(stranger, "/login/code", code=code_of(authenticator), next="/account").location == "/account"


def test_a_stranger_gets_no_account(provider: OidcProvider, stranger: FlaskClient, session: Session) -> None:
    provider.email = "mallory@example.org"
    answer = stranger.get(come_by(provider, stranger))
    assert answer.status_code == 401
    assert "mallory@example.org has no account here" in answer.text
    assert session.scalar(text("SELECT count(*) FROM users")) == 1


def test_an_account_stays_with_whom_it_was_opened_by_whatever_their_address_becomes(
    provider: OidcProvider, stranger: FlaskClient, app: Flask
) -> None:
    assert stranger.get(come_by(provider, stranger)).status_code == 303
    provider.email = "ann.married@example.org"
    browser = app.test_client()
    assert browser.get(come_by(provider, browser)).status_code == 303
    me = browser.get("/api/v1/me").get_json()
    assert me["email"] == EMAIL


def test_who_gets_a_leavers_address_does_not_get_the_leavers_account(
    provider: OidcProvider, stranger: FlaskClient, app: Flask, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stranger.get(come_by(provider, stranger)).status_code == 303
    provider.subject = "person-2"
    newcomer = app.test_client()
    answer = newcomer.get(come_by(provider, newcomer))
    assert answer.status_code == 401
    assert f"The account {EMAIL} belongs to somebody else at the single sign-on" in answer.text
    monkeypatch.setenv("METERHAUL_DATABASE_URL", database_url)
    assert main(["account", EMAIL, "--forget-single-sign-on"]) == 0
    assert newcomer.get(come_by(provider, newcomer)).status_code == 303
    assert stranger.get("/api/v1/me").status_code == 401


@pytest.mark.parametrize("subject", ["", 7, "x" * 256], ids=str)
def test_a_provider_that_does_not_say_who_came_opens_nothing(
    provider: OidcProvider, stranger: FlaskClient, subject: object
) -> None:
    vars(provider).update(subject=subject)
    assert stranger.get(come_by(provider, stranger)).status_code == 401


def test_a_disabled_account_stays_closed(provider: OidcProvider, stranger: FlaskClient, session: Session) -> None:
    session.execute(text("UPDATE users SET disabled_at = now()"))
    session.commit()
    assert stranger.get(come_by(provider, stranger)).status_code == 401


def drop(*names: str) -> Callable[[Claims], None]:
    def spoil(claims: Claims) -> None:
        for name in names:
            del claims[name]

    return spoil


LIES: dict[str, Callable[[OidcProvider], object]] = {
    "unverified address": lambda provider: vars(provider).update(is_verified=False),
    "verified in words alone": lambda provider: vars(provider).update(is_verified="true"),
    "no address": lambda provider: vars(provider).update(spoil=drop("email")),
    "wrong nonce": lambda provider: vars(provider).update(spoil=lambda claims: claims.update(nonce="another")),
    "no nonce": lambda provider: vars(provider).update(spoil=drop("nonce")),
    "wrong audience": lambda provider: vars(provider).update(spoil=lambda claims: claims.update(aud="another")),
    "audience of another, for us": lambda provider: vars(provider).update(
        spoil=lambda claims: claims.update(aud="another", azp=CLIENT_ID)
    ),
    "wrong issuer": lambda provider: vars(provider).update(
        spoil=lambda claims: claims.update(iss="https://other.example")
    ),
    "expired": lambda provider: vars(provider).update(spoil=lambda claims: claims.update(exp=int(time.time()) - 60)),
    "never expires": lambda provider: vars(provider).update(spoil=drop("exp")),
    "from the future": lambda provider: vars(provider).update(
        spoil=lambda claims: claims.update(iat=int(time.time()) + 600)
    ),
    "alg none": lambda provider: vars(provider).update(sign=provider.sign_unsigned),
    "alg none, announced": lambda provider: vars(provider).update(
        sign=provider.sign_unsigned, describe={"id_token_signing_alg_values_supported": ["none", "RS256"]}
    ),
    "signed by its public key": lambda provider: vars(provider).update(sign=provider.sign_with_public_key),
    "signed by its public key, announced": lambda provider: vars(provider).update(
        sign=provider.sign_with_public_key, describe={"id_token_signing_alg_values_supported": ["HS256", "RS256"]}
    ),
    "signed by another": lambda provider: vars(provider).update(sign=provider.sign_with_another_key),
    "no token at all": lambda provider: vars(provider).update(sign=lambda _: ""),
}


def test_no_lie_opens_anything(provider: OidcProvider, stranger: FlaskClient, app: Flask) -> None:
    truth, opened = dict(vars(provider)), {}
    for name, lie in LIES.items():
        lie(provider)
        meet(app, provider)
        answer = stranger.get(come_by(provider, stranger))
        if answer.status_code != 401 or "did not prove who you are" not in answer.text:
            opened[name] = answer.status_code
        vars(provider).update(truth)
    assert opened == {}
    assert stranger.get("/api/v1/me").status_code == 401


def test_an_answer_to_a_question_that_this_browser_never_asked_opens_nothing(
    provider: OidcProvider, stranger: FlaskClient, app: Flask
) -> None:
    back = come_by(provider, stranger)
    victim = app.test_client()
    assert victim.get(back).status_code == 401
    assert stranger.get(back.replace("state=", "state=x")).status_code == 401
    assert stranger.get("/single-sign-on/callback").status_code == 401
    assert stranger.get("/single-sign-on/callback?error=access_denied").status_code == 401
    assert stranger.get(back).status_code == 303
    # And none is good twice.
    assert app.test_client().get(back).status_code == 401


def test_a_code_without_its_verifier_is_worthless(provider: OidcProvider, stranger: FlaskClient, app: Flask) -> None:
    thief = app.test_client()
    stolen = come_by(provider, stranger).partition("code=")[2].partition("&")[0]
    own = come_by(provider, thief)
    own_code = own.partition("code=")[2].partition("&")[0]
    assert thief.get(own.replace(own_code, stolen)).status_code == 401


@pytest.mark.parametrize(
    "description",
    [{"issuer": "https://other.example"}, {"id_token_signing_alg_values_supported": ["none", "HS256"]}],
    ids=["of another issuer", "without a signature that proves anything"],
)
def test_a_description_that_is_not_safe_is_not_used(
    provider: OidcProvider, stranger: FlaskClient, description: Claims
) -> None:
    provider.describe = description
    answer = stranger.get("/single-sign-on")
    assert answer.status_code == 502
    assert "does not answer just now" in answer.text
    provider.describe = {}
    assert stranger.get(come_by(provider, stranger)).status_code == 303


def test_a_provider_that_is_away_leaves_the_password(app: Flask, stranger: FlaskClient) -> None:
    away = SingleSignOn(issuer="http://127.0.0.1:1", client_id=CLIENT_ID, client_secret=SecretStr(CLIENT_SECRET))
    set_up_single_sign_on(app, away)
    answer = stranger.get("/single-sign-on")
    assert answer.status_code == 502
    assert "log in with your password" in answer.text
    assert 'name="password"' in answer.text
