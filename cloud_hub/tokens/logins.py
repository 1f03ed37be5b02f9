"""Logins of apps: begun by a password, carried on by refresh tokens that are good once each. Callers commit."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from cloud_hub.access.permissions import Permission
from cloud_hub.tokens.credentials import draw_public_id, draw_refresh_token, hash_secret, is_refresh_token
from cloud_hub.tokens.models import RefreshToken, Token
from cloud_hub.tokens.service import LOGIN, LiveToken, find_live_token
from cloud_hub.users.models import User
from cloud_hub.users.sessions import end_also

IDLE: Final = timedelta(days=30)
"""A login ends when its app does not come back within this time,"""
ABSOLUTE: Final = timedelta(days=90)
"""and at last when it is this old."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What became of a refresh token that somebody sent."""

    live: LiveToken | None = None
    """The login, when it goes on,"""
    refresh_token: str = ""
    """with the token for the next time."""
    stolen: Token | None = None
    """The login that has just been ended, because the token had been used before."""


def begin_login(
    session: Session, user: User, *, name: str, permissions: Collection[Permission] | None, now: datetime
) -> tuple[Token, str]:
    """Begin a login of somebody who just proved who they are; return it with its first refresh token."""
    login = Token(
        kind=LOGIN,
        user_id=user.id,
        public_id=draw_public_id(),
        name=name,
        permissions=None if permissions is None else sorted(permissions),
        created_at=now,
        created_by=user.label,
        expires_at=now + IDLE,
    )
    session.add(login)
    session.flush()
    return login, _add_refresh_token(session, login)


def carry_on(session: Session, text: str, now: datetime) -> Carried:
    """Take a refresh token for a new one. One that was used before has been copied: its login ends."""
    if not is_refresh_token(text):
        return Carried()
    known = session.get(RefreshToken, hash_secret(text))
    if known is None:
        return Carried()
    # All refresh tokens of a login wait for each other here: of two that come at once, one is the second.
    login = session.scalars(select(Token).where(Token.id == known.token_id).with_for_update()).one()
    session.refresh(known)
    if known.used_at is not None:
        is_news = login.revoked_at is None
        login.revoked_at = login.revoked_at or now
        session.flush()
        return Carried(stolen=login if is_news else None)
    live = find_live_login(session, login.public_id, now)
    if live is None:
        return Carried()
    known.used_at = now
    login.expires_at = min(now + IDLE, login.created_at + ABSOLUTE)
    return Carried(live, _add_refresh_token(session, login))


def find_live_login(session: Session, public_id: str, now: datetime) -> LiveToken | None:
    """Return a login that has not ended."""
    live = find_live_token(session, public_id, now)
    return live if live is not None and live.token.kind == LOGIN else None


def find_login_of(session: Session, text: str) -> Token | None:
    """Return the login of a refresh token, used or not."""
    known = session.get(RefreshToken, hash_secret(text)) if is_refresh_token(text) else None
    return None if known is None else session.get(Token, known.token_id)


def end_logins(session: Session, user_id: int) -> None:
    """End all logins of somebody's apps: with a new password, as those in browsers. API tokens stay."""
    session.execute(
        update(Token)
        .where(Token.user_id == user_id, Token.kind == LOGIN, Token.revoked_at.is_(None))
        .values(revoked_at=func.now())
    )


end_also(end_logins)


def _add_refresh_token(session: Session, login: Token) -> str:
    text, secret_hash = draw_refresh_token()
    session.add(RefreshToken(secret_hash=secret_hash, token_id=login.id))
    session.flush()
    return text
