"""A person who is created with a broker login: complete when the broker has it, and gone from there when undone."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from live_factories import WAIT_S, Listener, add_organisation, add_service
from people_factories import PASSWORD, Browser, add_person, letters_to, link_in
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from cloud_hub.access.permissions import Role
from cloud_hub.organisations.models import Organisation
from cloud_hub.people.completing import complete_creations
from cloud_hub.people.models import Invitation
from cloud_hub.subscribers.broker import BrokerLogins
from cloud_hub.subscribers.models import SubscriberLogin
from cloud_hub.subscribers.service import delete_login, rotate_login
from cloud_hub.users.models import User
from demo.mosquitto import PrivateMosquitto

PATH = "/organisations/acme/people"
NEW = "new@example.org"


@dataclass
class World:
    """An organisation with a service account, one below it, and somebody who looks after both."""

    acme: Organisation
    below: Organisation
    scada: User
    admin: Browser


@pytest.fixture
def world(app: Flask, session: Session) -> World:
    acme = add_organisation(session, "acme")
    below = add_organisation(session, "below", acme.id)
    scada = add_service(session, acme)
    add_person(session, "admin@example.org", acme.id)
    session.commit()
    return World(acme, below, scada, Browser(app, "admin@example.org"))


def _create(world: World, service_id: int | None = None, **options: Any) -> Any:
    login = {"name": "panel", "service_account_id": service_id or world.scada.id, **options}
    return world.admin.post(PATH, {"email": NEW, "role": "viewer", "steps": {"broker_login": login}})


def _state(world: World, shown: Any) -> tuple[str, str | None]:
    person = world.admin.get(f"{PATH}/{shown['id']}").get_json()
    return person["state"], person["reason"]


def _accept(app: Flask, session: Session) -> None:
    link = link_in(letters_to(session, NEW)[-1])
    assert Browser(app).send_form(link, name="N", password=PASSWORD, again=PASSWORD).status_code == 200


def test_a_person_is_complete_when_the_broker_has_the_login_and_undone_with_it(
    world: World, session: Session, engine: Engine, own_broker: PrivateMosquitto
) -> None:
    shown = _create(world).get_json()
    once = shown["shown_once"]["broker_login"]
    assert once["username"] == "panel@acme"
    duty = BrokerLogins(own_broker.files)
    is_applied = select(SubscriberLogin.applied_at.is_not(None))
    assert session.scalars(is_applied).all() == [False]
    own_broker.await_reload(lambda: duty.bring_in_step(engine))
    assert session.scalars(is_applied).all() == [True]
    with Listener(own_broker.subscriber_port, once["username"], once["password"]) as listener:
        assert listener.reason == "Success"
        assert world.admin.delete(f"/organisations/acme/invitations/{shown['invitation']['id']}").status_code == 204
        complete_creations(engine)
        own_broker.await_reload(lambda: duty.bring_in_step(engine))
        assert listener.ended.get(timeout=WAIT_S)
    assert _state(world, shown) == ("failed", "the invitation was revoked")
    with Listener(own_broker.subscriber_port, once["username"], once["password"]) as again:
        assert again.reason == "Not authorized"


def test_a_password_that_was_rotated_is_waited_for_again(
    world: World, app: Flask, session: Session, engine: Engine, tmp_path: Path
) -> None:
    shown = _create(world, sparkplug=True).get_json()
    _accept(app, session)
    duty = BrokerLogins(tmp_path)
    duty.bring_in_step(engine)
    login = session.scalars(select(SubscriberLogin)).one()
    assert (login.is_sparkplug, login.applied_at is None) == (True, False)
    rotate_login(session, login, who="test")
    session.commit()
    complete_creations(engine)
    assert _state(world, shown) == ("pending", None)
    duty.bring_in_step(engine)
    complete_creations(engine)
    assert _state(world, shown) == ("active", None)


def test_a_login_that_is_deleted_meanwhile_undoes_the_person(
    world: World, app: Flask, session: Session, engine: Engine
) -> None:
    shown = _create(world).get_json()
    _accept(app, session)
    delete_login(session, session.scalars(select(SubscriberLogin)).one(), who="test")
    session.commit()
    complete_creations(engine)
    reason = "broker_login: the login was deleted before the person was complete"
    assert _state(world, shown) == ("failed", reason)
    assert session.scalars(select(User.id).where(User.email == NEW)).all() == []


@pytest.mark.parametrize(
    "make",
    [
        lambda session, world: add_service(session, world.below),
        lambda session, _: add_service(session, session.get_one(Organisation, 1)),
        lambda session, world: add_person(session, "p@example.org", world.acme.id, Role.VIEWER),
        lambda session, world: _disable(session, add_service(session, world.acme, "old")),
    ],
    ids=["of one below", "of one above", "a person", "disabled"],
)
def test_only_a_service_account_of_just_that_organisation_will_do(
    make: Callable[[Session, World], User], world: World, session: Session
) -> None:
    account = make(session, world)
    session.commit()
    for number in (account.id, 10**9):
        refused = _create(world, number)
        assert refused.status_code == 422, refused.get_json()
        assert refused.get_json()["detail"] == (
            f"steps: broker_login: 'acme' has no service account {number} that is enabled: make one there first, "
            "and name it"
        )
    assert session.scalars(select(Invitation.id)).all() == []


def test_a_name_that_is_taken_creates_nobody(world: World, session: Session) -> None:
    assert _create(world).status_code == 201
    login = {"name": "panel", "service_account_id": world.scada.id}
    body = {"email": "second@example.org", "role": "viewer", "steps": {"broker_login": login}}
    assert world.admin.post(PATH, body).status_code == 409
    assert session.scalars(select(Invitation.email)).all() == [NEW]


def _disable(session: Session, account: User) -> User:
    account.disabled_at = session.scalars(select(Organisation.created_at).limit(1)).one()
    return account
