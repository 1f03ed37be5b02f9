"""A token in the Authorization header says who is asking, or the request is refused."""

from datetime import UTC, datetime, timedelta

from flask.testing import FlaskClient
from sqlalchemy import select, text
from sqlalchemy.orm import Session
from token_factories import bearer, find_token, log_in_app, make_organisation, make_person, make_service, make_token

from cloud_hub.access.permissions import Permission, Role
from cloud_hub.audit.models import AuditEvent
from cloud_hub.mail.models import OutgoingMail
from cloud_hub.registry.models import Site

_SITES = "/api/v1/sites"


def _statuses(client: FlaskClient, token: str) -> int:
    return client.get(_SITES, headers=bearer(token)).status_code


def test_an_api_token_lets_a_program_in_as_its_holder(stranger: FlaskClient, session: Session) -> None:
    _, token = make_token(session, make_person(session))
    assert stranger.get(_SITES).status_code == 401
    assert _statuses(stranger, token) == 200
    assert "Set-Cookie" not in stranger.get(_SITES, headers=bearer(token)).headers


def test_a_token_permits_what_it_says_and_no_more(stranger: FlaskClient, session: Session) -> None:
    _, token = make_token(session, make_person(session), [Permission.SITES_READ])
    answer = stranger.get("/api/v1/tariffs", headers=bearer(token))
    assert answer.status_code == 403
    assert "tariffs.read" in answer.get_json()["detail"]


def test_a_token_permits_no_more_than_its_holder_may_by_now(stranger: FlaskClient, session: Session) -> None:
    user = make_person(session)
    _, token = make_token(session, user)
    assert _statuses(stranger, token) == 200
    session.execute(text("DELETE FROM memberships WHERE user_id = :id"), {"id": user.id})
    session.commit()
    assert _statuses(stranger, token) == 403


def test_a_token_limited_to_an_organisation_shows_nothing_else(stranger: FlaskClient, session: Session) -> None:
    below = make_organisation(session, "below")
    session.add_all(
        [Site(slug="here", name="Here", organisation_id=below.id), Site(slug="there", name="There", organisation_id=1)]
    )
    _, token = make_token(session, make_person(session), organisation="below")
    sites = stranger.get(_SITES, headers=bearer(token)).get_json()["items"]
    assert [site["slug"] for site in sites] == ["here"]
    assert stranger.get(f"{_SITES}/there", headers=bearer(token)).status_code == 404


def test_a_wrong_token_is_never_made_good_by_a_cookie(client: FlaskClient) -> None:
    assert client.get(_SITES).status_code == 200
    answer = client.get(_SITES, headers=bearer("mh_0123456789ab_" + "x" * 43))
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert answer.www_authenticate.parameters["error"] == "invalid_token"
    assert answer.content_type == "application/problem+json"


def test_what_is_no_token_is_refused(stranger: FlaskClient) -> None:
    for given in ("", "x", "mh_", "a.b.c", "mhr_" + "x" * 43, "\xe9", "x" * 9000):
        assert _statuses(stranger, given) == 401, given


def test_who_sends_nothing_is_told_how_to_prove_themselves(stranger: FlaskClient) -> None:
    assert stranger.get(_SITES).headers["WWW-Authenticate"] == "Bearer"


def test_the_right_name_with_another_secret_is_refused(stranger: FlaskClient, session: Session) -> None:
    user = make_person(session)
    _, first = make_token(session, user)
    _, second = make_token(session, user)
    mixed = first[:16] + second[16:]
    assert len(mixed) == len(first)
    assert _statuses(stranger, mixed) == 401


def test_a_token_ends_when_it_expires(stranger: FlaskClient, session: Session) -> None:
    user = make_person(session)
    _, old = make_token(session, user, days=1, now=datetime.now(UTC) - timedelta(days=1, seconds=1))
    assert _statuses(stranger, old) == 401


def test_a_token_ends_when_its_account_is_disabled(stranger: FlaskClient, session: Session) -> None:
    user = make_person(session)
    _, token = make_token(session, user)
    pair = log_in_app(stranger)
    assert _statuses(stranger, token) == _statuses(stranger, pair["access_token"]) == 200
    user.disabled_at = datetime.now(UTC)
    session.commit()
    assert _statuses(stranger, token) == _statuses(stranger, pair["access_token"]) == 401


def test_the_last_use_is_seen_to_the_minute(stranger: FlaskClient, session: Session) -> None:
    _, token = make_token(session, make_person(session))
    assert find_token(session, token).last_used_at is None
    stranger.get(_SITES, headers=bearer(token), environ_overrides={"REMOTE_ADDR": "192.0.2.7"})
    used = find_token(session, token)
    assert used.last_used_from == "192.0.2.7"
    assert used.last_used_at is not None
    assert (used.last_used_at.second, used.last_used_at.microsecond) == (0, 0)


