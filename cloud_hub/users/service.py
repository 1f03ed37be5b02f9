"""Accounts: make one, find one, check a password."""

import re

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.errors import Conflict, Invalid
from cloud_hub.users.models import User
from cloud_hub.users.passwords import hash_password, is_password

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
EMAIL_LENGTH_MAX = 254


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
    try:
        password_hash = hash_password(password)
    except ValueError as error:
        raise InvalidAccount(f"the password cannot be used: {error}") from error
    user = User(email=address, password_hash=password_hash)
    session.add(user)
    session.flush()
    return user


def authenticate(session: Session, email: str, password: str) -> User | None:
    """Return the user whose address and password these are; as slow for a stranger as for a slip of the pen."""
    user = find_user_by_email(session, email)
    return user if is_password(password, None if user is None else user.password_hash) else None


def find_user(session: Session, user_id: int) -> User | None:
    """Return the user with that id."""
    return session.get(User, user_id)


def find_user_by_email(session: Session, email: str) -> User | None:
    """Return the user with that address, however its letters were typed."""
    return session.scalars(select(User).where(User.email == normalise_email(email))).one_or_none()


def normalise_email(email: str) -> str:
    """Write an address the way the database keeps it."""
    return email.strip().lower()
