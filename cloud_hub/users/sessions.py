"""Logins kept on the server: begun, found again by their token, listed and ended."""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.orm import Session

from cloud_hub.errors import NotFound
from cloud_hub.users.login_models import LoginSession
from cloud_hub.users.models import User

IDLE_LIMIT = timedelta(hours=12)
ABSOLUTE_LIMIT = timedelta(days=7)
SECOND_FACTOR_LIMIT = timedelta(minutes=10)
"""How long a password that was right waits for its code."""
_NOTED_EVERY = timedelta(minutes=1)
_USER_AGENT_MAX = 200

Ending = Callable[[Session, int], None]
_other_endings: list[Ending] = []


@dataclass(frozen=True, slots=True)
class Login:
    """A login that is good."""

    id: int
    user: User
    is_note_due: bool
    """Whether its last use was noted so long ago that this one should be."""


class UnknownSession(NotFound):
    """There is no such login."""


def end_also(ending: Ending) -> None:
    """Let a slice above end its own kind of logins wherever all of a person's logins end, called with their id."""
    _other_endings.append(ending)


def begin(session: Session, user: User, *, address: str, user_agent: str, is_complete: bool = True) -> str:
    """Begin a login and answer its token, which nobody can find out again; the caller commits."""
    token = secrets.token_urlsafe(32)
    limit = ABSOLUTE_LIMIT if is_complete else SECOND_FACTOR_LIMIT
    session.add(
        LoginSession(
            user_id=user.id,
            token_hash=hash_token(token),
            is_complete=is_complete,
            address=address,
            user_agent=user_agent[:_USER_AGENT_MAX],
            ends_at=func.now() + limit,
        )
    )
    session.flush()
    return token


def find(session: Session, token: str, *, is_complete: bool = True) -> Login | None:
    """Return the login that a token opens; None when it is over or its account is disabled."""
    row = session.execute(
        select(LoginSession, User, (LoginSession.last_used_at < func.now() - _NOTED_EVERY).label("is_note_due"))
        .join(User, User.id == LoginSession.user_id)
        .where(
            LoginSession.token_hash == hash_token(token),
            LoginSession.is_complete.is_(is_complete),
            LoginSession.ends_at > func.now(),
            LoginSession.last_used_at > func.now() - IDLE_LIMIT,
            User.disabled_at.is_(None),
        )
    ).one_or_none()
    return None if row is None else Login(row[0].id, row[1], is_note_due=row[2])


def renew(session: Session, session_id: int) -> str:
    """Give a login another token and answer it; the one before opens nothing any more. The caller commits."""
    token = secrets.token_urlsafe(32)
    session.execute(update(LoginSession).where(LoginSession.id == session_id).values(token_hash=hash_token(token)))
    return token


def note_use(session: Session, session_id: int, address: str) -> None:
    """Note that a login is used, and from where; the caller commits."""
    used = update(LoginSession).where(LoginSession.id == session_id)
    session.execute(used.values(last_used_at=func.now(), address=address))


def list_of(session: Session, user_id: int) -> Sequence[LoginSession]:
    """Return a person's logins that are good, the latest used first."""
    return session.scalars(
        select(LoginSession)
        .where(
            LoginSession.user_id == user_id,
            LoginSession.is_complete,
            LoginSession.ends_at > func.now(),
            LoginSession.last_used_at > func.now() - IDLE_LIMIT,
        )
        .order_by(LoginSession.last_used_at.desc(), LoginSession.id.desc())
        .limit(500)
    ).all()


def end(session: Session, user_id: int, session_id: int) -> None:
    """End one login of a person.

    Raises: UnknownSession.
    """
    ended = delete(LoginSession).where(LoginSession.id == session_id, LoginSession.user_id == user_id)
    if session.scalar(ended.returning(LoginSession.id)) is None:
        raise UnknownSession(f"you have no login {session_id}: it may be over already")


def end_token(session: Session, token: str) -> None:
    """End the login that a token opens, if there is one."""
    session.execute(delete(LoginSession).where(LoginSession.token_hash == hash_token(token)))


def end_all(session: Session, user_id: int, *, but: int | None = None) -> int:
    """End all logins of a person, but one if so wanted; answer how many in browsers."""
    ended = session.scalars(
        delete(LoginSession)
        .where(LoginSession.user_id == user_id, LoginSession.id != (but or 0))
        .returning(LoginSession.id)
    ).all()
    for ending in _other_endings:
        ending(session, user_id)
    return len(ended)


def hash_token(token: str) -> bytes:
    """Hash a token of 256 random bits: nothing slower is needed."""
    return hashlib.sha256(token.encode(errors="replace")).digest()


def purge(session: Session) -> int:
    """Delete logins that are over, and attempts that are forgotten; answer how many logins."""
    over = (LoginSession.ends_at < func.now()) | (LoginSession.last_used_at < func.now() - IDLE_LIMIT)
    ended = session.scalars(delete(LoginSession).where(over).returning(LoginSession.id)).all()
    session.execute(text("DELETE FROM login_attempts WHERE last_at < now() - interval '1 day'"))
    session.execute(text("DELETE FROM password_resets WHERE ends_at < now()"))
    return len(ended)
