"""Bring creations of people to their end, in `work`: complete, or undone. Each in a transaction of its own."""

from datetime import datetime

import structlog
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cloud_hub.access.models import Membership
from cloud_hub.mail.service import LetterState, find_letter, withdraw_letter
from cloud_hub.mail.service import state_of as letter_state_of
from cloud_hub.organisations.models import Organisation
from cloud_hub.people import saga
from cloud_hub.people.invitations import InvitationState, state_of
from cloud_hub.people.members import get_member, lock_memberships, remove_member
from cloud_hub.people.models import Invitation, PersonCreation
from cloud_hub.people.saga import CreationState, Progress
from cloud_hub.users.models import User

WHO = "work"
"""Whom the audit trail names."""

log = structlog.get_logger(__name__)


def complete_creations(engine: Engine) -> None:
    """Look at every creation that is pending; any number of processes may."""
    with Session(engine) as session:
        query = select(PersonCreation.id).where(PersonCreation.state == CreationState.PENDING)
        pending = session.scalars(query.order_by(PersonCreation.id)).all()
    for creation_id in pending:
        try:
            _advance(engine, creation_id)
        except Exception:  # one that stumbles must not keep the others waiting; it is looked at again
            log.exception("creation_stumbled", creation_id=creation_id)


def _advance(engine: Engine, creation_id: int) -> None:
    with Session(engine) as session, session.begin():
        query = select(PersonCreation).where(
            PersonCreation.id == creation_id, PersonCreation.state == CreationState.PENDING
        )
        creation = session.scalars(query.with_for_update(skip_locked=True)).one_or_none()
        if creation is None:
            return
        # The invitation is locked too: nobody accepts what is just being undone.
        invitation = session.get_one(Invitation, creation.invitation_id, with_for_update=True)
        progress = _look(session, creation, invitation)
        now = session.scalars(select(func.now())).one()
        if progress.refusal:
            _undo(session, creation, invitation, progress.refusal, now)
        elif progress.is_done:
            creation.state, creation.finished_at = CreationState.ACTIVE, now
            saga.note(session, creation, "person_active", who=WHO, detail={"email": invitation.email})


def _look(session: Session, creation: PersonCreation, invitation: Invitation) -> Progress:
    looks = [_look_at_invitation(session, invitation)]
    for name, notes in creation.steps.items():
        step = saga.known_steps().get(name)
        if step is None:
            log.warning("creation_step_unknown", creation_id=creation.id, step=name)
            looks.append(Progress())
            continue
        look = step.check(session, creation, notes)
        looks.append(Progress(look.is_done, f"{name}: {look.refusal}" if look.refusal else ""))
    refusal = next((look.refusal for look in looks if look.refusal), "")
    return Progress(all(look.is_done for look in looks), refusal)


def _look_at_invitation(session: Session, invitation: Invitation) -> Progress:
    state = state_of(invitation, session.scalars(select(func.now())).one())
    if state is InvitationState.ACCEPTED:
        return Progress(is_done=True)
    if state is InvitationState.REVOKED:
        return Progress(refusal="the invitation was revoked")
    if state is InvitationState.EXPIRED:
        return Progress(refusal=f"the invitation was not accepted until {invitation.expires_at:%Y-%m-%d %H:%M} UTC")
    organisation = session.get_one(Organisation, invitation.organisation_id)
    if organisation.archived_at is not None:
        return Progress(refusal=f"the organisation {organisation.slug!r} was archived")
    letter = find_letter(session, invitation.mail_id)
    if letter is not None and letter_state_of(letter) is LetterState.GIVEN_UP:
        return Progress(refusal=f"the letter to {invitation.email} could not be delivered: {letter.problem}")
    return Progress()


def _undo(session: Session, creation: PersonCreation, invitation: Invitation, reason: str, now: datetime) -> None:
    for name, notes in creation.steps.items():
        step = saga.known_steps().get(name)
        if step is not None:
            step.undo(session, creation, notes)
    withdraw_letter(session, invitation.mail_id, why="the creation of its reader was undone")
    organisation = session.get_one(Organisation, creation.organisation_id)
    user_id, membership_id = invitation.user_id, invitation.membership_id
    if invitation.revoked_at is None:
        invitation.revoked_at = now
    session.flush()
    if membership_id is not None:
        lock_memberships(session, organisation)
        remove_member(session, None, organisation, get_member(session, organisation, membership_id), who=WHO)
    if user_id is not None and invitation.made_account:
        _forget_account(session, user_id, now)
    creation.state, creation.reason, creation.finished_at = CreationState.FAILED, reason, now
    saga.note(session, creation, "person_undone", who=WHO, detail={"email": invitation.email, "reason": reason})


def _forget_account(session: Session, user_id: int, now: datetime) -> None:
    """Delete an account that was made for this alone; what has left traces is only switched off."""
    user = session.get(User, user_id)
    elsewhere = select(Membership.id).where(Membership.user_id == user_id).limit(1)
    if user is None or session.scalars(elsewhere).first() is not None:
        return
    try:
        with session.begin_nested():
            session.delete(user)
    except IntegrityError:
        session.refresh(user)
        user.disabled_at = now
