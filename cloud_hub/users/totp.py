"""Codes of an authenticator (TOTP, RFC 6238): set up, checked once each, switched off."""

import time

import pyotp
from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud_hub.errors import Conflict
from cloud_hub.users.login_models import TotpSecret
from cloud_hub.users.models import User
from cloud_hub.users.sealing import Seal

ISSUER = "Meterhaul"
STEP_S = 30
_DRIFT_STEPS = 1
"""How far clocks may be apart, to either side."""


class TotpIsOn(Conflict):
    """There is an authenticator already."""


class NoTotp(Conflict):
    """There is no authenticator, or none that waits to be confirmed."""


def is_on(session: Session, user_id: int) -> bool:
    """Say whether a login of this person takes a code."""
    return (
        session.scalar(select(TotpSecret.user_id).where(_of(user_id), TotpSecret.confirmed_at.is_not(None))) is not None
    )


def enrol(session: Session, user: User, seal: Seal) -> str:
    """Draw a secret and answer its otpauth URI; it is asked for once `confirm` has seen a code of it.

    Raises: TotpIsOn.
    """
    if is_on(session, user.id):
        raise TotpIsOn("an authenticator is set up already: switch it off before you set up another")
    secret = pyotp.random_base32()
    sealed = seal.close(secret.encode(), _owner(user.id))
    drawn = insert(TotpSecret).values(user_id=user.id, sealed_secret=sealed)
    session.execute(drawn.on_conflict_do_update(index_elements=["user_id"], set_={"sealed_secret": sealed}))
    return uri_of(secret, user)


def pending_uri(session: Session, user: User, seal: Seal) -> str:
    """Return the otpauth URI of a secret that waits to be confirmed.

    Raises: NoTotp.
    """
    row = _find(session, user.id)
    if row is None or row.confirmed_at is not None:
        raise NoTotp("no authenticator waits to be confirmed: begin anew")
    return uri_of(seal.open(row.sealed_secret, _owner(user.id)).decode(), user)


def confirm(session: Session, user_id: int, code: str, seal: Seal) -> bool:
    """Switch it on when the code is right; answer whether it was.

    Raises: NoTotp.
    """
    row = _find(session, user_id)
    if row is None or row.confirmed_at is not None:
        raise NoTotp("no authenticator waits to be confirmed: begin anew")
    if not _spend(session, row, code, seal):
        return False
    session.execute(update(TotpSecret).where(_of(user_id)).values(confirmed_at=func.now()))
    return True


def use_code(session: Session, user_id: int, code: str, seal: Seal) -> bool:
    """Say whether a code is right, and take it out of use with all older ones; the caller commits."""
    row = _find(session, user_id)
    return row is not None and row.confirmed_at is not None and _spend(session, row, code, seal)


def switch_off(session: Session, user_id: int) -> None:
    """Ask for no codes any more."""
    session.execute(delete(TotpSecret).where(_of(user_id)))


def uri_of(secret: str, user: User) -> str:
    """Return what authenticators read off a QR code."""
    return pyotp.TOTP(secret, interval=STEP_S).provisioning_uri(name=user.label, issuer_name=ISSUER)


def _spend(session: Session, row: TotpSecret, code: str, seal: Seal) -> bool:
    totp = pyotp.TOTP(seal.open(row.sealed_secret, _owner(row.user_id)).decode(), interval=STEP_S)
    now = int(time.time()) // STEP_S
    given = "".join(code.split())
    steps = [
        step
        for step in range(now - _DRIFT_STEPS, now + _DRIFT_STEPS + 1)
        if pyotp.utils.strings_equal(totp.generate_otp(step), given)
    ]
    if not steps:
        return False
    # Of two who show the same code at once, the second waits for the first here, and finds it spent.
    unspent = or_(TotpSecret.last_step.is_(None), TotpSecret.last_step < steps[0])
    spent = update(TotpSecret).where(_of(row.user_id), unspent).values(last_step=steps[0])
    return session.scalar(spent.returning(TotpSecret.user_id)) is not None


def _find(session: Session, user_id: int) -> TotpSecret | None:
    found = select(TotpSecret).where(_of(user_id)).execution_options(populate_existing=True)
    return session.scalars(found).one_or_none()


def _of(user_id: int) -> ColumnElement[bool]:
    return TotpSecret.user_id == user_id


def _owner(user_id: int) -> str:
    return f"totp:{user_id}"
