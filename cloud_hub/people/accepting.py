"""Accept an invitation: with a new account, or with the one that one has. Callers commit.

The token is all that a stranger shows, so the session looks at accounts (`scope.LOGIN`) until it is judged, and at
the organisation that invites afterwards.
"""

from dataclasses import dataclass

from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cloud_hub.access.permissions import Role
from cloud_hub.audit.service import record
from cloud_hub.errors import Conflict, Forbidden, Invalid, NotFound
from cloud_hub.organisations.models import Organisation
from cloud_hub.people.delegation import Standing
from cloud_hub.people.invitations import InvitationState, hash_token, state_of
from cloud_hub.people.members import add_member
from cloud_hub.people.models import Invitation
from cloud_hub.tenancy.scope import LOGIN, Scope, enter
from cloud_hub.users.models import User
from cloud_hub.users.passwords import hash_password

_SITES_STILL_THERE = text("""
    SELECT s.id FROM sites s JOIN organisations o ON o.id = s.organisation_id
    WHERE s.id = ANY(:ids) AND o.lineage @> ARRAY[CAST(:organisation_id AS bigint)] ORDER BY s.id
""")


class NoInvitation(NotFound):
    """The link opens nothing, for whatever reason; a stranger does not learn which."""


class AccountNeeded(Forbidden):
    """The address has an account: it takes its login to accept."""


@dataclass(frozen=True, slots=True)
class Offer:
    """An open invitation, as the one who holds its token sees it."""

    invitation: Invitation
    organisation: Organisation
    has_account: bool


def open_offer(session: Session, token: str, *, lock: bool = False) -> Offer:
    """Return the invitation of that token. The session looks at accounts from now on.

    Raises: NoInvitation.
    """
    enter(session, LOGIN)
    query = select(Invitation).where(Invitation.token_hash == hash_token(token))
    invitation = session.scalars(query.with_for_update() if lock else query).one_or_none()
    now = session.scalars(select(func.now())).one()
    if invitation is None or state_of(invitation, now) is not InvitationState.OPEN:
        raise NoInvitation("this invitation is not open any more: ask whoever invited you for a new one")
    organisation = session.get_one(Organisation, invitation.organisation_id)
    if organisation.archived_at is not None:
        raise NoInvitation("this invitation is not open any more: ask whoever invited you for a new one")
    account = session.scalars(select(User.id).where(User.email == invitation.email)).one_or_none()
    return Offer(invitation, organisation, account is not None)


def accept_with_new_account(session: Session, token: str, *, name: str, password: str) -> Offer:
    """Make the account that the invitation is for, and let it belong to the organisation.

    Raises: NoInvitation, AccountNeeded, Invalid for a password that cannot be used.
    """
    offer = open_offer(session, token, lock=True)
    if offer.has_account:
        raise _account_needed(offer)
    name = name or offer.invitation.name
    try:
        password_hash = hash_password(password, (offer.invitation.email, name))
    except ValueError as error:
        raise Invalid(f"the password cannot be used: {error}") from error
    user = User(email=offer.invitation.email, name=name, password_hash=password_hash)
    try:
        with session.begin_nested():
            session.add(user)
    except IntegrityError as error:  # another invitation to the same address was accepted at the same moment
        raise _account_needed(offer) from error
    offer.invitation.made_account = True
    _join(session, offer, user)
    return offer


def accept_with_account(session: Session, token: str, user_id: int) -> Offer:
    """Let the account of somebody who is logged in belong to the organisation.

    Raises: NoInvitation; AccountNeeded when the invitation is for another address; AlreadyMember.
    """
    offer = open_offer(session, token, lock=True)
    user = session.get_one(User, user_id)
    if user.email != offer.invitation.email:
        raise _account_needed(offer)
    _join(session, offer, user)
    return offer


def _join(session: Session, offer: Offer, user: User) -> None:
    invitation, organisation = offer.invitation, offer.organisation
    standing = Standing(Role(invitation.role), invitation.role_id, _sites_left(session, invitation))
    # Whoever holds the token acts for the organisation that gave it, in this alone.
    whom = user.email or ""
    enter(session, Scope(organisations=frozenset({organisation.id}), user_id=user.id, is_login=True))
    membership = add_member(session, organisation, user.id, standing, who=whom)
    invitation.accepted_at = session.scalars(select(func.now())).one()
    invitation.user_id, invitation.membership_id = user.id, membership.id
    session.flush()
    record(
        session,
        organisation.id,
        who=whom,
        action="invitation_accepted",
        subject=f"invitation:{invitation.id}",
        detail={"invited_by": invitation.invited_by, "member": membership.id},
    )


def _sites_left(session: Session, invitation: Invitation) -> tuple[int, ...] | None:
    """Return the sites of the invitation that are still in the organisation's tree.

    Raises: Conflict when none is.
    """
    if invitation.site_ids is None:
        return None
    scope = Scope(organisations=frozenset({invitation.organisation_id}), is_login=True)
    enter(session, scope)
    named = {"ids": invitation.site_ids, "organisation_id": invitation.organisation_id}
    left = tuple(session.scalars(_SITES_STILL_THERE, named))
    if not left:
        raise Conflict("the sites that you were invited to are somewhere else by now: ask for a new invitation")
    return left


def _account_needed(offer: Offer) -> AccountNeeded:
    return AccountNeeded(f"this invitation is for {offer.invitation.email}: log in with that address to accept it")
