"""Forgotten passwords. The web does the same for every address; `work` finds out whether somebody has it."""

import secrets
from datetime import timedelta

import structlog
from sqlalchemy import Engine, delete, func, insert, select
from sqlalchemy.orm import Session

from cloud_hub.errors import Invalid
from cloud_hub.users import letters
from cloud_hub.users.login_models import PasswordReset, PasswordResetRequest
from cloud_hub.users.models import User
from cloud_hub.users.password_changes import change_password
from cloud_hub.users.service import EMAIL_LENGTH_MAX, find_user_by_email, normalise_email
from cloud_hub.users.sessions import hash_token

VALID_FOR = timedelta(minutes=30)
_AT_ONCE = 100

log = structlog.get_logger(__name__)


class InvalidReset(Invalid):
    """The link is none of ours, was used, or is too old: nobody learns which."""


def ask(session: Session, email: str, address: str) -> None:
    """Note that somebody wants a new password for the account with this address, if there is one; the caller commits."""
    asked = insert(PasswordResetRequest).values(email=normalise_email(email)[:EMAIL_LENGTH_MAX], address=address)
    # No RETURNING: the web may add requests and read none.
    session.execute(asked.inline())


def answer_requests(engine: Engine, public_url: str) -> int:
    """Send a letter to whoever asked and has an account; answer how many asked. Several processes may do it at once."""
    with Session(engine) as session:
        requests = session.scalars(
            select(PasswordResetRequest)
            .order_by(PasswordResetRequest.id)
            .limit(_AT_ONCE)
            .with_for_update(skip_locked=True)
        ).all()
        for request in requests:
            _answer(session, request, public_url)
            session.delete(request)
        session.commit()
        return len(requests)


def reset_password(session: Session, token: str, password: str) -> User:
    """Set a new password by a link from a letter, end all logins, and answer whose it was; the caller commits.

    Raises: InvalidReset, InvalidAccount.
    """
    user = _find(session, token, is_locking=True)
    if user is None:
        raise InvalidReset("this link is not valid any more: ask for another one")
    change_password(session, user, password, keep_session=None, how="reset")
    return user


def is_valid(session: Session, token: str) -> bool:
    """Say whether a link can still be used."""
    return _find(session, token, is_locking=False) is not None


def _find(session: Session, token: str, *, is_locking: bool) -> User | None:
    wanted = (
        select(User)
        .join(PasswordReset, PasswordReset.user_id == User.id)
        .where(
            PasswordReset.token_hash == hash_token(token),
            PasswordReset.ends_at > func.now(),
            User.disabled_at.is_(None),
        )
    )
    if not is_locking:
        return session.scalars(wanted).one_or_none()
    # Of two who use the link at once, the second waits here; by then the link is gone.
    user = session.scalars(wanted.with_for_update(of=User)).one_or_none()
    return user if user is not None and is_valid(session, token) else None


def _answer(session: Session, request: PasswordResetRequest, public_url: str) -> None:
    user = find_user_by_email(session, request.email)
    if user is None or user.email is None or user.disabled_at is not None:
        log.info("password_reset_for_nobody", address=request.address)
        return
    if user.password_hash is None:
        letters.send_no_password(session, user.email)
        return
    token = secrets.token_urlsafe(32)
    # The latest link alone is good.
    session.execute(delete(PasswordReset).where(PasswordReset.user_id == user.id))
    session.add(PasswordReset(token_hash=hash_token(token), user_id=user.id, ends_at=func.now() + VALID_FOR))
    session.flush()
    minutes = int(VALID_FOR.total_seconds() // 60)
    letters.send_reset(session, user.email, public_url, f"/reset/{token}", minutes)
    log.info("password_reset_sent", user_id=user.id, address=request.address)
