"""Codes on paper for the day when the authenticator is lost: ten, each good once."""

import base64
import hashlib
import secrets

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from cloud_hub.users.login_models import RecoveryCode

COUNT = 10
_RANDOM_BYTES = 15
"""120 bits: too many to try out against a stolen table, so that a fast hash will do."""


def draw(session: Session, user_id: int) -> list[str]:
    """Make new codes in place of all older ones; they can be shown now and never again."""
    remove(session, user_id)
    codes = [_group(base64.b32encode(secrets.token_bytes(_RANDOM_BYTES)).decode().lower()) for _ in range(COUNT)]
    session.add_all(RecoveryCode(user_id=user_id, code_hash=_hash(code)) for code in codes)
    session.flush()
    return codes


def use_code(session: Session, user_id: int, code: str) -> bool:
    """Say whether it is one that was not used yet, and use it up; the caller commits."""
    used = update(RecoveryCode).where(
        RecoveryCode.user_id == user_id, RecoveryCode.code_hash == _hash(code), RecoveryCode.used_at.is_(None)
    )
    return session.scalar(used.values(used_at=func.now()).returning(RecoveryCode.user_id)) is not None


def count_left(session: Session, user_id: int) -> int:
    """Return how many are still good."""
    left = select(func.count()).where(RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None))
    return session.scalar(left) or 0


def remove(session: Session, user_id: int) -> None:
    """Make all codes of a person worthless."""
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))


def _group(code: str) -> str:
    return "-".join(code[start : start + 4] for start in range(0, len(code), 4))


def _hash(code: str) -> bytes:
    """Hash a code as people type it: letters of any case, with or without the dashes."""
    letters = "".join(letter for letter in code.lower() if letter.isalnum())
    return hashlib.sha256(letters.encode()).digest()
