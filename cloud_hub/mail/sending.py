"""Send what is due in the outbox: each letter in a transaction of its own, by any number of senders.

A sender that dies between handing over and committing leaves the letter due: it goes once more, under the same
Message-ID. None is lost.
"""

from datetime import datetime, timedelta
from random import SystemRandom

import structlog
from sqlalchemy import Engine, delete, func, or_, select
from sqlalchemy.orm import Session

from cloud_hub.mail.backoff import TRIED_FOR, wait_after
from cloud_hub.mail.models import OutgoingMail
from cloud_hub.mail.post_office import Connection, LetterRefused, NotDelivered, PostOfficeAway
from cloud_hub.mail.service import state_of
from cloud_hub.settings import PostOffice

KEPT = timedelta(days=30)
"""How long one sees what was sent, and what was given up."""
_AT_ONCE = 100
_DUE = (OutgoingMail.sent_at.is_(None), OutgoingMail.given_up_at.is_(None), OutgoingMail.due_at <= func.now())

log = structlog.get_logger(__name__)


def send_due(engine: Engine, post_office: PostOffice) -> bool:
    """Send letters that are due; say whether there may be more of them."""
    with Session(engine) as session:
        if session.scalar(select(OutgoingMail.id).where(*_DUE).limit(1)) is None:
            return False
    connection = Connection(post_office)
    try:
        with connection:
            return all(_send_one(engine, connection) for _ in range(_AT_ONCE))
    except PostOfficeAway as error:
        log.warning("mail_not_sent", reason=str(error))
        _postpone_all(engine, str(error))
        return False


def _send_one(engine: Engine, connection: Connection) -> bool:
    """Send the letter that has waited longest; False when none is due.

    Raises: PostOfficeAway.
    """
    with Session(engine) as session, session.begin():
        query = select(OutgoingMail).where(*_DUE).order_by(OutgoingMail.due_at).limit(1)
        letter = session.scalars(query.with_for_update(skip_locked=True)).one_or_none()
        if letter is None:
            return False
        now = session.scalars(select(func.now())).one()
        try:
            connection.send(letter)
        except PostOfficeAway:
            raise
        except NotDelivered as error:
            _note_failure(letter, error, now)
        else:
            letter.sent_at, letter.attempts, letter.problem, letter.body = now, letter.attempts + 1, None, ""
        log.info("mail_handled", letter=letter.id, state=state_of(letter))
    return True


def _note_failure(letter: OutgoingMail, error: NotDelivered, now: datetime) -> None:
    letter.attempts += 1
    letter.problem = str(error)
    letter.due_at = now + wait_after(letter.attempts, SystemRandom())
    if isinstance(error, LetterRefused) or now - letter.queued_at > TRIED_FOR:
        letter.given_up_at = now


def _postpone_all(engine: Engine, problem: str) -> None:
    """Note with all that is due that the server is away, so that `hub mail list` says it."""
    with Session(engine) as session, session.begin():
        now = session.scalars(select(func.now())).one()
        for letter in session.scalars(select(OutgoingMail).where(*_DUE).with_for_update(skip_locked=True)):
            _note_failure(letter, NotDelivered(problem), now)


def forget_old(engine: Engine) -> None:
    """Forget letters that were sent or given up long ago."""
    over = or_(OutgoingMail.sent_at.is_not(None), OutgoingMail.given_up_at.is_not(None))
    with engine.begin() as connection:
        connection.execute(delete(OutgoingMail).where(over, OutgoingMail.queued_at < func.now() - KEPT))
