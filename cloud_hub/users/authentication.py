"""Prove who one is: address, password and, where it is switched on, a code. For pages and for the API alike.

Guessing is slowed down in here, so that no way in forgets it.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import structlog
from flask import Flask, current_app
from sqlalchemy.orm import Session

from cloud_hub.errors import Conflict, Forbidden, HubError
from cloud_hub.users import attempts, recovery, totp, trail
from cloud_hub.users.models import User
from cloud_hub.users.passwords import LENGTH_MAX, is_password
from cloud_hub.users.proving import apart, proving
from cloud_hub.users.sealing import Seal
from cloud_hub.users.service import find_user_by_email, normalise_email

_SEAL: Final = "totp_seal"

log = structlog.get_logger(__name__)


class Reason(StrEnum):
    """What came of an attempt."""

    OK = "ok"
    WRONG = "wrong"
    """Address or password: nobody is told which."""
    CODE_NEEDED = "code_needed"
    """The password is right, and a code must come with it."""
    CODE_WRONG = "code_wrong"
    WAIT = "wait"
    """Too many attempts; this one was not looked at."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt to prove who one is."""

    reason: Reason
    user: User | None = None
    """Who it is, once the password was right. They are let in with `Reason.OK` alone."""
    wait_s: float = 0.0
    """Seconds until the next attempt is looked at."""

    @property
    def message(self) -> str:
        """Say it to whoever tried."""
        return {
            Reason.OK: "",
            Reason.WRONG: "E-mail address or password is wrong.",
            Reason.CODE_NEEDED: "Send the code that your authenticator shows, too.",
            Reason.CODE_WRONG: "This code is wrong, or was used before. Wait for the next one.",
            Reason.WAIT: waiting_message(self.wait_s),
        }[self.reason]


class TooManyAttempts(HubError):
    """Whoever this is has failed too often, too fast."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(waiting_message(wait_s))
        self.wait_s = wait_s


class WrongPassword(Forbidden):
    """Somebody who is logged in was asked for their password again, and it is not theirs."""


class NoPassword(Conflict):
    """This account has no password."""


def waiting_message(wait_s: float) -> str:
    """Say how long to wait."""
    return f"Too many attempts. Please wait {int(wait_s) + 1} seconds and try again."


def install_seal(app: Flask, secret_key: bytes) -> None:
    """Let the application open what it keeps of people's authenticators."""
    app.extensions[_SEAL] = Seal(secret_key, "totp")


def current_seal() -> Seal:
    """Return what opens the secrets of authenticators. Only within a request."""
    seal: Seal = current_app.extensions[_SEAL]
    return seal


def authenticate(session: Session, email: str, password: str, code: str | None, address: str) -> Outcome:
    """Find out whose address and password these are, and whether the code is theirs. Only within a request.

    As slow for a stranger as for a slip of the pen. The caller commits, or a code could be used again; what failed
    is counted and recorded here, in transactions of its own.
    """
    email = normalise_email(email)
    account, network = attempts.by_account(email), attempts.by_address(address)
    wait_s = attempts.take(session, account, network)
    if wait_s:
        return Outcome(Reason.WAIT, wait_s=wait_s)
    with proving(session):
        user = find_user_by_email(session, email)
        known = user if user is not None and user.disabled_at is None else None
        if not is_password(password[: LENGTH_MAX + 1], None if known is None else known.password_hash) or known is None:
            _note_failure(session, user, address, "password")
            return Outcome(Reason.WRONG)
        attempts.forgive(session, succeeded=[account], spared=[network])
        return _check_code(session, known, code, address)


def check_code(session: Session, user: User, code: str | None, address: str) -> Outcome:
    """Find out whether the code is theirs whose password was right. Only within a request; the caller commits."""
    with proving(session):
        return _check_code(session, user, code, address)


def confirm_password(session: Session, user: User, password: str, address: str) -> None:
    """Make sure that it is still they who logged in, before something that matters.

    Raises: WrongPassword, NoPassword, TooManyAttempts.
    """
    if user.password_hash is None:
        raise NoPassword("this account has no password: its login is in the hands of the single sign-on")
    key = attempts.by_account(user.email or "")
    wait_s = attempts.take(session, key)
    if wait_s:
        raise TooManyAttempts(wait_s)
    if not is_password(password[: LENGTH_MAX + 1], user.password_hash):
        _note_failure(session, user, address, "password_again")
        raise WrongPassword("the password is wrong: type the one that you log in with")
    attempts.forgive(session, succeeded=[key])


def _check_code(session: Session, user: User, code: str | None, address: str) -> Outcome:
    if not totp.is_on(session, user.id):
        return Outcome(Reason.OK, user)
    if code is None:
        return Outcome(Reason.CODE_NEEDED, user)
    key = attempts.by_code(user.id)
    wait_s = attempts.take(session, key)
    if wait_s:
        return Outcome(Reason.WAIT, user, wait_s)
    if recovery.use_code(session, user.id, code):
        trail.note(session, user, "recovery_code_used", {"left": recovery.count_left(session, user.id)})
    elif not totp.use_code(session, user.id, code, current_seal()):
        _note_failure(session, user, address, "code")
        return Outcome(Reason.CODE_WRONG, user)
    attempts.forgive(session, succeeded=[key])
    return Outcome(Reason.OK, user)


def _note_failure(session: Session, user: User | None, address: str, factor: str) -> None:
    log.warning("login_failed", address=address, user_id=None if user is None else user.id, factor=factor)
    with apart(session) as own:
        trail.note(own, user, "login_failed", {"address": address, "factor": factor}, who="unknown")
