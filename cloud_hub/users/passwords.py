"""Passwords to Argon2id hashes and back to yes or no; refused are those that everybody tries first. Pure but for chance."""

import re
import secrets
from collections.abc import Sequence
from functools import cache
from threading import Lock

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

LENGTH_MIN = 10
LENGTH_MAX = 256
GUESSES_MIN = 10**6
"""One that an attacker finds within so many guesses is refused: the 30,000 commonest, and what is made of them."""

_PRODUCT_WORDS = ("meterhaul", "haul", "energy", "meter")
_WORD_MIN = 3
_OWN_LETTERS_MIN = 5
"""Letters and digits that a password must have beside the words of its account and of ours."""
_JUDGED = 64
"""Letters that are looked at: the effort grows faster than the length, and so long a beginning says enough."""

# OWASP's second recommendation for Argon2id: 19 MiB and two passes, so that sixteen people who
# log in at once do not take a gigabyte.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# zxcvbn keeps the words of the account that it judges in a place that all threads share.
_judging = Lock()


def hash_password(password: str, about: Sequence[str] = ()) -> str:
    """Hash a password with a salt of its own; `about` are the account's address and name, which it must not be made of.

    Raises: ValueError when it is too short, too long or too easy to guess.
    """
    if not LENGTH_MIN <= len(password) <= LENGTH_MAX:
        raise ValueError(f"a password has {LENGTH_MIN} to {LENGTH_MAX} characters")
    if _is_easy(password, _words_of(about)):
        raise ValueError(
            "it is among those that are tried first (a common password, or one made of your address or our name): "
            "take several words that do not belong together"
        )
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


def _is_easy(password: str, words: Sequence[str]) -> bool:
    """Say whether it is soon guessed, or little is left of it without these words."""
    from zxcvbn import zxcvbn  # noqa: PLC0415 - its lists of words take a while to load, and few processes need them

    with _judging:
        if zxcvbn(password[:_JUDGED], user_inputs=list(words))["guesses"] < GUESSES_MIN:
            return True
    rest = password.lower()
    for word in sorted(words, key=len, reverse=True):
        rest = rest.replace(word, "")
    return len(re.sub(r"\W", "", rest)) < _OWN_LETTERS_MIN


def _words_of(about: Sequence[str]) -> list[str]:
    parts = [*about, *(part for text in about for part in re.split(r"\W+", text))]
    return [*_PRODUCT_WORDS, *(part.lower() for part in parts if len(part) >= _WORD_MIN)]


@cache
def _nobodys_hash() -> str:
    return _hasher.hash(secrets.token_hex())
