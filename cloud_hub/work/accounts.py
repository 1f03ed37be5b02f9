"""What accounts need by the clock: letters to who forgot a password, and an end of what is over."""

from functools import partial

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cloud_hub.settings import HubSettings
from cloud_hub.users import sessions
from cloud_hub.users.resets import answer_requests
from cloud_hub.work.worker import Duty

_LETTERS_S = 2.0
_PURGE_S = 3600.0


def account_duties(settings: HubSettings) -> list[Duty]:
    """Return the duties of accounts."""
    return [
        Duty("password resets", _LETTERS_S, partial(answer_requests, public_url=settings.public_url)),
        Duty("logins", _PURGE_S, forget_ended_logins),
    ]


def forget_ended_logins(engine: Engine) -> int:
    """Delete logins that are over, and what else accounts no longer need; answer how many logins."""
    with Session(engine) as session:
        ended = sessions.purge(session)
        session.commit()
        return ended
