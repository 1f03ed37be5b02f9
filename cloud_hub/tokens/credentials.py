"""The texts of tokens: made, taken apart, compared. Pure but for chance."""

import re
import secrets
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from typing import Final

API_PREFIX: Final = "mh_"
REFRESH_PREFIX: Final = "mhr_"

_SECRET_BYTES = 32
_PUBLIC_BYTES = 6
_API_TOKEN = re.compile(r"mh_(?P<public_id>[0-9a-f]{12})_(?P<secret>[A-Za-z0-9_-]{43})")
_REFRESH_TOKEN = re.compile(r"mhr_[A-Za-z0-9_-]{43}")
_ANY = re.compile(r"(?:mh_[0-9a-f]{12}_|mhr_)[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Presented:
    """An API token as somebody sends it."""

    public_id: str
    secret: str

    def matches(self, secret_hash: bytes | None) -> bool:
        """Say whether the secret is the one that was hashed, in the same time for every wrong one."""
        return secret_hash is not None and compare_digest(hash_secret(self.secret), secret_hash)


def draw_public_id() -> str:
    """Draw what a token is found by; no secret."""
    return secrets.token_hex(_PUBLIC_BYTES)


def draw_api_token(public_id: str) -> tuple[str, bytes]:
    """Draw an API token; return its text, which is shown once, and the hash of its secret."""
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    return f"{API_PREFIX}{public_id}_{secret}", hash_secret(secret)


def draw_refresh_token() -> tuple[str, bytes]:
    """Draw a refresh token; return its text and its hash."""
    text = REFRESH_PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
    return text, hash_secret(text)


def parse_api_token(text: str) -> Presented | None:
    """Take an API token apart; None for any other text."""
    found = _API_TOKEN.fullmatch(text)
    return None if found is None else Presented(found["public_id"], found["secret"])


def is_refresh_token(text: str) -> bool:
    """Say whether a text has the form of a refresh token."""
    return _REFRESH_TOKEN.fullmatch(text) is not None


def holds_token(text: str) -> bool:
    """Say whether a text holds a token anywhere."""
    return _ANY.search(text) is not None


def hash_secret(secret: str) -> bytes:
    """Hash a secret of 256 random bits, which nobody can guess whatever the hash costs."""
    return sha256(secret.encode()).digest()
