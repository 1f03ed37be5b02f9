"""Creations of people: what they need, how far they are, and what undoes them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from people_crashes import LOCKER, LOCKER_TABLES, hand_out_keys
from people_factories import (
    PASSWORD,
    Browser,
    Tree,
    add_membership,
    add_person,
    add_tree,
    letters_to,
    link_in,
)
from sqlalchemy import Engine, select, text, update
from sqlalchemy.orm import Session

from cloud_hub.access.models import CustomRole, Membership
from cloud_hub.access.permissions import Role
from cloud_hub.mail.models import OutgoingMail
from cloud_hub.people import saga
from cloud_hub.people.completing import complete_creations
from cloud_hub.people.models import Invitation, PersonCreation
from cloud_hub.users.models import User

NEW = "new@example.org"
PATH = "/organisations/customer/people"


@pytest.fixture
def tree(session: Session, engine: Engine) -> Tree:
    """Organisations, the reseller with an admin."""
    tree = add_tree(session)
    add_person(session, "admin@example.org", tree.reseller.id)
    session.commit()
    with engine.begin() as connection:
        connection.exec_driver_sql(LOCKER_TABLES)
    return tree


@pytest.fixture
def _locker() -> Iterator[None]:
    """Let creations have a step."""
    saga.add_step(LOCKER)
    yield
    saga._steps.pop(LOCKER.name)


@pytest.fixture
def admin(app: Flask, tree: Tree, _locker: None) -> Browser:  # noqa: ARG001 - the tree has the admin
    """An admin of the reseller, logged in."""
    return Browser(app, "admin@example.org")


def _create(browser: Browser, **more: Any) -> dict[str, Any]:
    answer = browser.post(PATH, {"email": NEW, "role": "viewer", **more})
    assert answer.status_code == 201, answer.get_json()
    shown: dict[str, Any] = answer.get_json()
    return shown


def _accept(app: Flask, session: Session) -> None:
    link = link_in(letters_to(session, NEW)[-1])
    assert Browser(app).send_form(link, name="N", password=PASSWORD, again=PASSWORD).status_code == 200


def test_a_person_is_active_once_they_accepted_and_all_is_done(
    app: Flask, session: Session, engine: Engine, admin: Browser
) -> None:
    shown = _create(admin, steps={"locker": {"number": 7}})
    assert (shown["state"], shown["steps"], shown["shown_once"]) == (
        "pending",
        ["locker"],
        {"locker": {"code": "0815"}},
    )
    path = f"{PATH}/{shown['id']}"
    assert "shown_once" not in admin.get(path).get_json()
    complete_creations(engine)
    hand_out_keys(engine)
    complete_creations(engine)
    assert admin.get(path).get_json()["state"] == "pending"
    _accept(app, session)
    complete_creations(engine)
    person = admin.get(path).get_json()
    assert (person["state"], person["reason"], person["invitation"]["state"]) == ("active", None, "accepted")
    assert person["finished_at"] is not None


def test_a_repeated_request_creates_one_person(session: Session, admin: Browser) -> None:
    body = {"email": NEW, "role": "viewer", "steps": {"locker": {}}}
    headers = {"X-CSRF-Token": admin._token, "Idempotency-Key": "once"}
    first, again = (admin.client.post(f"/api/v1{PATH}", json=body, headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 409)
    assert "was shown then" in again.get_json()["detail"]
    assert len(session.scalars(select(PersonCreation.id)).all()) == 1
    assert admin.post(PATH, body).status_code == 409


def test_a_step_that_refuses_leaves_nothing_behind(session: Session, admin: Browser) -> None:
    refusals: list[dict[str, dict[str, Any]]]
    refusals = [{"locker": {"number": "many"}}, {"locker": {"size": 3}}, {"fridge": {}}]
    for steps in refusals:
        refused = admin.post(PATH, {"email": NEW, "role": "viewer", "steps": steps})
        assert refused.status_code == 422, steps
        assert "steps: " in refused.get_json()["detail"]
    assert session.scalars(select(Invitation.id)).all() == []
    assert session.scalars(select(OutgoingMail.id)).all() == []


def test_a_step_takes_its_own_permission(app: Flask, session: Session, admin: Browser, tree: Tree) -> None:
    words = ["people.read", "people.write", "sites.read"]
    role = CustomRole(organisation_id=tree.customer.id, slug="p", name="P", permissions=words)
    session.add(role)
    session.flush()
    add_person(session, "little@example.org", tree.customer.id, Role.CUSTOM, role_id=role.id)
    own = CustomRole(organisation_id=tree.customer.id, slug="s", name="S", permissions=["sites.read"])
    session.add(own)
    session.commit()
    little = Browser(app, "little@example.org")
    body = {"email": NEW, "role": "custom", "role_id": own.id}
    refused = little.post(PATH, {**body, "steps": {"locker": {}}})
    assert refused.status_code == 403
    assert "services.write" in refused.get_json()["detail"]
    assert little.post(PATH, body).status_code == 201
    assert admin.get("/organisations/customer/people/999").status_code == 404


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            update(Invitation).values(expires_at=datetime.now(UTC) - timedelta(hours=1)),
            "the invitation was not accepted",
        ),
        (
            update(OutgoingMail).values(
                given_up_at=datetime.now(UTC), problem="the mail server answered 550 no such user"
            ),
            "the letter to new@example.org could not be delivered: the mail server answered 550 no such user",
        ),
        (text("UPDATE lockers SET is_refused = true"), "locker: there is no such locker"),
        (text("UPDATE organisations SET archived_at = now() WHERE slug = 'customer'"), "the organisation 'customer'"),
    ],
    ids=["expired", "undeliverable", "refused step", "archived"],
)
def test_what_cannot_be_complete_is_undone_and_says_why(
    session: Session, engine: Engine, admin: Browser, change: Any, reason: str
) -> None:
    shown = _create(admin, steps={"locker": {}})
    hand_out_keys(engine)
    session.execute(change)
    session.commit()
    complete_creations(engine)
    hand_out_keys(engine)
    person = admin.get(f"{PATH}/{shown['id']}").get_json()
    assert person["state"] == "failed"
    assert person["reason"].startswith(reason)
    assert person["invitation"]["state"] == "revoked"
    for table in ("lockers", "locker_keys"):
        assert session.scalar(text(f"SELECT count(*) FROM {table}")) == 0
    assert session.scalar(select(OutgoingMail.body)) == ""


def test_whoever_is_revoked_is_undone(session: Session, engine: Engine, admin: Browser) -> None:
    shown = _create(admin, steps={"locker": {}})
    invitation = shown["invitation"]["id"]
    assert admin.delete(f"/organisations/customer/invitations/{invitation}").status_code == 204
    complete_creations(engine)
    person = admin.get(f"{PATH}/{shown['id']}").get_json()
    assert (person["state"], person["reason"]) == ("failed", "the invitation was revoked")
    assert session.scalar(text("SELECT count(*) FROM lockers")) == 0
    assert _create(admin)["state"] == "pending"


def test_an_account_from_before_survives_the_undoing(
    app: Flask, session: Session, engine: Engine, admin: Browser, tree: Tree
) -> None:
    """What was there before is none of the creation's: the account, and what it is elsewhere."""
    known = add_person(session, NEW, tree.other.id, Role.VIEWER)
    session.commit()
    _create(admin, steps={"locker": {}})
    link = link_in(letters_to(session, NEW)[0])
    assert Browser(app, NEW).send_form(link).status_code == 303
    session.execute(text("UPDATE lockers SET is_refused = true"))
    session.commit()
    complete_creations(engine)
    assert session.scalars(select(PersonCreation.state)).one() == "failed"
    rows = session.execute(select(Membership.organisation_id).where(Membership.user_id == known.id)).scalars().all()
    assert rows == [tree.other.id]


