"""Members and roles: nobody gives, changes or takes more than they have, and nobody locks everybody out."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from browsing import counted_queries
from flask import Flask
from people_factories import Browser, Tree, add_membership, add_person, add_site_of, add_tree
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from cloud_hub.access.models import CustomRole, Membership
from cloud_hub.access.permissions import Permission, Role
from cloud_hub.audit.models import AuditEvent


@pytest.fixture
def tree(session: Session) -> Tree:
    """Organisations; the reseller has an admin and a manager, the operator an admin."""
    tree = add_tree(session)
    add_person(session, "op@example.org", 1)
    add_person(session, "admin@example.org", tree.reseller.id)
    add_person(session, "manager@example.org", tree.reseller.id, Role.MANAGER)
    session.commit()
    return tree


def _member(session: Session, user_id: int) -> int:
    return session.scalars(select(Membership.id).where(Membership.user_id == user_id)).one()


def _path(session: Session, tree: Tree, role: Role = Role.VIEWER, **more: Any) -> str:
    """Add somebody to the customer, and return where the API has them."""
    person = add_person(session, f"{role}-{len(more)}@example.org", tree.customer.id, role, **more)
    session.commit()
    return f"/organisations/customer/members/{_member(session, person.id)}"


@pytest.mark.usefixtures("tree")
def test_members_are_listed_where_they_belong(app: Flask, session: Session, tree: Tree) -> None:
    site = add_site_of(session, tree.customer.id, "hut")
    add_person(session, "fitter@example.org", tree.customer.id, Role.INSTALLER, sites=(site.id,))
    session.commit()
    browser = Browser(app, "manager@example.org")
    shown = browser.get("/organisations/customer/members").get_json()["items"]
    assert [(one["email"], one["role"], one["sites"]) for one in shown] == [
        ("fitter@example.org", "installer", ["customer:hut"])
    ]
    assert browser.get(f"/organisations/reseller/members/{shown[0]['id']}").status_code == 404
    assert browser.get("/organisations/other/members").status_code == 404
    page = browser.get("/organisations/reseller/members?limit=1").get_json()
    rest = browser.get(f"/organisations/reseller/members?cursor={page['next_cursor']}").get_json()
    assert [one["email"] for one in page["items"] + rest["items"]] == ["admin@example.org", "manager@example.org"]


def test_the_list_is_read_in_as_many_queries_however_long_it_is(
    app: Flask, web_engine: Engine, session: Session, tree: Tree
) -> None:
    site = add_site_of(session, tree.customer.id, "hut")
    session.commit()
    browser, address = Browser(app, "manager@example.org"), "/organisations/customer/members"
    counts = []
    for number in (1, 20):
        for one in range(number):
            email = f"{number}-{one}@example.org"
            add_person(session, email, tree.customer.id, Role.INSTALLER, sites=(site.id,))
        session.commit()
        with counted_queries(web_engine) as statements:
            assert len(browser.get(address).get_json()["items"]) >= number
        counts.append(len(statements))
    assert counts[0] == counts[1] <= 10, counts


def test_what_somebody_is_changes_with_its_trace(app: Flask, session: Session, tree: Tree) -> None:
    path = _path(session, tree)
    browser = Browser(app, "manager@example.org")
    seen = browser.etag(path)
    assert browser.edit(path, {"role": "technician"}).get_json()["role"] == "technician"
    assert browser.edit(path, {"role": "viewer"}, etag=seen).status_code == 412
    event = session.scalars(select(AuditEvent).where(AuditEvent.action == "member_changed")).one()
    assert (event.who, event.detail["before"]["role"], event.detail["after"]["role"]) == (
        "manager@example.org",
        "viewer",
        "technician",
    )
    assert browser.delete(path).status_code == 204
    assert browser.get(path).status_code == 404
    assert "member_removed" in session.scalars(select(AuditEvent.action)).all()


def test_nobody_gives_more_than_they_have(app: Flask, session: Session, tree: Tree) -> None:
    path = _path(session, tree)
    wide = CustomRole(
        organisation_id=tree.reseller.id, slug="wide", name="Wide", permissions=["sites.read", "roles.write"]
    )
    session.add(wide)
    session.commit()
    manager = Browser(app, "manager@example.org")
    refused = manager.edit(path, {"role": "admin"})
    assert refused.status_code == 403
    assert "organisations.write, roles.write" in refused.get_json()["detail"]
    assert manager.edit(path, {"role": "custom", "role_id": wide.id}).status_code == 403
    invitation = {"email": "new@example.org", "role": "admin"}
    assert manager.post("/organisations/customer/invitations", invitation).status_code == 403
    assert manager.post("/organisations/customer/people", invitation).status_code == 403
    assert Browser(app, "admin@example.org").edit(path, {"role": "admin"}).status_code == 200


def test_nobody_changes_or_removes_who_has_more(app: Flask, session: Session, tree: Tree) -> None:
    path = _path(session, tree, Role.ADMIN)
    manager = Browser(app, "manager@example.org")
    assert manager.edit(path, {"role": "viewer"}).status_code == 403
    assert manager.delete(path).status_code == 403
    assert manager.edit(path, {"sites": None}).status_code == 403


def test_a_right_in_one_organisation_gives_nothing_in_another(app: Flask, session: Session, tree: Tree) -> None:
    """An admin of the neighbour who may write people at the customer gives there what they are there."""
    person = add_person(session, "both@example.org", tree.neighbour.id)
    add_membership(session, person.id, tree.customer.id, Role.MANAGER)
    path = _path(session, tree)
    both = Browser(app, "both@example.org")
    assert both.edit(path, {"role": "admin"}).status_code == 403
    assert both.edit(path, {"role": "manager"}).status_code == 200


def test_an_installer_has_sites_and_sites_are_of_the_tree(app: Flask, session: Session, tree: Tree) -> None:
    hut = add_site_of(session, tree.customer.id, "hut")
    add_site_of(session, tree.neighbour.id, "shed")
    path = _path(session, tree, sites=(hut.id,))
    manager = Browser(app, "manager@example.org")
    without = manager.edit(path, {"role": "installer", "sites": None})
    assert without.status_code == 422
    assert without.get_json()["detail"] == "an installer is always limited to sites: say which in sites"
    assert manager.edit(path, {"role": "installer", "sites": []}).status_code == 422
    assert manager.edit(path, {"sites": ["shed"]}).status_code == 422
    assert manager.edit(path, {"sites": ["nowhere"]}).status_code == 404
    fitted = manager.edit(path, {"role": "installer"})
    assert (fitted.get_json()["role"], fitted.get_json()["sites"]) == ("installer", ["customer:hut"])
    named = manager.edit(path, {"sites": ["customer:hut", "hut"]})
    assert named.get_json()["sites"] == ["customer:hut"]
    assert manager.edit(path, {"role": "technician", "sites": None}).get_json()["sites"] is None
    assert manager.edit(path, {"role": "custom"}).status_code == 422
    assert manager.edit(path, {"role_id": 1}).status_code == 404


def test_somebody_limited_to_sites_has_no_say_in_who_belongs(app: Flask, session: Session, tree: Tree) -> None:
    site = add_site_of(session, tree.customer.id, "hut")
    add_person(session, "limited@example.org", tree.customer.id, Role.ADMIN, sites=(site.id,))
    path = _path(session, tree)
    limited = Browser(app, "limited@example.org")
    assert limited.get("/organisations/customer/members").status_code in (403, 404)
    assert limited.edit(path, {"role": "admin"}, etag='"x"').status_code in (403, 404)


def test_somebody_known_elsewhere_is_added(app: Flask, session: Session, tree: Tree) -> None:
    known = add_person(session, "known@example.org", tree.neighbour.id, Role.VIEWER)
    foreign = add_person(session, "foreign@example.org", tree.other.id, Role.VIEWER)
    session.commit()
    manager, address = Browser(app, "manager@example.org"), "/organisations/customer/members"
    body = {"member_id": _member(session, known.id), "role": "technician"}
    added = manager.post(address, body)
    assert added.status_code == 201, added.get_json()
    assert added.get_json()["email"] == "known@example.org"
    assert manager.post(address, body).status_code == 409
    assert manager.post(address, {**body, "member_id": _member(session, foreign.id)}).status_code == 404


def test_the_last_admin_of_the_topmost_organisation_stays(app: Flask, session: Session, tree: Tree) -> None:
    last = session.scalars(select(Membership.id).where(Membership.organisation_id == 1)).one()
    path = f"/organisations/main/members/{last}"
    operator = Browser(app, "op@example.org")
    site = add_site_of(session, tree.customer.id, "hut")
    session.commit()
    for change in ({"role": "manager"}, {"sites": [f"customer:{site.slug}"]}):
        refused = operator.edit(path, change)
        assert refused.status_code == 409, change
        assert "the last admin of 'main'" in refused.get_json()["detail"]
    assert operator.delete(path).status_code == 409
    second = add_person(session, "second@example.org", 1)
    session.commit()
    assert (
        operator.edit(f"/organisations/main/members/{_member(session, second.id)}", {"role": "viewer"}).status_code
        == 200
    )
    assert operator.delete(path).status_code == 409


@pytest.mark.usefixtures("tree")
def test_two_last_admins_who_remove_each_other_leave_one(app: Flask, session: Session) -> None:
    second = add_person(session, "second@example.org", 1)
    session.commit()
    first = session.scalars(select(Membership).where(Membership.organisation_id == 1).order_by(Membership.id)).first()
    assert first is not None
    paths = [f"/organisations/main/members/{first.id}", f"/organisations/main/members/{_member(session, second.id)}"]
    browsers = [Browser(app, "second@example.org"), Browser(app, "op@example.org")]
    etags = [browser.etag(path) for browser, path in zip(browsers, paths, strict=True)]

    def remove(number: int) -> int:
        return browsers[number].delete(paths[number], etag=etags[number]).status_code

    with ThreadPoolExecutor(2) as pool:
        answers = sorted(pool.map(remove, (0, 1)))
    assert answers[0] == 204
    assert answers[1] in (403, 404, 409), answers
    admins = session.scalars(select(Membership.id).where(Membership.organisation_id == 1)).all()
    assert len(admins) == 1


def test_roles_are_made_of_what_one_has(app: Flask, session: Session, tree: Tree) -> None:
    admin, address = Browser(app, "admin@example.org"), "/organisations/reseller/roles"
    made = admin.post(address, {"slug": "reader", "name": "Reader", "permissions": ["sites.read", "energy.read"]})
    assert made.status_code == 201, made.get_json()
    assert made.get_json()["permissions"] == ["energy.read", "sites.read"]
    assert admin.post(address, {"slug": "reader", "name": "Again", "permissions": ["export"]}).status_code == 409
    assert admin.post(address, {"slug": "odd", "name": "Odd", "permissions": ["fly"]}).status_code == 422
    assert admin.post(address, {"slug": "none", "name": "None", "permissions": []}).status_code == 422
    assert Browser(app, "manager@example.org").post(
        address, {"slug": "mine", "name": "Mine", "permissions": ["export"]}
    ).status_code == 403  # fmt: skip

    limited = CustomRole(
        organisation_id=tree.reseller.id, slug="roles", name="Roles", permissions=["people.read", "roles.write"]
    )
    session.add(limited)
    session.flush()
    add_person(session, "roles@example.org", tree.reseller.id, Role.CUSTOM, role_id=limited.id)
    session.commit()
    maker = Browser(app, "roles@example.org")
    beyond = maker.post(address, {"slug": "more", "name": "More", "permissions": ["people.read", "people.write"]})
    assert beyond.status_code == 403
    assert "people.write" in beyond.get_json()["detail"]
    own = f"{address}/{limited.id}"
    assert maker.edit(own, {"permissions": ["roles.write", "sites.write"]}).status_code == 403
    reader = f"{address}/{made.get_json()['id']}"
    assert maker.edit(reader, {"permissions": ["people.read"]}).status_code == 403
    assert maker.delete(reader).status_code == 403
    assert admin.edit(reader, {"permissions": ["export"]}).get_json()["permissions"] == ["export"]


def test_a_role_is_used_below_and_deleted_when_nobody_has_it(app: Flask, session: Session, tree: Tree) -> None:
    admin = Browser(app, "admin@example.org")
    body = {"slug": "reader", "name": "Reader", "permissions": ["sites.read"]}
    role_id = admin.post("/organisations/reseller/roles", body).get_json()["id"]
    path = _path(session, tree)
    given = admin.edit(path, {"role": "custom", "role_id": role_id})
    assert (given.get_json()["role_name"], given.get_json()["permissions"]) == ("Reader", ["sites.read"])
    listed = admin.get("/organisations/customer/roles").get_json()["items"]
    assert [(one["slug"], one["is_own"]) for one in listed] == [("reader", False)]
    assert admin.delete(f"/organisations/customer/roles/{role_id}").status_code == 404
    used = admin.delete(f"/organisations/reseller/roles/{role_id}")
    assert used.status_code == 409
    assert admin.edit(path, {"role": "viewer"}).get_json()["role_id"] is None
    assert admin.delete(f"/organisations/reseller/roles/{role_id}").status_code == 204
    own = admin.post("/organisations/other/roles", body)
    assert own.status_code == 404
    actions = session.scalars(select(AuditEvent.action).where(AuditEvent.subject == f"role:{role_id}")).all()
    assert actions == ["role_created", "role_deleted"]


def test_a_role_of_a_neighbour_cannot_be_given(app: Flask, session: Session, tree: Tree) -> None:
    role = CustomRole(organisation_id=tree.neighbour.id, slug="near", name="Near", permissions=["sites.read"])
    session.add(role)
    path = _path(session, tree)
    refused = Browser(app, "admin@example.org").edit(path, {"role": "custom", "role_id": role.id})
    assert refused.status_code == 404


@pytest.mark.usefixtures("tree")
def test_the_usual_roles_are_told_to_everybody(app: Flask) -> None:
    items = Browser(app, "manager@example.org").get("/roles").get_json()["items"]
    by_role = {one["role"]: one for one in items}
    assert by_role["admin"]["permissions"] == sorted(Permission)
    assert [role for role, one in by_role.items() if one["is_limited_to_sites"]] == ["installer"]
