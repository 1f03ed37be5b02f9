"""Do a creation once for one key, whoever repeats the request, and answer the repetition as the first one."""

from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from typing import Final

from flask import Response, request
from sqlalchemy import Engine, delete, func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud_hub.errors import Conflict, Invalid
from cloud_hub.idempotency.models import IdempotencyKey
from cloud_hub.web.database import RequestSession

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"
KEPT = timedelta(hours=24)
"""How long a repetition is known as one."""
_LENGTH_MAX = 255


class KeyReused(Invalid):
    """The key stands for another request already."""


class ShownOnce(Conflict):
    """It was created under this key already, and its secret was shown then."""


def answer_once(
    session: RequestSession, user_id: int, key: str, answer: Callable[[], Response], *, keeps_answer: bool = True
) -> Response:
    """Answer a request that creates something; the same key again answers the same and creates nothing.

    Without `keeps_answer`, for answers that hold a secret, the same key again is refused and creates nothing.

    The key is committed with what was created, or not at all: a refused request may be repeated under its key.
    Two at the same moment wait for each other at the key's row.
    Raises: Invalid for a key that is none, KeyReused, ShownOnce.
    """
    if not 0 < len(key) <= _LENGTH_MAX or not key.isprintable() or not key.isascii():
        raise Invalid(f"{HEADER} has 1 to {_LENGTH_MAX} printable ASCII characters")
    digest = sha256(b"\0".join((request.method.encode(), request.full_path.encode(), request.get_data()))).digest()
    claim = insert(IdempotencyKey).values(user_id=user_id, key=key, digest=digest).on_conflict_do_nothing()
    if session.execute(claim.returning(IdempotencyKey.key)).first() is None:
        return _replay(session, user_id, key, digest)
    session.defers_commit = True
    try:
        made = answer()
    finally:
        session.defers_commit = False
    session.execute(
        update(IdempotencyKey)
        .where(IdempotencyKey.user_id == user_id, IdempotencyKey.key == key)
        .values(
            status=made.status_code,
            content_type=made.content_type,
            answer=made.get_data() if keeps_answer else None,
        )
    )
    session.commit()
    return made


def _replay(session: Session, user_id: int, key: str, digest: bytes) -> Response:
    known = session.get_one(IdempotencyKey, (user_id, key))
    if known.digest != digest:
        raise KeyReused(f"{HEADER} {key!r} was used for another request: draw a fresh key for each creation")
    if known.answer is None:
        raise ShownOnce(
            f"{HEADER} {key!r} has created this already, and its secret was shown then: look it up in its list, "
            "and have a new secret made if that one is lost"
        )
    replayed = Response(known.answer, known.status or 200, content_type=known.content_type)
    replayed.headers[REPLAYED] = "true"
    return replayed


def purge(engine: Engine) -> None:
    """Forget keys that are older than a repetition may be; for `work`."""
    with engine.begin() as connection:
        connection.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < func.now() - KEPT))