def test_an_account_that_belongs_elsewhere_meanwhile_is_kept(
    app: Flask, session: Session, engine: Engine, admin: Browser, tree: Tree
) -> None:
    _create(admin, steps={"locker": {}})
    _accept(app, session)
    user_id = session.scalars(select(User.id).where(User.email == NEW)).one()
    add_membership(session, user_id, tree.other.id, Role.VIEWER)
    session.execute(text("UPDATE lockers SET is_refused = true"))
    session.commit()
    complete_creations(engine)
    rows = session.scalars(select(Membership.organisation_id).where(Membership.user_id == user_id)).all()
    assert rows == [tree.other.id]


def test_one_that_stumbles_does_not_keep_the_others_waiting(
    app: Flask, session: Session, engine: Engine, admin: Browser
) -> None:
    _create(admin, steps={"locker": {}})
    session.execute(text("ALTER TABLE lockers RENAME TO hidden"))  # the step fails unforeseen
    session.commit()
    second = _create(admin, email="second@example.org")
    link = link_in(letters_to(session, "second@example.org")[0])
    assert Browser(app).send_form(link, name="S", password=PASSWORD, again=PASSWORD).status_code == 200
    complete_creations(engine)
    assert admin.get(f"{PATH}/{second['id']}").get_json()["state"] == "active"
