"""Passwords to Argon2id hashes and back to yes or no. Pure but for chance."""

import secrets
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

LENGTH_MIN = 10
LENGTH_MAX = 256

# OWASP's second recommendation for Argon2id: 19 MiB and two passes, so that sixteen people who
# log in at once do not take a gigabyte.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


def hash_password(password: str) -> str:
    """Hash a password with a salt of its own.

    Raises: ValueError when it is too short or too long.
    """
    if not LENGTH_MIN <= len(password) <= LENGTH_MAX:
        raise ValueError(f"a password has {LENGTH_MIN} to {LENGTH_MAX} characters")
    return _hasher.hash(password)


def is_password(password: str, password_hash: str | None) -> bool:
    """Say whether the password is the one that was hashed.

    Without a hash (no such user) it takes as long as with one, so that a stranger cannot tell who has an account.
    """
    known = password_hash is not None
    try:
        matches = _hasher.verify(password_hash if password_hash is not None else _nobodys_hash(), password)
    except (VerificationError, InvalidHashError):
        return False
    return known and matches


@cache
def _nobodys_hash() -> str:
    return _hasher.hash(secrets.token_hex())
