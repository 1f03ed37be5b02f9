"""Invitations: by mail, once, for a while; accepted with a new account or with the one that one has."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from browsing import counted_queries
from flask import Flask
from people_factories import (
    PASSWORD,
    Browser,
    Tree,
    add_membership,
    add_person,
    add_site_of,
    add_tree,
    letters_to,
    link_in,
)
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from cloud_hub.access.models import CustomRole, Membership, MembershipSite
from cloud_hub.access.permissions import Role
from cloud_hub.audit.models import AuditEvent
from cloud_hub.mail.models import OutgoingMail
from cloud_hub.people.invitations import hash_token
from cloud_hub.people.models import Invitation
from cloud_hub.users.models import User

NEW = "new@example.org"
PATH = "/organisations/customer/invitations"


@pytest.fixture
def tree(session: Session) -> Tree:
    """Organisations, the reseller with a manager."""
    tree = add_tree(session)
    add_person(session, "manager@example.org", tree.reseller.id, Role.MANAGER)
    session.commit()
    return tree


@pytest.fixture
def manager(app: Flask, tree: Tree) -> Browser:  # noqa: ARG001 - the tree has the manager
    """A manager of the reseller, logged in."""
    return Browser(app, "manager@example.org")


def _invite(browser: Browser, email: str = NEW, path: str = PATH, **more: Any) -> dict[str, Any]:
    answer = browser.post(path, {"email": email, "role": "viewer", **more})
    assert answer.status_code == 201, answer.get_json()
    shown: dict[str, Any] = answer.get_json()
    return shown


def _accept(browser: Browser, link: str, **more: str) -> int:
    return browser.send_form(link, name="Nell", password=PASSWORD, again=PASSWORD, **more).status_code


def _memberships(session: Session, email: str) -> list[tuple[int, str]]:
    query = select(Membership.organisation_id, Membership.role).join(User, User.id == Membership.user_id)
    rows = session.execute(query.where(User.email == email).order_by(Membership.organisation_id))
    return [(row.organisation_id, row.role) for row in rows]


def test_an_invitation_makes_an_account_and_works_once(
    app: Flask, session: Session, manager: Browser, tree: Tree
) -> None:
    site = add_site_of(session, tree.customer.id, "hut")
    session.commit()
    shown = _invite(manager, "New@Example.org", role="installer", sites=["hut"], name="Nell")
    assert (shown["email"], shown["state"], shown["sites"]) == (NEW, "open", ["customer:hut"])
    (letter,) = letters_to(session, NEW)
    link, stranger = link_in(letter), Browser(app)
    assert "Hello Nell," in letter.body
    page = stranger.client.get(link)
    assert page.status_code == 200
    assert "New password" in page.get_data(as_text=True)
    assert _accept(stranger, link) == 200
    assert _memberships(session, NEW) == [(tree.customer.id, "installer")]
    assert session.scalars(select(MembershipSite.site_id)).all() == [site.id]
    assert stranger.client.get(link).status_code == 404
    assert _accept(stranger, link) == 404
    assert Browser(app, NEW).get("/sites/hut").status_code == 200
    (listed,) = manager.get(PATH).get_json()["items"]
    assert listed["state"] == "accepted"
    actions = session.scalars(select(AuditEvent.action).where(AuditEvent.who == NEW)).all()
    assert set(actions) >= {"member_added", "invitation_accepted"}


def test_only_the_letter_holds_the_token(session: Session, manager: Browser) -> None:
    shown = _invite(manager)
    token = link_in(letters_to(session, NEW)[0]).rpartition("/")[2]
    assert len(token) >= 43  # 256 bits
    assert token not in str(shown)
    invitation = session.scalars(select(Invitation)).one()
    assert invitation.token_hash == hash_token(token)
    lasts = invitation.expires_at - datetime.now(UTC)
    assert timedelta(days=6, hours=23) < lasts <= timedelta(days=7)
    details = [event.detail for event in session.scalars(select(AuditEvent))]
    assert token not in str(details)


def test_nothing_tells_whether_an_address_has_an_account(
    session: Session, manager: Browser, tree: Tree, web_engine: Engine
) -> None:
    add_person(session, "known@example.org", tree.other.id)
    session.commit()
    _invite(manager, "warm@example.org")
    answers, letters, statements = [], [], []
    for email in ("known@example.org", "fresh@example.org"):
        with counted_queries(web_engine) as counted:
            answers.append(_invite(manager, email))
        statements.append([one.split(" RETURNING")[0] for one in counted])
        (letter,) = letters_to(session, email)
        letters.append(letter.body.replace(link_in(letter), "LINK"))
    differing = {"id", "email", "expires_at", "created_at"}
    known, fresh = ({k: v for k, v in answer.items() if k not in differing} for answer in answers)
    assert known == fresh
    assert letters[0].splitlines()[:5] == letters[1].splitlines()[:5]
    assert statements[0] == statements[1]


def test_an_account_joins_by_its_login_alone(app: Flask, session: Session, manager: Browser, tree: Tree) -> None:
    add_person(session, "known@example.org", tree.other.id, Role.VIEWER)
    session.commit()
    _invite(manager, "known@example.org", role="technician")
    link = link_in(letters_to(session, "known@example.org")[0])
    stranger = Browser(app)
    page = stranger.client.get(link).get_data(as_text=True)
    assert "Log in to accept" in page
    assert "New password" not in page
    assert _accept(stranger, link) == 422
    someone = Browser(app, "manager@example.org")
    assert "You are logged in as manager@example.org" in someone.client.get(link).get_data(as_text=True)
    assert someone.send_form(link).status_code == 422
    assert _memberships(session, "known@example.org") == [(tree.other.id, "viewer")]
    known = Browser(app, "known@example.org")
    assert known.send_form(link).status_code == 303
    session.expire_all()
    assert _memberships(session, "known@example.org") == [(tree.customer.id, "technician"), (tree.other.id, "viewer")]


def test_somebody_invited_twice_has_one_account(app: Flask, session: Session, manager: Browser, tree: Tree) -> None:
    _invite(manager)
    _invite(manager, path="/organisations/neighbour/invitations")
    first, second = (link_in(letter) for letter in letters_to(session, NEW))
    assert _accept(Browser(app), first) == 200
    assert _accept(Browser(app), second) == 422
    assert Browser(app, NEW).send_form(second).status_code == 303
    assert session.scalar(select(func.count()).select_from(User).where(User.email == NEW)) == 1
    assert [organisation for organisation, _ in _memberships(session, NEW)] == [tree.customer.id, tree.neighbour.id]


def test_a_password_must_be_one(app: Flask, session: Session, manager: Browser) -> None:
    _invite(manager)
    link, stranger = link_in(letters_to(session, NEW)[0]), Browser(app)
    short = stranger.send_form(link, name="Nell", password="short", again="short")
    assert short.status_code == 422
    assert "a password has 10 to 256 characters" in short.get_data(as_text=True)
    differing = stranger.send_form(link, name="Nell", password=PASSWORD, again=PASSWORD + "!")
    assert "The two passwords are not the same" in differing.get_data(as_text=True)
    assert stranger.client.post(link, data={"password": PASSWORD, "again": PASSWORD}).status_code == 400
    assert session.scalars(select(User).where(User.email == NEW)).all() == []
    assert _accept(stranger, link) == 200


def test_a_password_is_not_made_of_what_the_invitation_says(app: Flask, session: Session, manager: Browser) -> None:
    _invite(manager, name="Wilhelmina Featherstone")
    link, stranger = link_in(letters_to(session, NEW)[0]), Browser(app)
    for name, password in (
        ("", "wilhelmina-featherstone-1"),
        ("Ottilie Grauvogel", "grauvogel.ottilie!7"),
        ("", NEW + "1"),
    ):
        refused = stranger.send_form(link, name=name, password=password, again=password)
        assert refused.status_code == 422, password
        assert "it is among those that are tried first" in refused.get_data(as_text=True)
    assert session.scalars(select(User).where(User.email == NEW)).all() == []


def test_what_is_sent_again_replaces_the_link_before(app: Flask, session: Session, manager: Browser) -> None:
    shown = _invite(manager)
    path = f"{PATH}/{shown['id']}"
    assert manager.post(f"{path}/resend", {"lasts_days": 30}).status_code == 200
    first, second = (link_in(letter) for letter in letters_to(session, NEW))
    assert Browser(app).client.get(first).status_code == 404
    assert Browser(app).client.get(second).status_code == 200
    assert manager.delete(path).status_code == 204
    assert Browser(app).client.get(second).status_code == 404
    assert _accept(Browser(app), second) == 404
    assert manager.get(path).get_json()["state"] == "revoked"
    assert manager.post(f"{path}/resend", {}).status_code == 409
    assert manager.delete(path).status_code == 409


def test_an_invitation_ends_by_itself_and_another_can_follow(app: Flask, session: Session, manager: Browser) -> None:
    shown = _invite(manager)
    assert manager.post(PATH, {"email": NEW, "role": "viewer"}).status_code == 409
    link = link_in(letters_to(session, NEW)[0])
    session.scalars(select(Invitation)).one().expires_at = datetime.now(UTC) - timedelta(seconds=1)
    session.commit()
    assert Browser(app).client.get(link).status_code == 404
    assert _accept(Browser(app), link) == 404
    assert manager.get(f"{PATH}/{shown['id']}").get_json()["state"] == "expired"
    _invite(manager)
    assert [one["state"] for one in manager.get(PATH).get_json()["items"]] == ["revoked", "open"]


def test_members_are_not_invited(session: Session, manager: Browser, tree: Tree) -> None:
    add_person(session, NEW, tree.customer.id)
    session.commit()
    refused = manager.post(PATH, {"email": NEW.upper(), "role": "viewer"})
    assert refused.status_code == 409
    assert refused.get_json()["detail"].startswith("new@example.org belongs to 'customer' already")


@pytest.mark.parametrize(
    "email", ["nobody", "a@b@c", "a b@example.org", "a@example.org\nBcc: x@y", "", "@x", "a" * 255]
)
def test_an_address_must_be_one(manager: Browser, session: Session, email: str) -> None:
    assert manager.post(PATH, {"email": email, "role": "viewer"}).status_code == 422
    assert session.scalars(select(OutgoingMail)).all() == []


def test_others_cannot_see_or_touch_an_invitation(app: Flask, session: Session, manager: Browser, tree: Tree) -> None:
    add_person(session, "other@example.org", tree.other.id)
    add_person(session, "neighbour@example.org", tree.neighbour.id)
    role = CustomRole(organisation_id=tree.customer.id, slug="p", name="P", permissions=["people.read", "people.write"])
    session.add(role)
    session.flush()
    add_person(session, "little@example.org", tree.customer.id, Role.CUSTOM, role_id=role.id)
    session.commit()
    shown = _invite(manager, role="technician")
    other = Browser(app, "other@example.org")
    assert other.get(f"{PATH}/{shown['id']}").status_code == 404
    assert other.get(f"/organisations/other/invitations/{shown['id']}").status_code == 404
    assert other.delete(f"/organisations/other/invitations/{shown['id']}").status_code == 404
    assert other.get("/organisations/other/invitations").get_json()["items"] == []
    assert Browser(app, "neighbour@example.org").get(PATH).status_code == 404
    little = Browser(app, "little@example.org")
    assert little.get(f"{PATH}/{shown['id']}").status_code == 200
    assert little.delete(f"{PATH}/{shown['id']}").status_code == 403
    assert little.post(f"{PATH}/{shown['id']}/resend", {}).status_code == 403


def test_sites_that_moved_away_are_not_given(app: Flask, session: Session, manager: Browser, tree: Tree) -> None:
    hut, shed = (add_site_of(session, tree.customer.id, slug) for slug in ("hut", "shed"))
    session.commit()
    _invite(manager, role="installer", sites=["hut", "shed"])
    shed.organisation_id = tree.neighbour.id
    session.commit()
    assert _accept(Browser(app), link_in(letters_to(session, NEW)[0])) == 200
    assert session.scalars(select(MembershipSite.site_id)).all() == [hut.id]
    _invite(manager, "late@example.org", role="installer", sites=["hut"])
    hut.organisation_id = tree.neighbour.id
    session.commit()
    assert _accept(Browser(app), link_in(letters_to(session, "late@example.org")[0])) == 422
    assert session.scalars(select(User).where(User.email == "late@example.org")).all() == []


def test_an_invitation_of_an_archived_organisation_opens_nothing(
    app: Flask, session: Session, manager: Browser, tree: Tree
) -> None:
    add_person(session, "admin@example.org", tree.reseller.id)
    session.commit()
    _invite(manager)
    assert Browser(app, "admin@example.org").delete("/organisations/customer").status_code == 200
    assert _accept(Browser(app), link_in(letters_to(session, NEW)[0])) == 404
    assert manager.post(PATH, {"email": "x@example.org", "role": "viewer"}).status_code == 409


def test_the_page_has_what_the_api_has(app: Flask, session: Session, manager: Browser, tree: Tree) -> None:
    add_site_of(session, tree.customer.id, "hut")
    member = add_person(session, "member@example.org", tree.customer.id, Role.VIEWER)
    admin = add_person(session, "admin@example.org", tree.customer.id)
    session.commit()
    path = "/organisations/customer/people"
    sent = manager.send_form(path, action="invite", email=NEW, name="Nell", role="installer", sites=["customer:hut"])
    assert sent.status_code == 303
    page = manager.client.get(sent.headers["Location"]).get_data(as_text=True)
    for shown in ("The invitation is on its way.", NEW, "member@example.org", "Hut</option>"):
        assert shown in page, shown
    assert '<option value="admin"' not in page  # a manager cannot make one
    ids = {user.email: session.scalars(select(Membership.id).where(Membership.user_id == user.id)).one()
           for user in (member, admin)}  # fmt: skip
    refused = manager.send_form(path, action="remove", id=ids["admin@example.org"])
    assert refused.status_code == 422
    assert "more than you may do" in refused.get_data(as_text=True)
    changed = manager.send_form(path, action="change", id=ids["member@example.org"], role="technician")
    assert changed.status_code == 303
    (invitation,) = session.scalars(select(Invitation.id)).all()
    for action in ("resend", "revoke"):
        assert manager.send_form(path, action=action, id=invitation).status_code == 303
    assert manager.send_form(path, action="remove", id=ids["member@example.org"]).status_code == 303
    assert _memberships(session, "member@example.org") == []
    for form in ({"action": "fly"}, {"action": "remove", "id": "x"}, {"action": "change", "id": "9" * 30}):
        assert manager.send_form(path, **form).status_code == 422
    viewer = add_person(session, "viewer@example.org", tree.customer.id, Role.VIEWER)
    add_membership(session, viewer.id, tree.other.id, Role.MANAGER)
    session.commit()
    assert Browser(app, "viewer@example.org").client.get(path).status_code == 403
