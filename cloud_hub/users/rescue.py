"""What an operator does for somebody who cannot log in any more. Recorded, told to the owner; callers commit."""

from sqlalchemy import text
from sqlalchemy.orm import Session

from cloud_hub.users import attempts, letters, recovery, sessions, totp, trail
from cloud_hub.users.models import User
from cloud_hub.users.provider_identities import forget_identities


def remove_authenticator(session: Session, user: User, who: str) -> None:
    """Let logins go by the password alone; whoever is logged in has to log in again.

    Raises: NoTotp.
    """
    if not totp.is_on(session, user.id):
        raise totp.NoTotp(f"{user.label} has no authenticator: there is nothing to remove")
    totp.switch_off(session, user.id)
    recovery.remove(session, user.id)
    sessions.end_all(session, user.id)
    trail.note(session, user, "totp_switched_off", {"by": "operator"}, who=who)
    letters.tell_of_change(session, user, "the operator of the hub took the authenticator off your logins")


def end_sessions(session: Session, user: User, who: str) -> None:
    """End all logins."""
    ended = sessions.end_all(session, user.id)
    trail.note(session, user, "sessions_ended", {"ended": ended}, who=who)
    letters.tell_of_change(session, user, "the operator of the hub ended all your logins")


def forget_failures(session: Session, user: User, who: str) -> None:
    """Let them try again without waiting."""
    keys = [attempts.by_account(user.email or "").text, attempts.by_code(user.id).text]
    session.execute(text("DELETE FROM login_attempts WHERE key = ANY (:keys)"), {"keys": keys})
    trail.note(session, user, "login_failures_forgotten", {}, who=who)


def forget_single_sign_on(session: Session, user: User, who: str) -> None:
    """Let whoever has the account's address at the single sign-on now have the account, from their next coming on."""
    bound = forget_identities(session, user.id)
    sessions.end_all(session, user.id)
    trail.note(session, user, "single_sign_on_forgotten", {"bound": bound}, who=who)
    letters.tell_of_change(session, user, "the operator of the hub let your account be opened anew by single sign-on")
