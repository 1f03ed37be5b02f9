"""Put letters into the outbox, and see how they fare. Callers commit."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from uuid import UUID, uuid4

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from cloud_hub.errors import Conflict, NotFound
from cloud_hub.mail.models import OutgoingMail


class UnknownLetter(NotFound):
    """No letter has that number."""


class LetterState(StrEnum):
    """How far a letter is."""

    WAITING = "waiting"
    SENT = "sent"
    GIVEN_UP = "given up"


def queue_mail(session: Session, recipient: str, *, subject: str, body: str) -> UUID:
    """Let `work` send a letter in plain text once the transaction is committed; returns the letter's key."""
    key = uuid4()
    # No RETURNING: the web may add letters and read none.
    letter = insert(OutgoingMail).values(key=key, recipient=recipient, subject=subject, body=body)
    session.execute(letter.inline())
    return key


def find_letter(session: Session, key: UUID | None) -> OutgoingMail | None:
    """Return the letter of that key; None when it was forgotten. For `work` and commands: the web reads none."""
    return session.scalars(select(OutgoingMail).where(OutgoingMail.key == key)).one_or_none()


def state_of(letter: OutgoingMail) -> LetterState:
    """Say how far a letter is."""
    if letter.sent_at is not None:
        return LetterState.SENT
    return LetterState.WAITING if letter.given_up_at is None else LetterState.GIVEN_UP


def withdraw_letter(session: Session, key: UUID | None, *, why: str) -> None:
    """Send a letter no more, if it is not gone yet, and forget what it says. For `work`."""
    session.execute(
        update(OutgoingMail)
        .where(OutgoingMail.key == key, OutgoingMail.sent_at.is_(None))
        .values(given_up_at=func.now(), problem=why, body="")
    )


def list_letters(session: Session, *, include_sent: bool, limit: int = 500) -> Sequence[OutgoingMail]:
    """List the newest letters, newest first."""
    query = select(OutgoingMail).order_by(OutgoingMail.id.desc()).limit(limit)
    return session.scalars(query if include_sent else query.where(OutgoingMail.sent_at.is_(None))).all()


def get_letter(session: Session, letter_id: int) -> OutgoingMail:
    """Return a letter, its row locked.

    Raises: UnknownLetter.
    """
    found = session.get(OutgoingMail, letter_id, with_for_update=True)
    if found is None:
        raise UnknownLetter(f"there is no letter {letter_id}: 'meterhaul hub mail list' shows those that there are")
    return found


def resend(session: Session, letter_id: int) -> OutgoingMail:
    """Try a letter again at once, as if for the first time, and return it.

    Raises: UnknownLetter; Conflict when what it said is forgotten.
    """
    letter = get_letter(session, letter_id)
    if not letter.body:
        raise Conflict(f"letter {letter.id} was sent or withdrawn, and what it said is forgotten: make a new one")
    letter.attempts, letter.due_at, letter.given_up_at, letter.problem = 0, _now(session), None, None
    return letter


def _now(session: Session) -> datetime:
    return session.scalars(select(func.now())).one()
