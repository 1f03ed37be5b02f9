"""A new password, and what goes with it: all other logins end, the owner gets a letter, the trail an entry."""

from sqlalchemy import delete
from sqlalchemy.orm import Session

from cloud_hub.users import letters, sessions, trail
from cloud_hub.users.login_models import PasswordReset
from cloud_hub.users.models import User
from cloud_hub.users.service import set_password


def change_password(session: Session, user: User, password: str, *, keep_session: int | None, how: str) -> None:
    """Give an account another password; of its logins only `keep_session` goes on. The caller commits.

    `how` is a word for the trail, such as `reset`. Raises: InvalidAccount.
    """
    set_password(user, password)
    ended = sessions.end_all(session, user.id, but=keep_session)
    session.execute(delete(PasswordReset).where(PasswordReset.user_id == user.id))
    trail.note(session, user, "password_changed", {"how": how, "sessions_ended": ended})
    letters.tell_of_change(session, user, "your password was changed")
