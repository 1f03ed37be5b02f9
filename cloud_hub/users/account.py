"""What somebody does to the safety of their own account: password, authenticator, recovery codes, logins.

What matters takes the password again, gives the login another token, tells the owner by a letter, and stands in the
trail. Only within a request; callers commit at once.
"""

from io import BytesIO

import segno
from sqlalchemy.orm import Session

from cloud_hub.access.actor import Actor
from cloud_hub.errors import Invalid
from cloud_hub.users import attempts, letters, recovery, sessions, totp, trail
from cloud_hub.users.access import remote_address, renew_login
from cloud_hub.users.authentication import TooManyAttempts, confirm_password, current_seal
from cloud_hub.users.models import User
from cloud_hub.users.password_changes import change_password
from cloud_hub.users.profiles import lock_user


class WrongCode(Invalid):
    """The authenticator shows another code by now."""


def set_new_password(session: Session, actor: Actor, password: str, new_password: str) -> None:
    """Change one's password; all other logins end.

    Raises: InvalidAccount, and what `confirm_password` raises.
    """
    user = lock_user(session, actor.user_id)
    confirm_password(session, user, password, remote_address())
    change_password(session, user, new_password, keep_session=actor.session_id, how="by its owner")
    renew_login(actor.session_id)


def begin_totp(session: Session, actor: Actor, password: str) -> str:
    """Draw the secret of an authenticator and answer its otpauth URI.

    Raises: TotpIsOn, and what `confirm_password` raises.
    """
    user = lock_user(session, actor.user_id)
    confirm_password(session, user, password, remote_address())
    uri = totp.enrol(session, user, current_seal())
    renew_login(actor.session_id)
    return uri


def confirm_totp(session: Session, actor: Actor, code: str) -> list[str]:
    """Switch the authenticator on, and answer the recovery codes.

    Raises: NoTotp, WrongCode, TooManyAttempts.
    """
    user, key = lock_user(session, actor.user_id), attempts.by_code(actor.user_id)
    wait_s = attempts.take(session, key)
    if wait_s:
        raise TooManyAttempts(wait_s)
    if not totp.confirm(session, user.id, code, current_seal()):
        raise WrongCode("this code is wrong: type the one that the authenticator shows now, and check its clock")
    attempts.forgive(session, succeeded=[key])
    _tell(session, user, "totp_switched_on", "an authenticator was added to your logins")
    return recovery.draw(session, user.id)


def switch_totp_off(session: Session, actor: Actor, password: str) -> None:
    """Let logins go by the password alone again.

    Raises: NoTotp, and what `confirm_password` raises.
    """
    user = lock_user(session, actor.user_id)
    confirm_password(session, user, password, remote_address())
    if not totp.is_on(session, user.id):
        raise totp.NoTotp("there is no authenticator to switch off")
    totp.switch_off(session, user.id)
    recovery.remove(session, user.id)
    _tell(session, user, "totp_switched_off", "the authenticator was taken off your logins")
    renew_login(actor.session_id)


def draw_recovery_codes(session: Session, actor: Actor, password: str) -> list[str]:
    """Make new recovery codes; the old ones are worthless.

    Raises: NoTotp, and what `confirm_password` raises.
    """
    user = lock_user(session, actor.user_id)
    confirm_password(session, user, password, remote_address())
    if not totp.is_on(session, user.id):
        raise totp.NoTotp("recovery codes stand in for an authenticator, and there is none: set one up first")
    codes = recovery.draw(session, user.id)
    _tell(session, user, "recovery_codes_drawn", "new recovery codes were made for your account")
    renew_login(actor.session_id)
    return codes


def end_session(session: Session, actor: Actor, session_id: int) -> None:
    """End one of one's logins.

    Raises: UnknownSession.
    """
    user = lock_user(session, actor.user_id)
    sessions.end(session, user.id, session_id)
    trail.note(session, user, "session_ended", {"session": session_id})


def end_other_sessions(session: Session, actor: Actor) -> int:
    """End all of one's logins but this one; answer how many."""
    user = lock_user(session, actor.user_id)
    ended = sessions.end_all(session, user.id, but=actor.session_id)
    trail.note(session, user, "other_sessions_ended", {"ended": ended})
    return ended


def draw_qr(uri: str) -> str:
    """Draw what an authenticator's camera reads, as SVG that may stand in a page."""
    drawn = BytesIO()
    segno.make(uri, error="m").save(
        drawn, kind="svg", xmldecl=False, svgns=True, scale=5, light="#fff", title="QR code", nl=False
    )
    return drawn.getvalue().decode()


def _tell(session: Session, user: User, action: str, what: str) -> None:
    trail.note(session, user, action, {})
    letters.tell_of_change(session, user, what)
