"""The letters that people get about their accounts. Plain text, in English."""

from sqlalchemy.orm import Session

from cloud_hub.mail.service import queue_mail
from cloud_hub.users.models import User

_NOT_YOU = "If that was not you, set a new password at once, and tell the administrator of your organisation."


def tell_of_change(session: Session, user: User, what: str) -> None:
    """Tell somebody that something that matters was changed in their account, such as `your password was changed`."""
    if user.email is not None:
        _queue(session, user.email, "Your account was changed", f"{what[:1].upper()}{what[1:]}.\n\n{_NOT_YOU}")


def send_reset(session: Session, email: str, public_url: str, path: str, minutes: int) -> None:
    """Send the link that sets a new password.

    Without a public address the letter holds its path alone: the address that a page was asked for may have been
    made up by whoever asked, to get the link sent to a host of theirs.
    """
    where = (
        f"open\n\n{public_url}{path}\n\n"
        if public_url
        else f"open your hub's page and put\n\n{path}\n\nbehind its address, "
    )
    _queue(
        session,
        email,
        "Set a new password",
        f"Somebody, probably you, asked for a new password. To set it, {where}"
        f"within {minutes} minutes. The link works once.\n\n"
        "If you did not ask for it, do nothing: your password stays as it is.",
    )


def send_no_password(session: Session, email: str) -> None:
    """Answer somebody whose account has no password to forget."""
    _queue(
        session,
        email,
        "Your account has no password",
        "Somebody, probably you, asked for a new password. Your account has none: log in by your organisation's "
        "single sign-on, or accept the invitation that you got by mail.",
    )


def _queue(session: Session, recipient: str, subject: str, body: str) -> None:
    queue_mail(session, recipient, subject=f"{subject} - Meterhaul", body=f"Hello,\n\n{body}\n\nMeterhaul\n")
