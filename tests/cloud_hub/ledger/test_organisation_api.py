"""How an organisation wants its energy counted, checked and kept, by the API."""

from typing import Any

import pytest
from flask import Flask
from people_factories import Browser, Tree, add_person, add_tree
from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.access.permissions import Role
from cloud_hub.audit.models import AuditEvent

PATH = "/organisations/customer/settings"


@pytest.fixture
def tree(session: Session) -> Tree:
    """Organisations, the reseller with an admin and a manager."""
    tree = add_tree(session)
    add_person(session, "admin@example.org", tree.reseller.id)
    add_person(session, "manager@example.org", tree.reseller.id, Role.MANAGER)
    session.commit()
    return tree


@pytest.fixture
def admin(app: Flask, tree: Tree) -> Browser:  # noqa: ARG001 - the tree has the admin
    """An admin of the reseller, logged in."""
    return Browser(app, "admin@example.org")


def test_settings_change_by_those_who_saw_them(admin: Browser, session: Session) -> None:
    assert admin.get(PATH).get_json() == {
        "interval_s": 1800,
        "readings_kept_days": None,
        "ledger_kept_days": None,
        "audit_kept_days": None,
        "validation": [],
    }
    seen = admin.etag(PATH)
    rules = [{"rule": "zero_use", "meter_kind": "electricity_meter", "parameters": {"hours": 6}}]
    changed = admin.edit(PATH, {"interval_s": 900, "readings_kept_days": 400, "validation": rules})
    assert changed.status_code == 200, changed.get_json()
    assert changed.get_json() == admin.get(PATH).get_json()
    assert (changed.get_json()["interval_s"], changed.get_json()["readings_kept_days"]) == (900, 400)
    assert changed.get_json()["validation"] == rules
    assert admin.edit(PATH, {"interval_s": 300}, etag=seen).status_code == 412
    back = admin.edit(PATH, {"readings_kept_days": None, "validation": []}).get_json()
    assert (back["readings_kept_days"], back["validation"], back["interval_s"]) == (None, [], 900)
    actions = session.scalars(select(AuditEvent.action).where(AuditEvent.subject == "organisation:customer")).all()
    assert actions == [
        "validation_changed",
        "interval_changed",
        "retention_changed",
        "validation_changed",
        "retention_changed",
    ]


@pytest.mark.parametrize(
    "body",
    [
        {"interval_s": 7},
        {"audit_kept_days": 0},
        {"validation": [{"rule": "fly", "parameters": {"high": 1}}]},
        {"validation": [{"rule": "spike", "parameters": {"ratio": "much"}}]},
        {"validation": [{"rule": "spike", "parameters": {"ratio": 2.5}}] * 2},
        {"colour": "red"},
    ],
    ids=["no interval", "no days", "no rule", "no threshold", "twice", "no key"],
)
def test_what_makes_no_sense_changes_nothing(admin: Browser, body: dict[str, Any]) -> None:
    before = admin.get(PATH).get_json()
    assert admin.edit(PATH, body).status_code == 422
    assert admin.get(PATH).get_json() == before


def test_a_fraction_is_a_threshold(admin: Browser) -> None:
    rules = [{"rule": "spike", "meter_kind": "*", "parameters": {"ratio": 2.5}}]
    assert admin.edit(PATH, {"validation": rules}).get_json()["validation"] == rules


@pytest.mark.usefixtures("tree")
def test_settings_are_read_by_many_and_changed_by_few(app: Flask, session: Session, tree: Tree) -> None:
    add_person(session, "other@example.org", tree.other.id)
    session.commit()
    manager = Browser(app, "manager@example.org")
    assert manager.get(PATH).status_code == 200
    assert manager.edit(PATH, {"interval_s": 900}).status_code == 403
    assert Browser(app, "other@example.org").get(PATH).status_code == 404
