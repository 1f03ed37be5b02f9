"""Broker logins by the API: the password once, an audit trail, and nobody else's."""

from typing import Any

import pytest
from browsing import form_token
from flask.testing import FlaskClient
from live_factories import add_login, add_organisation, add_service
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from cloud_hub.audit.models import AuditEvent
from cloud_hub.organisations.models import Organisation
from cloud_hub.subscribers.models import SubscriberLogin

PATH = "/api/v1/organisations/acme/subscribers"


@pytest.fixture
def acme(session: Session) -> Organisation:
    acme = add_organisation(session, "acme")
    session.commit()
    return acme


def create(client: FlaskClient, session: Session, acme: Organisation, **changes: Any) -> Any:
    service = add_service(session, acme)
    session.commit()
    return client.post(PATH, json={"name": "plant", "service_id": service.id} | changes, headers=_csrf(client))


def _csrf(client: FlaskClient) -> dict[str, str]:
    return {"X-CSRF-Token": form_token(client)}


def read(client: FlaskClient, path: str) -> Any:
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.json


def test_login_is_made_with_its_password_once(client: FlaskClient, session: Session, acme: Organisation) -> None:
    answer = create(client, session, acme)
    assert answer.status_code == 201
    made = answer.json
    assert made["username"] == "plant@acme"
    assert made["filters"] == ["meterhaul/live/v1/acme/#", "meterhaul/events/v1/acme/#"]
    assert len(made["password"]) >= 32

    listed = read(client, PATH)["items"]
    assert [one["username"] for one in listed] == ["plant@acme"]
    assert read(client, f"{PATH}/{made['id']}") == listed[0]
    stored = session.scalars(select(SubscriberLogin)).one()
    assert stored.password_hash.startswith("$7$")
    assert "password" not in listed[0]
    trail = session.scalars(select(AuditEvent).where(AuditEvent.subject == f"subscriber:{made['id']}")).one()
    assert (trail.action, trail.detail["username"]) == ("subscriber_created", "plant@acme")
    assert made["password"] not in str(trail.detail)


def test_rotation_gives_another_password(client: FlaskClient, session: Session, acme: Organisation) -> None:
    made = create(client, session, acme).json
    before = session.scalar(select(SubscriberLogin.password_hash))
    answer = client.post(f"{PATH}/{made['id']}/rotate", headers=_csrf(client))
    session.rollback()
    assert answer.status_code == 200
    assert answer.get_json()["password"] != made["password"]
    assert session.scalar(select(SubscriberLogin.password_hash)) != before


def test_deleted_login_is_gone(client: FlaskClient, session: Session, acme: Organisation) -> None:
    made = create(client, session, acme).json
    assert client.delete(f"{PATH}/{made['id']}", headers=_csrf(client)).status_code == 204
    assert read(client, PATH)["items"] == []
    assert client.delete(f"{PATH}/{made['id']}", headers=_csrf(client)).status_code == 404


def test_name_is_taken_once(client: FlaskClient, session: Session, acme: Organisation) -> None:
    assert create(client, session, acme).status_code == 201
    answer = create(client, session, acme)
    assert answer.status_code == 409
    assert "'plant@acme'" in answer.json["detail"]


def test_name_that_cannot_be_is_refused(client: FlaskClient, session: Session, acme: Organisation) -> None:
    for name in ("Plant", "a b", "a:b", "a@b", "#", "a/b"):
        answer = create(client, session, acme, name=name)
        assert (answer.status_code, "is not a valid id" in answer.json["detail"]) == (422, True)


def test_account_must_be_a_service_of_that_organisation(
    client: FlaskClient, session: Session, acme: Organisation
) -> None:
    beta = add_organisation(session, "beta")
    theirs = add_service(session, beta)
    session.commit()
    assert create(client, session, acme, service_id=theirs.id).status_code == 422
    person = session.scalar(text("SELECT id FROM users WHERE kind = 'person'"))
    assert create(client, session, acme, service_id=person).status_code == 404


def test_login_of_another_organisation_is_not_found_below_this_one(
    client: FlaskClient, session: Session, acme: Organisation
) -> None:
    theirs = add_login(session, add_organisation(session, "beta", acme.id)).login
    session.commit()
    assert client.get(f"{PATH}/{theirs.id}").status_code == 404
    assert client.post(f"{PATH}/{theirs.id}/rotate", headers=_csrf(client)).status_code == 404


def test_list_has_pages(client: FlaskClient, session: Session, acme: Organisation) -> None:
    for number in range(3):
        add_login(session, acme, f"plant-{number}")
    session.commit()
    first = read(client, f"{PATH}?limit=2")
    second = read(client, f"{PATH}?limit=2&cursor={first['next_cursor']}")
    assert [one["name"] for one in first["items"] + second["items"]] == ["plant-0", "plant-1", "plant-2"]
    assert second["next_cursor"] is None


def test_nobody_sees_logins_without_the_right(stranger: FlaskClient, acme: Organisation) -> None:
    assert acme.slug in PATH
    assert stranger.get(PATH).status_code == 401
