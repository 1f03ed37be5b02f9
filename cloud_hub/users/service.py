"""Accounts: make one, find one, give it a password."""

import re

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.access.models import Membership
from cloud_hub.access.permissions import Role
from cloud_hub.errors import Conflict, Invalid
from cloud_hub.users.models import User
from cloud_hub.users.passwords import hash_password

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
EMAIL_LENGTH_MAX = 254


_OPERATOR = 1
"""The topmost organisation, which `hub init` makes."""


class InvalidAccount(Invalid):
    """An address or a password that no account can have."""


class AccountExists(Conflict):
    """Somebody has this address already."""


def create_admin(session: Session, email: str, password: str) -> User:
    """Add a user who may do everything; the caller commits.

    Raises: InvalidAccount, AccountExists.
    """
    address = normalise_email(email)
    if len(address) > EMAIL_LENGTH_MAX or not _EMAIL.fullmatch(address):
        raise InvalidAccount(f"{email!r} is not an e-mail address: it needs a name, an @ and a domain")
    if find_user_by_email(session, address) is not None:
        raise AccountExists(f"there is already a user {address}: log in, or take another address")
    user = User(email=address, name="")
    set_password(user, password)
    session.add(user)
    session.flush()
    session.add(Membership(user_id=user.id, organisation_id=_OPERATOR, role=Role.ADMIN))
    session.flush()
    return user


def set_password(user: User, password: str) -> None:
    """Give an account a password. What else changes with it is `cloud_hub.users.password_changes`'s.

    Raises: InvalidAccount when it is too short, too long or too easy to guess.
    """
    try:
        user.password_hash = hash_password(password, [text for text in (user.email, user.name) if text])
    except ValueError as error:
        raise InvalidAccount(f"the password cannot be used: {error}") from error


def find_user(session: Session, user_id: int) -> User | None:
    """Return the user with that id."""
    return session.get(User, user_id)


def find_user_by_email(session: Session, email: str) -> User | None:
    """Return the user with that address, however its letters were typed."""
    return session.scalars(select(User).where(User.email == normalise_email(email))).one_or_none()


def normalise_email(email: str) -> str:
    """Write an address the way the database keeps it."""
    return email.strip().lower()
