"""Service accounts: programs of an organisation, which act by tokens in their own name."""

from typing import Any

from browsing import counted_queries
from flask import Flask
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session
from token_factories import bearer, log_in_app, make_organisation, make_person, make_service, make_token
from werkzeug.test import TestResponse

from cloud_hub.access.models import CustomRole
from cloud_hub.access.permissions import Permission, Role
from cloud_hub.audit.models import AuditEvent
from cloud_hub.users.models import User

_SERVICES = "/api/v1/organisations/main/services"


class _Person:
    """Somebody who uses the API by an app."""

    def __init__(self, app: Flask, email: str = "kim@example.org") -> None:
        self.client = app.test_client()
        self.headers = bearer(log_in_app(self.client, email)["access_token"])

    def get(self, path: str) -> TestResponse:
        return self.client.get(path, headers=self.headers)

    def post(self, path: str, **body: Any) -> TestResponse:
        return self.client.post(path, headers=self.headers, json=body)

    def change(self, method: str, path: str, **body: Any) -> TestResponse:
        """Send a change of what was just got."""
        headers = self.headers | {"If-Match": self.get(path).headers.get("ETag", '"none"')}
        return self.client.open(path, method=method, headers=headers, json=body if method == "PATCH" else None)


def test_a_service_is_made_and_acts_by_its_token(app: Flask, session: Session) -> None:
    make_person(session)
    kim = _Person(app)
    made = kim.post(_SERVICES, name="billing", role="viewer")
    assert made.status_code == 201
    service = made.get_json()
    assert (service["role"], service["is_disabled"]) == ("viewer", False)
    answer = kim.post(f"/api/v1/services/{service['id']}/tokens", name="Nightly", permissions=["sites.read"])
    assert answer.status_code == 201
    token = answer.get_json()["token"]
    assert app.test_client().get("/api/v1/sites", headers=bearer(token)).status_code == 200
    assert app.test_client().get("/api/v1/tariffs", headers=bearer(token)).status_code == 403
    listed = kim.get(f"/api/v1/services/{service['id']}/tokens").get_json()["items"]
    assert [(one["name"], one["created_by"]) for one in listed] == [("Nightly", "kim@example.org")]
    actions = session.scalars(select(AuditEvent.action).order_by(AuditEvent.id)).all()
    assert actions == ["app_logged_in", "service_created", "token_created", "denied"]


def test_a_disabled_service_is_refused_at_once_and_acts_again_later(app: Flask, session: Session) -> None:
    make_person(session)
    service = make_service(session)
    _, token = make_token(session, service)
    kim, program, path = _Person(app), app.test_client(), f"/api/v1/services/{service.id}"
    for is_disabled, status in ((True, 401), (False, 200)):
        assert kim.change("PATCH", path, is_disabled=is_disabled).get_json()["is_disabled"] is is_disabled
        assert program.get("/api/v1/sites", headers=bearer(token)).status_code == status
    event = session.scalars(select(AuditEvent).where(AuditEvent.action == "service_changed")).first()
    assert event is not None
    assert (event.detail["before"]["disabled"], event.detail["after"]["disabled"]) == (False, True)


def test_a_deleted_service_is_gone_and_its_trail_stays(app: Flask, session: Session) -> None:
    make_person(session)
    service = make_service(session)
    _, token = make_token(session, service)
    kim = _Person(app)
    assert kim.change("DELETE", f"/api/v1/services/{service.id}").status_code == 204
    assert app.test_client().get("/api/v1/sites", headers=bearer(token)).status_code == 401
    assert kim.get(f"/api/v1/services/{service.id}").status_code == 404
    assert kim.get(_SERVICES).get_json()["items"] == []
    assert session.get(User, service.id) is not None
    assert kim.post(_SERVICES, name="billing", role="viewer").status_code == 201


def test_a_change_of_what_one_has_not_seen_is_refused(app: Flask, session: Session) -> None:
    make_person(session)
    path = f"/api/v1/services/{make_service(session).id}"
    kim = _Person(app)
    assert kim.client.patch(path, headers=kim.headers, json={"is_disabled": True}).status_code == 428
    seen = kim.headers | {"If-Match": kim.get(path).headers["ETag"]}
    assert kim.client.patch(path, headers=seen, json={"role": "viewer"}).status_code == 200
    assert kim.client.patch(path, headers=seen, json={"role": "admin"}).status_code == 412


def test_names_are_told_apart_within_an_organisation(app: Flask, session: Session) -> None:
    make_person(session)
    make_organisation(session, "below")
    make_service(session)
    kim = _Person(app)
    assert kim.post(_SERVICES, name="billing", role="viewer").status_code == 409
    assert kim.post("/api/v1/organisations/below/services", name="billing", role="viewer").status_code == 201