def test_the_last_use_is_seen_of_a_request_that_failed(stranger: FlaskClient, session: Session) -> None:
    _, token = make_token(session, make_person(session))
    assert stranger.get("/api/v1/tariffs", headers=bearer(token)).status_code == 403
    assert find_token(session, token).last_used_at is not None


def test_a_program_needs_no_token_of_a_form(stranger: FlaskClient, session: Session) -> None:
    user = make_person(session)
    _, token = make_token(session, user, [Permission.TARIFFS_WRITE, Permission.TARIFFS_READ])
    answer = stranger.post("/api/v1/tariffs", headers=bearer(token), json={})
    assert answer.status_code == 422  # it came as far as the body


def test_a_cookie_still_needs_it(client: FlaskClient) -> None:
    assert client.post("/api/v1/me/tokens", json={}).status_code == 400


def test_a_token_opens_no_pages(stranger: FlaskClient, session: Session) -> None:
    _, token = make_token(session, make_person(session))
    assert stranger.get("/", headers=bearer(token)).status_code == 302


def test_another_scheme_is_not_ours_to_judge(client: FlaskClient) -> None:
    assert client.get(_SITES, headers={"Authorization": "Basic dXNlcjpwYXNz"}).status_code == 200


def test_a_token_in_an_address_is_refused(stranger: FlaskClient, session: Session) -> None:
    _, token = make_token(session, make_person(session))
    for path in (f"{_SITES}?site={token}", f"{_SITES}?access_token=x", f"/login?next=/?t={token}"):
        answer = stranger.get(path, headers=bearer(token))
        assert answer.status_code == 400
        assert "Authorization header" in answer.text
        assert token not in answer.text


def test_an_api_token_cannot_change_its_holders_account(stranger: FlaskClient, session: Session) -> None:
    _, token = make_token(session, make_person(session), list(Permission))
    body = {"name": "Another", "permissions": ["sites.read"]}
    answer = stranger.post("/api/v1/me/tokens", headers=bearer(token), json=body)
    assert answer.status_code == 403
    assert "log in" in answer.get_json()["detail"]
    assert session.scalars(select(AuditEvent.action)).all() == ["denied"]
    assert stranger.get("/api/v1/me/tokens", headers=bearer(token)).status_code == 200


def test_a_service_says_on_whose_behalf_it_acts(stranger: FlaskClient, session: Session) -> None:
    service = make_service(session)
    _, token = make_token(session, service, [Permission.SERVICES_WRITE, Permission.SITES_READ])
    headers = bearer(token) | {"Meterhaul-On-Behalf-Of": "Jürgen, accounts".encode().decode("latin-1")}
    path = "/api/v1/organisations/main/services"
    made = stranger.post(path, headers=headers, json={"name": "reader", "role": "viewer"})
    assert made.status_code == 403  # it may not do itself all that a viewer may
    held = next(iter(stranger.get(path, headers=headers).get_json()["items"]))
    denied = session.scalars(select(AuditEvent).where(AuditEvent.action == "denied")).all()
    assert held["name"] == "billing"
    assert [(event.who, event.on_behalf_of) for event in denied] == [("service:billing", "Jürgen, accounts")]


def test_a_name_that_is_none_is_refused(stranger: FlaskClient, session: Session) -> None:
    _, token = make_token(session, make_service(session))
    for name in ("x" * 255, "a\tb", "\xff\xfe"):
        answer = stranger.get(_SITES, headers=bearer(token) | {"Meterhaul-On-Behalf-Of": name})
        assert answer.status_code == 400, name


def test_a_person_acts_for_themselves(stranger: FlaskClient, session: Session) -> None:
    _, token = make_token(session, make_person(session))
    answer = stranger.get(_SITES, headers=bearer(token) | {"Meterhaul-On-Behalf-Of": "Somebody"})
    assert answer.status_code == 400
    assert "service accounts" in answer.get_json()["detail"]


def test_somebody_limited_to_sites_may_have_a_token_too(stranger: FlaskClient, session: Session) -> None:
    site = Site(slug="here", name="Here", organisation_id=1)
    session.add_all([site, Site(slug="there", name="There", organisation_id=1)])
    session.flush()
    make_person(session, role=Role.INSTALLER, sites=[site.id])
    login = bearer(log_in_app(stranger)["access_token"])
    made = stranger.post("/api/v1/me/tokens", headers=login, json={"name": "Van", "permissions": ["sites.read"]})
    assert made.status_code == 201
    sites = stranger.get(_SITES, headers=bearer(made.get_json()["token"])).get_json()["items"]
    assert [one["slug"] for one in sites] == ["here"]
    assert session.scalars(select(OutgoingMail.recipient)).all() == ["kim@example.org"]
