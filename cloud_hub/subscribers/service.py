"""Logins of subscribers: made, rotated, deleted. Callers commit; the broker follows by `cloud_hub.subscribers.broker`."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.audit.service import record
from cloud_hub.errors import Conflict, Invalid, NotFound
from cloud_hub.organisations.models import Organisation
from cloud_hub.subscribers.models import SubscriberLogin
from cloud_hub.users.models import User
from cloud_hub.web.pagination import Page, Window, cut
from protocol.errors import InvalidIdentifier
from protocol.identifiers import parse_slug
from protocol.mosquitto import SALT_BYTES, hash_password

_PASSWORD_BYTES = 24


class UnknownLogin(NotFound):
    """The organisation has no such login."""


class NameTaken(Conflict):
    """The organisation has a login of that name already."""


@dataclass(frozen=True, slots=True)
class NewLogin:
    """A login with its password, which is known here and now alone."""

    login: SubscriberLogin
    password: str


def create_login(
    session: Session, organisation: Organisation, service: User, name: str, *, who: str, is_sparkplug: bool = False
) -> NewLogin:
    """Make a login for a service account of the organisation.

    Raises: Invalid for a name that cannot be, or an account that is no service of the organisation; NameTaken.
    """
    try:
        username = f"{parse_slug(name)}@{parse_slug(organisation.slug)}"
    except InvalidIdentifier as error:
        raise Invalid(f"name: {error}") from error
    if service.kind != "service" or service.organisation_id != organisation.id:
        raise Invalid(
            f"account {service.id} is no service account of {organisation.slug!r}: make one there first, and name it"
        )
    # Two at once with one name: the second waits here for the first, and then sees its row.
    session.get(Organisation, organisation.id, with_for_update=True)
    known = select(SubscriberLogin.id).where(
        (SubscriberLogin.username == username)
        | ((SubscriberLogin.organisation_id == organisation.id) & (SubscriberLogin.name == name))
    )
    if session.scalar(known) is not None:
        raise NameTaken(f"there is a login {username!r} already: choose another name, or rotate its password")
    password = secrets.token_urlsafe(_PASSWORD_BYTES)
    login = SubscriberLogin(
        organisation_id=organisation.id,
        user_id=service.id,
        name=name,
        username=username,
        password_hash=_hash(password),
        is_sparkplug=is_sparkplug,
    )
    session.add(login)
    session.flush()
    _record(session, login, who, "subscriber_created", service=service.label, sparkplug=is_sparkplug)
    return NewLogin(login, password)


def rotate_login(session: Session, login: SubscriberLogin, *, who: str) -> NewLogin:
    """Give a login another password; whoever is connected with the old one is thrown out."""
    password = secrets.token_urlsafe(_PASSWORD_BYTES)
    login.password_hash, login.rotated_at, login.applied_at = _hash(password), datetime.now(UTC), None
    session.flush()
    _record(session, login, who, "subscriber_rotated")
    return NewLogin(login, password)


def delete_login(session: Session, login: SubscriberLogin, *, who: str) -> None:
    """Take a login away; whoever is connected with it is thrown out."""
    _record(session, login, who, "subscriber_deleted")
    session.delete(login)
    session.flush()


def list_logins(session: Session, organisation: Organisation, window: Window) -> Page[SubscriberLogin]:
    """List an organisation's own logins by id."""
    query = (
        select(SubscriberLogin)
        .where(SubscriberLogin.organisation_id == organisation.id, SubscriberLogin.id > window.after_id)
        .order_by(SubscriberLogin.id)
        .limit(window.limit + 1)
    )
    return cut(session.scalars(query).all(), window, lambda login: login.id)


def get_login(session: Session, organisation: Organisation, login_id: int) -> SubscriberLogin:
    """Return one of the organisation's logins, locked.

    Raises: UnknownLogin.
    """
    query = select(SubscriberLogin).where(
        SubscriberLogin.id == login_id, SubscriberLogin.organisation_id == organisation.id
    )
    login = session.scalar(query.with_for_update())
    if login is None:
        raise UnknownLogin(f"{organisation.slug!r} has no login {login_id}")
    return login


def _hash(password: str) -> str:
    return hash_password(password, secrets.token_bytes(SALT_BYTES))


def _record(session: Session, login: SubscriberLogin, who: str, action: str, **detail: object) -> None:
    record(
        session,
        login.organisation_id,
        who=who,
        action=action,
        subject=f"subscriber:{login.id}",
        detail={"username": login.username, **detail},
    )
