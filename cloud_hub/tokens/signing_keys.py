"""The keys that sign access tokens: made when they are due, told before they sign, kept while a token may carry them."""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from joserfc.jwk import KeySet, OKPKey
from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from cloud_hub.tokens.models import SigningKey
from cloud_hub.users.sealing import Seal, SealBroken

SIGNS_FOR: Final = timedelta(days=30)
TOLD_BEFORE: Final = timedelta(days=2)
"""How long a key is published before it signs: whoever keeps the key set has it by then."""
KEPT_AFTER: Final = timedelta(hours=1)
"""Longer than an access token lives."""

_PURPOSE = "signing keys"
_LOCK = 0x6D657474


def signing_key(session: Session, secret_key: bytes, now: datetime) -> OKPKey:
    """Return the key that signs at `now`; one that is due is made. The caller commits."""
    key, is_successor_due = _choose(session, secret_key, now)
    if key is None or is_successor_due:
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        key, is_successor_due = _choose(session, secret_key, now)
        if key is None:
            key = _make(session, secret_key, now)
        elif is_successor_due:
            _make(session, secret_key, _list(session, now)[-1].signs_until)
    return key


def find_public_key(session: Session, kid: str, now: datetime) -> OKPKey | None:
    """Return the key with which tokens of that kid are checked, while there can be any."""
    row = session.get(SigningKey, kid)
    return None if row is None or row.signs_until + KEPT_AFTER <= now else _public(row)


def public_keys(session: Session, now: datetime) -> KeySet:
    """Return all keys with which tokens may be signed, now or soon."""
    return KeySet([_public(row) for row in _list(session, now - KEPT_AFTER)])


def retire_keys(session: Session, now: datetime) -> int:
    """Let no key that there is sign from now on; the tokens that they signed stay good. Say how many there were."""
    session.execute(delete(SigningKey).where(SigningKey.signs_from > now))
    retired = session.scalars(
        update(SigningKey).where(SigningKey.signs_until > now).values(signs_until=now).returning(SigningKey.kid)
    )
    return len(retired.all())


def revoke_keys(session: Session) -> int:
    """Forget all keys: no token that they signed is good any more. Say how many there were."""
    return len(session.scalars(delete(SigningKey).returning(SigningKey.kid)).all())


def _choose(session: Session, secret_key: bytes, now: datetime) -> tuple[OKPKey | None, bool]:
    """Return the key that signs now, and whether the one after it is to be made."""
    rows = _list(session, now)
    current = next((row for row in rows if row.signs_from <= now and _opens(row, secret_key)), None)
    if current is None:
        return None, False
    return _private(current, secret_key), rows[-1].signs_until - now <= TOLD_BEFORE


def _list(session: Session, now: datetime) -> Sequence[SigningKey]:
    return session.scalars(
        select(SigningKey).where(SigningKey.signs_until > now).order_by(SigningKey.signs_from, SigningKey.kid)
    ).all()


def _make(session: Session, secret_key: bytes, signs_from: datetime) -> OKPKey:
    private = Ed25519PrivateKey.generate()
    kid = secrets.token_hex(8)
    row = SigningKey(
        kid=kid,
        public_key=private.public_key().public_bytes_raw(),
        sealed_key=Seal(secret_key, _PURPOSE).close(private.private_bytes_raw(), kid),
        signs_from=signs_from,
        signs_until=signs_from + SIGNS_FOR,
    )
    session.add(row)
    session.flush()
    return _private(row, secret_key)


def _opens(row: SigningKey, secret_key: bytes) -> bool:
    try:
        Seal(secret_key, _PURPOSE).open(row.sealed_key, row.kid)
    except SealBroken:  # the secret key file was replaced: tokens of this key can be checked, not made
        return False
    return True


def _private(row: SigningKey, secret_key: bytes) -> OKPKey:
    raw = Seal(secret_key, _PURPOSE).open(row.sealed_key, row.kid)
    return OKPKey.import_key(
        Ed25519PrivateKey.from_private_bytes(raw), {"kid": row.kid, "use": "sig", "alg": "Ed25519"}
    )


def _public(row: SigningKey) -> OKPKey:
    raw = bytes(row.public_key)
    return OKPKey.import_key(Ed25519PublicKey.from_public_bytes(raw), {"kid": row.kid, "use": "sig", "alg": "Ed25519"})
