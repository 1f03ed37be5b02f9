"""People make tokens for themselves, see them once, and revoke them: by the API and on the page."""

import re
from typing import Any

from browsing import EMAIL, counted_queries, form_token
from flask.testing import FlaskClient
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session
from token_factories import bearer, log_in_app, make_person, make_token
from werkzeug.test import TestResponse

from cloud_hub.access.permissions import Permission, Role
from cloud_hub.audit.models import AuditEvent
from cloud_hub.mail.models import OutgoingMail
from cloud_hub.tokens.models import Token
from cloud_hub.tokens.service import TOKENS_MAX
from cloud_hub.users.service import find_user_by_email

_TOKENS = "/api/v1/me/tokens"
_BODY: dict[str, Any] = {"name": "Report", "permissions": ["sites.read", "export"]}


def _make(client: FlaskClient, **changed: Any) -> TestResponse:
    return client.post(_TOKENS, json=_BODY | changed, headers={"X-CSRF-Token": form_token(client)})


def test_a_token_is_shown_once_and_kept_as_a_hash(client: FlaskClient, session: Session) -> None:
    answer = _make(client)
    made = answer.get_json()
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    listed = client.get(_TOKENS).get_json()["items"][0]
    assert "token" not in listed
    assert listed == {name: value for name, value in made.items() if name != "token"}
    assert made["token"].startswith(f"mh_{made['public_id']}_")
    row = session.execute(text("SELECT to_jsonb(t)::text FROM tokens t")).scalar_one()
    assert made["token"].rpartition("_")[2] not in row


def test_a_new_token_is_told_to_its_holder_and_to_the_audit_trail(client: FlaskClient, session: Session) -> None:
    made = _make(client).get_json()
    event = session.scalars(select(AuditEvent).where(AuditEvent.action == "token_created")).one()
    assert (event.who, event.detail["token"]) == (EMAIL, made["public_id"])
    assert event.detail["permissions"] == ["export", "sites.read"]
    letter = session.scalars(select(OutgoingMail)).one()
    assert letter.recipient == EMAIL
    for written in (letter.body, str(event.detail)):
        assert made["token"] not in written


def test_a_token_is_good_for_ninety_days_and_for_a_year_at_most(client: FlaskClient) -> None:
    assert _make(client).status_code == 201
    for days, status in ((365, 201), (366, 422), (0, 422)):
        assert _make(client, expires_in_days=days).status_code == status, days


def test_what_breaks_a_rule_is_refused(client: FlaskClient) -> None:
    for changed, status in (
        ({"name": ""}, 422),
        ({"name": "a\0b"}, 422),
        ({"name": "a\nb"}, 422),
        ({"permissions": []}, 422),
        ({"permissions": ["sites.fly"]}, 422),
        ({"organisation": "nowhere"}, 404),
        ({"expires_at": "2030-01-01"}, 422),
    ):
        assert _make(client, **changed).status_code == status, changed


def test_a_token_never_permits_more_than_its_holder(stranger: FlaskClient, session: Session) -> None:
    make_person(session, role=Role.VIEWER)
    login = bearer(log_in_app(stranger)["access_token"])
    refused = stranger.post(_TOKENS, headers=login, json=_BODY | {"permissions": ["sites.read", "sites.write"]})
    assert refused.status_code == 403
    assert "sites.write" in refused.get_json()["detail"]
    assert "sites.read" not in refused.get_json()["detail"]


def test_a_revoked_token_is_refused_at_once(client: FlaskClient, session: Session) -> None:
    made = _make(client).get_json()
    program = client.application.test_client()
    assert program.get("/api/v1/sites", headers=bearer(made["token"])).status_code == 200
    revoked = client.delete(f"{_TOKENS}/{made['id']}", headers={"X-CSRF-Token": form_token(client)})
    assert revoked.status_code == 204
    assert program.get("/api/v1/sites", headers=bearer(made["token"])).status_code == 401
    assert client.get(_TOKENS).get_json()["items"][0]["revoked_at"] is not None
    assert "token_revoked" in session.scalars(select(AuditEvent.action)).all()


def test_nobody_revokes_the_token_of_another(client: FlaskClient, session: Session) -> None:
    token, _ = make_token(session, make_person(session))
    answer = client.delete(f"{_TOKENS}/{token.id}", headers={"X-CSRF-Token": form_token(client)})
    assert answer.status_code == 404
    assert client.get(_TOKENS).get_json()["items"] == []


def test_nobody_has_tokens_without_end(client: FlaskClient, session: Session) -> None:
    user = find_user_by_email(session, EMAIL)
    assert user is not None
    for _ in range(TOKENS_MAX):
        make_token(session, user)
    assert _make(client).status_code == 409


def test_the_list_comes_in_parts_and_takes_as_few_queries_for_many(
    client: FlaskClient, session: Session, web_engine: Engine
) -> None:
    user = find_user_by_email(session, EMAIL)
    assert user is not None
    numbers = []
    for _ in range(2):
        for _ in range(3):
            make_token(session, user)
        with counted_queries(web_engine) as queries:
            client.get(_TOKENS)
        numbers.append(len(queries))
    assert numbers[0] == numbers[1]
    first = client.get(f"{_TOKENS}?limit=4").get_json()
    rest = client.get(f"{_TOKENS}?limit=4&cursor={first['next_cursor']}").get_json()
    assert (len(first["items"]), len(rest["items"]), rest["next_cursor"]) == (4, 2, None)


def test_the_page_shows_a_new_token_once(client: FlaskClient, session: Session) -> None:
    form = {
        "name": "<b>Report</b>",
        "permissions": ["sites.read"],
        "days": "30",
        "csrf_token": form_token(client),
    }
    made = client.post("/account/tokens", data=form)
    assert made.status_code == 201
    assert made.headers["Cache-Control"] == "no-store"
    found = re.search(r"mh_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", made.text)
    assert found is not None
    assert client.application.test_client().get("/api/v1/sites", headers=bearer(found[0])).status_code == 200
    again = client.get("/account/tokens")
    assert found[0] not in again.text
    assert "&lt;b&gt;Report" in again.text
    token = session.scalars(select(Token)).one()
    assert (token.expires_at - token.created_at).days == 30
    revoked = client.post(f"/account/tokens/{token.id}/revoke", data={"csrf_token": form_token(client)})
    assert revoked.location == "/account/tokens"
    assert "You have no token." in client.get("/account/tokens").text


def test_the_page_says_what_is_missing(client: FlaskClient) -> None:
    for changed, said in (({"name": " "}, "a name"), ({"permissions": []}, "at least one"), ({"days": "999"}, "365")):
        form = {"name": "X", "permissions": ["sites.read"], "days": "30", "csrf_token": form_token(client)} | changed
        answer = client.post("/account/tokens", data=form)
        assert answer.status_code == 422
        assert said in answer.text


def test_the_page_offers_what_one_may_and_explains_every_permission(client: FlaskClient) -> None:
    page = client.get("/account/tokens").text
    assert all(f'value="{permission}"' in page for permission in Permission)
