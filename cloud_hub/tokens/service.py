"""API tokens: make, find, list, revoke. Callers commit."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Select, func, select, text, update
from sqlalchemy.orm import Session

from cloud_hub.access.actor import Actor, Subject
from cloud_hub.access.grants import load_grants
from cloud_hub.access.permissions import Permission
from cloud_hub.errors import Conflict, Forbidden, NotFound
from cloud_hub.organisations.models import Organisation
from cloud_hub.tokens.credentials import draw_api_token, draw_public_id
from cloud_hub.tokens.limits import known_permissions, within
from cloud_hub.tokens.models import Token
from cloud_hub.users.models import User
from cloud_hub.web.pagination import Page, Window, cut

API: Final = "api"
LOGIN: Final = "login"
DAYS_DEFAULT: Final = 90
DAYS_MAX: Final = 365
TOKENS_MAX: Final = 100
"""Of one holder, at a time."""
KEPT_AFTER_END: Final = timedelta(days=30)
"""How long a token that has ended is still shown."""


class UnknownToken(NotFound):
    """There is no such token of that holder."""


class TooManyTokens(Conflict):
    """They have as many as one may have."""


class BeyondHolder(Forbidden):
    """A token never permits more than its holder, or than who makes it."""


@dataclass(frozen=True, slots=True)
class LiveToken:
    """A token that is good at this moment, with whose it is."""

    token: Token
    user: User
    within_lineage: tuple[int, ...]


def find_live_token(session: Session, public_id: str, now: datetime) -> LiveToken | None:
    """Return a token that is neither revoked nor expired, of an account that is not disabled."""
    row = session.execute(
        select(Token, User, Organisation.lineage)
        .join(User, User.id == Token.user_id)
        .outerjoin(Organisation, Organisation.id == Token.within_id)
        .where(
            Token.public_id == public_id,
            Token.revoked_at.is_(None),
            Token.expires_at > now,
            User.disabled_at.is_(None),
        )
    ).one_or_none()
    return None if row is None else LiveToken(row[0], row[1], tuple(row[2] or ()))


def actor_of(session: Session, live: LiveToken, on_behalf_of: str = "") -> Actor:
    """Return who acts by a token: its holder, as far as the token goes."""
    actor = Actor(
        live.user.id,
        live.user.label,
        load_grants(session, live.user.id),
        token_id=live.token.id,
        on_behalf_of=on_behalf_of,
    )
    if live.token.within_id is not None:
        actor = within(actor, live.token.within_id, live.within_lineage)
    if live.token.permissions is not None:
        actor = actor.limited_to(known_permissions(live.token.permissions))
    return actor


def create_token(
    session: Session,
    holder: User,
    *,
    maker: Actor,
    name: str,
    permissions: Collection[Permission],
    days: int,
    now: datetime,
    organisation: str | None = None,
) -> tuple[Token, str]:
    """Add an API token; return it with its text, which is never seen again.

    `organisation` is the slug of the one to which it is limited. Raises: BeyondHolder, TooManyTokens.
    """
    _refuse_beyond(session, holder, maker, permissions)
    _refuse_too_many(session, holder.id, now)
    limit = None if organisation is None else session.scalars(_id_of(organisation)).one()
    public_id = draw_public_id()
    shown, secret_hash = draw_api_token(public_id)
    token = Token(
        kind=API,
        user_id=holder.id,
        organisation_id=holder.organisation_id,
        public_id=public_id,
        secret_hash=secret_hash,
        name=name,
        permissions=sorted(permissions),
        within_id=limit,
        created_by=maker.label,
        expires_at=now + timedelta(days=days),
    )
    session.add(token)
    session.flush()
    return token, shown


def list_tokens(session: Session, user_id: int, window: Window) -> Page[tuple[Token, str | None]]:
    """List somebody's tokens by age, those that ended of late among them, each with the slug of its limit."""
    rows = session.execute(
        select(Token, Organisation.slug)
        .outerjoin(Organisation, Organisation.id == Token.within_id)
        .where(Token.user_id == user_id, Token.id > window.after_id)
        .order_by(Token.id)
        .limit(window.limit + 1)
    ).all()
    return cut([(token, slug) for token, slug in rows], window, lambda row: row[0].id)


def revoke_token(session: Session, user_id: int, token_id: int, now: datetime) -> Token:
    """End a token; once it is committed, nothing is answered to it. One that has ended stays as it is.

    Raises: UnknownToken.
    """
    token = session.scalars(select(Token).where(Token.id == token_id, Token.user_id == user_id)).one_or_none()
    if token is None:
        raise UnknownToken(f"there is no token {token_id}: list the tokens to see which there are")
    token.revoked_at = token.revoked_at or now
    session.flush()
    return token


def revoke_all(session: Session, user_id: int, now: datetime) -> int:
    """End all tokens and all logins by token of somebody; say how many there were."""
    ended = session.scalars(
        update(Token)
        .where(Token.user_id == user_id, Token.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(Token.id)
    )
    return len(ended.all())


def note_use(session: Session, token_id: int, address: str | None) -> None:
    """Remember when and from where a token was last used: once a minute, so that reading stays reading."""
    session.execute(
        update(Token)
        .where(
            Token.id == token_id,
            func.coalesce(Token.last_used_at, text("'-infinity'")) < func.date_trunc("minute", func.now()),
        )
        .values(last_used_at=func.date_trunc("minute", func.now()), last_used_from=address)
        .execution_options(synchronize_session=False)
    )


def _refuse_beyond(session: Session, holder: User, maker: Actor, permissions: Collection[Permission]) -> None:
    if holder.organisation_id is None:
        beyond = [permission for permission in permissions if not maker.may(permission)]
    else:
        # Whoever makes a token for a service could use it: it must not lend them what they may not.
        lineage = session.scalars(select(Organisation.lineage).where(Organisation.id == holder.organisation_id)).one()
        held = maker.permissions_in(Subject(holder.organisation_id, tuple(lineage)))
        beyond = [permission for permission in permissions if permission not in held]
    if beyond:
        raise BeyondHolder(f"you may not give {', '.join(sorted(beyond))}: leave out what you may not do yourself")


def _refuse_too_many(session: Session, user_id: int, now: datetime) -> None:
    live = session.scalars(
        select(func.count())
        .select_from(Token)
        .where(Token.user_id == user_id, Token.kind == API, Token.revoked_at.is_(None), Token.expires_at > now)
    ).one()
    if live >= TOKENS_MAX:
        raise TooManyTokens(f"there are {live} tokens already, which is as many as there can be: revoke one first")


def _id_of(slug: str) -> Select[int]:
    return select(Organisation.id).where(Organisation.slug == slug)
