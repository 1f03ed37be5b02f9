"""Invitations: made, sent again, taken back. How they are accepted is in `accepting`. Callers commit."""

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Final

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cloud_hub.access.grants import permissions_of
from cloud_hub.access.models import CustomRole, Membership
from cloud_hub.access.permissions import Permission, Role
from cloud_hub.audit.service import record
from cloud_hub.errors import Conflict, NotFound
from cloud_hub.mail.service import queue_mail
from cloud_hub.organisations.models import Organisation
from cloud_hub.people.delegation import Standing, name_sites
from cloud_hub.people.letters import write_invitation
from cloud_hub.people.members import AlreadyMember
from cloud_hub.people.models import Invitation
from cloud_hub.users.models import User
from cloud_hub.web.pagination import Page, Window, cut

LASTS_DAYS: Final = 7
LASTS_DAYS_MAX: Final = 30
_TOKEN_BYTES = 32

LinkOf = Callable[[str], str]
"""Makes the address of a token's page, as it stands in a letter."""


class InvitationState(StrEnum):
    """How far an invitation is."""

    OPEN = "open"
    ACCEPTED = "accepted"
    EXPIRED = "expired"
    REVOKED = "revoked"


class UnknownInvitation(NotFound):
    """The organisation has made no such invitation."""


class InvitedAlready(Conflict):
    """An invitation to that address is open."""


class InvitationOver(Conflict):
    """It was accepted or revoked."""


def state_of(invitation: Invitation, now: datetime) -> InvitationState:
    """Say how far an invitation is."""
    if invitation.revoked_at is not None:
        return InvitationState.REVOKED
    if invitation.accepted_at is not None:
        return InvitationState.ACCEPTED
    return InvitationState.OPEN if now < invitation.expires_at else InvitationState.EXPIRED


def hash_token(token: str) -> bytes:
    """Return what is kept of a token. It is 256 bits of chance: a plain hash cannot be turned round."""
    return sha256(token.encode()).digest()


def list_invitations(session: Session, organisation: Organisation, window: Window) -> Page[Invitation]:
    """List the invitations of just that organisation, by number."""
    query = select(Invitation).where(Invitation.organisation_id == organisation.id, Invitation.id > window.after_id)
    rows = session.scalars(query.order_by(Invitation.id).limit(window.limit + 1)).all()
    return cut(rows, window, lambda invitation: invitation.id)


def get_invitation(
    session: Session, organisation: Organisation, invitation_id: int, *, lock: bool = False
) -> Invitation:
    """Return an invitation of just that organisation.

    Raises: UnknownInvitation.
    """
    query = select(Invitation).where(Invitation.id == invitation_id, Invitation.organisation_id == organisation.id)
    found = session.scalars(query.with_for_update() if lock else query).one_or_none()
    if found is None:
        raise UnknownInvitation(f"{organisation.slug!r} has made no invitation {invitation_id}")
    return found


def permissions_in(session: Session, invitation: Invitation) -> frozenset[Permission]:
    """Return what whoever accepts the invitation will be permitted."""
    custom = session.scalars(select(CustomRole.permissions).where(CustomRole.id == invitation.role_id)).one_or_none()
    return permissions_of(invitation.role, custom)


def invite(
    session: Session,
    organisation: Organisation,
    *,
    email: str,
    name: str,
    standing: Standing,
    lasts_days: int,
    link_of: LinkOf,
    who: str,
) -> Invitation:
    """Ask somebody to belong to an organisation; the letter goes out once the transaction is committed.

    `standing` was decided for whoever invites. Raises: AlreadyMember, InvitedAlready.
    """
    address = email.strip().lower()
    _refuse_members(session, organisation, address)
    now = session.scalars(select(func.now())).one()
    session.execute(
        update(Invitation)
        .where(
            Invitation.organisation_id == organisation.id,
            Invitation.email == address,
            Invitation.accepted_at.is_(None),
            Invitation.revoked_at.is_(None),
            Invitation.expires_at <= now,
        )
        .values(revoked_at=now)
    )
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    invitation = Invitation(
        organisation_id=organisation.id,
        email=address,
        name=name,
        role=standing.role,
        role_id=standing.role_id,
        site_ids=None if standing.site_ids is None else list(standing.site_ids),
        token_hash=hash_token(token),
        expires_at=now + timedelta(days=lasts_days),
        invited_by=who,
    )
    try:
        with session.begin_nested():
            session.add(invitation)
    except IntegrityError as error:
        if "invitations_open" not in str(error.orig):
            raise Conflict("the role was deleted at this moment: choose another") from error
        raise InvitedAlready(
            f"{address} is invited to {organisation.slug!r} already: send that invitation again, or revoke it"
        ) from error
    _send(session, organisation, invitation, link=link_of(token), who=who)
    _note(session, invitation, "person_invited", who, {"after": _facts(session, invitation)})
    return invitation


def send_again(
    session: Session, organisation: Organisation, invitation: Invitation, *, lasts_days: int, link_of: LinkOf, who: str
) -> None:
    """Send a fresh link, good for so many days from now; the one before opens nothing any more. Its row is locked.

    Raises: InvitationOver.
    """
    _require_unanswered(invitation)
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    invitation.token_hash = hash_token(token)
    invitation.expires_at = session.scalars(select(func.now())).one() + timedelta(days=lasts_days)
    _send(session, organisation, invitation, link=link_of(token), who=who)
    _note(session, invitation, "invitation_sent_again", who, {"expires_at": invitation.expires_at.isoformat()})


def revoke(session: Session, invitation: Invitation, *, who: str) -> None:
    """Take an invitation back. Its row is locked.

    Raises: InvitationOver.
    """
    _require_unanswered(invitation)
    invitation.revoked_at = session.scalars(select(func.now())).one()
    session.flush()
    _note(session, invitation, "invitation_revoked", who, {"before": _facts(session, invitation)})


def _refuse_members(session: Session, organisation: Organisation, address: str) -> None:
    query = select(Membership.id).join(User, User.id == Membership.user_id)
    known = query.where(Membership.organisation_id == organisation.id, User.email == address)
    if session.scalars(known).first() is not None:
        raise AlreadyMember(f"{address} belongs to {organisation.slug!r} already: change what they are there")


def _require_unanswered(invitation: Invitation) -> None:
    if invitation.accepted_at is not None:
        raise InvitationOver(f"{invitation.email} has accepted already: change or remove the member instead")
    if invitation.revoked_at is not None:
        raise InvitationOver(f"the invitation to {invitation.email} was revoked: make a new one")


def _send(session: Session, organisation: Organisation, invitation: Invitation, *, link: str, who: str) -> None:
    subject, body = write_invitation(
        organisation=organisation.name,
        name=invitation.name,
        role=Role(invitation.role),
        invited_by=who,
        link=link,
        expires_at=invitation.expires_at,
    )
    invitation.mail_id = queue_mail(session, invitation.email, subject=subject, body=body)
    session.flush()


def _facts(session: Session, invitation: Invitation) -> dict[str, object]:
    sites = None if invitation.site_ids is None else sorted(name_sites(session, invitation.site_ids).values())
    return {
        "email": invitation.email,
        "name": invitation.name,
        "role": invitation.role,
        "role_id": invitation.role_id,
        "sites": sites,
    }


def _note(session: Session, invitation: Invitation, action: str, who: str, detail: dict[str, object]) -> None:
    subject = f"invitation:{invitation.id}"
    record(session, invitation.organisation_id, who=who, action=action, subject=subject, detail=detail)