def test_a_custom_role_is_named_by_its_slug_the_nearest_one_first(app: Flask, session: Session) -> None:
    make_person(session)
    below = make_organisation(session, "below")
    session.add_all(
        [
            CustomRole(organisation_id=1, slug="reader", name="Reader", permissions=["sites.read"]),
            CustomRole(organisation_id=below.id, slug="reader", name="Reader", permissions=["readings.read"]),
        ]
    )
    session.commit()
    kim = _Person(app)
    made = kim.post("/api/v1/organisations/below/services", name="x", role="reader").get_json()
    assert made["role"] == "reader"
    path = f"/api/v1/services/{made['id']}/tokens"
    assert kim.post(path, name="t", permissions=["readings.read"]).status_code == 201
    beyond = kim.post(path, name="t", permissions=["sites.read"])
    assert beyond.status_code == 403
    assert "give it another role first" in beyond.get_json()["detail"]
    for role in ("installer", "custom", "nothing"):
        assert kim.post(_SERVICES, name="y", role=role).status_code == 422, role


def test_nobody_lends_themselves_more_by_a_service(app: Flask, session: Session) -> None:
    """A manager may make services; with an administrator's as well, they would be one."""
    make_person(session, role=Role.MANAGER)
    admin = make_service(session)
    path = f"/api/v1/services/{admin.id}"
    kim = _Person(app)
    assert kim.post(_SERVICES, name="mine", role="admin").status_code == 403
    refused = kim.post(f"{path}/tokens", name="t", permissions=["sites.read", "roles.write"])
    assert refused.status_code == 403
    assert "roles.write" in refused.get_json()["detail"]
    assert kim.post(f"{path}/tokens", name="t", permissions=["sites.read"]).status_code == 201
    assert kim.change("PATCH", path, role="viewer").status_code == 403
    assert kim.change("DELETE", path).status_code == 403
    viewer = make_service(session, "viewer", role=Role.VIEWER)
    assert kim.change("PATCH", f"/api/v1/services/{viewer.id}", role="admin").status_code == 403
    assert kim.change("PATCH", f"/api/v1/services/{viewer.id}", role="manager").status_code == 200


def test_a_token_that_makes_services_gives_them_no_more_than_itself(app: Flask, session: Session) -> None:
    _, token = make_token(session, make_service(session), [Permission.SERVICES_WRITE])
    answer = app.test_client().post(_SERVICES, headers=bearer(token), json={"name": "x", "role": "viewer"})
    assert answer.status_code == 403


def test_services_of_other_organisations_do_not_exist(app: Flask, session: Session) -> None:
    mine, theirs = make_organisation(session, "mine"), make_organisation(session, "theirs")
    make_person(session, organisation_id=mine.id)
    foreign = make_service(session, organisation_id=theirs.id)
    own = make_service(session, organisation_id=mine.id)
    token, _ = make_token(session, foreign)
    kim = _Person(app)
    assert kim.get("/api/v1/organisations/theirs/services").status_code == 404
    assert kim.get(f"/api/v1/services/{foreign.id}").status_code == 404
    assert kim.get(f"/api/v1/services/{foreign.id}/tokens").status_code == 404
    assert kim.post(f"/api/v1/services/{foreign.id}/tokens", name="t", permissions=["sites.read"]).status_code == 404
    for service in (foreign, own):
        path = f"/api/v1/services/{service.id}/tokens/{token.id}"
        assert kim.client.delete(path, headers=kim.headers).status_code == 404
    assert kim.get("/api/v1/organisations/mine/services").get_json()["items"][0]["id"] == own.id


def test_a_token_is_revoked_by_the_path_of_its_own_service(app: Flask, session: Session) -> None:
    make_person(session)
    one, other = make_service(session), make_service(session, "other")
    token, shown = make_token(session, one)
    kim, program = _Person(app), app.test_client()
    assert kim.client.delete(f"/api/v1/services/{other.id}/tokens/{token.id}", headers=kim.headers).status_code == 404
    assert program.get("/api/v1/sites", headers=bearer(shown)).status_code == 200
    assert kim.client.delete(f"/api/v1/services/{one.id}/tokens/{token.id}", headers=kim.headers).status_code == 204
    assert program.get("/api/v1/sites", headers=bearer(shown)).status_code == 401


def test_the_token_of_a_person_is_no_service_token(app: Flask, session: Session) -> None:
    kim_user = make_person(session)
    token, _ = make_token(session, kim_user)
    kim = _Person(app)
    service = make_service(session)
    assert kim.get(f"/api/v1/services/{kim_user.id}").status_code == 404
    path = f"/api/v1/services/{service.id}/tokens/{token.id}"
    assert kim.client.delete(path, headers=kim.headers).status_code == 404


def test_a_service_has_no_password_to_log_in_with(app: Flask, session: Session) -> None:
    make_service(session)
    answer = app.test_client().post("/api/v1/auth/token", json={"email": "service:billing", "password": ""})
    assert answer.status_code == 401


def test_lists_take_as_few_queries_for_many(app: Flask, session: Session, web_engine: Engine) -> None:
    make_person(session)
    kim = _Person(app)
    numbers = []
    for turn in range(2):
        for number in range(3):
            make_service(session, f"s{turn}{number}")
        with counted_queries(web_engine) as queries:
            assert len(kim.get(_SERVICES).get_json()["items"]) == 3 * (turn + 1)
        numbers.append(len(queries))
        session.execute(text("UPDATE tokens SET last_used_at = date_trunc('minute', now() + interval '1 minute')"))
        session.commit()
    assert numbers[1] <= numbers[0]
