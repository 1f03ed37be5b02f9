"""Rows as the API answers them."""

from collections.abc import Collection
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from cloud_hub.access.models import CustomRole
from cloud_hub.access.permissions import Role
from cloud_hub.organisations.models import Organisation
from cloud_hub.people.delegation import name_sites
from cloud_hub.people.invitations import state_of
from cloud_hub.people.members import Member
from cloud_hub.people.models import Invitation, PersonCreation
from cloud_hub.people.saga import CreationState
from cloud_hub.people.schemas import InvitationOut, MemberOut, PersonOut, RoleOut


def show_role(role: CustomRole, organisation: Organisation) -> RoleOut:
    """Return a role as seen from an organisation."""
    return RoleOut(
        id=role.id,
        slug=role.slug,
        name=role.name,
        permissions=role.permissions,
        is_own=role.organisation_id == organisation.id,
        created_at=role.created_at,
    )


def show_member(member: Member) -> MemberOut:
    """Return a member."""
    membership, user = member.membership, member.user
    return MemberOut(
        id=membership.id,
        user_id=user.id,
        kind=user.kind,
        email=user.email,
        name=user.name,
        role=Role(membership.role),
        role_id=membership.role_id,
        role_name=None if member.role is None else member.role.name,
        permissions=sorted(member.permissions),
        sites=None if member.sites is None else list(member.sites),
        is_disabled=user.disabled_at is not None,
        created_at=membership.created_at,
    )


def show_invitations(session: Session, invitations: Collection[Invitation]) -> list[InvitationOut]:
    """Return invitations, with the names of their sites."""
    names = name_sites(session, {site_id for one in invitations for site_id in one.site_ids or ()})
    now = datetime.now(UTC)
    return [
        InvitationOut(
            id=one.id,
            email=one.email,
            name=one.name,
            role=Role(one.role),
            role_id=one.role_id,
            sites=None if one.site_ids is None else sorted(names[key] for key in one.site_ids if key in names),
            state=state_of(one, now),
            expires_at=one.expires_at,
            invited_by=one.invited_by,
            created_at=one.created_at,
            accepted_at=one.accepted_at,
        )
        for one in invitations
    ]


def show_person(session: Session, creation: PersonCreation, invitation: Invitation) -> PersonOut:
    """Return how far a new person is."""
    return PersonOut(
        id=creation.id,
        state=CreationState(creation.state),
        reason=creation.reason,
        invitation=show_invitations(session, [invitation])[0],
        steps=sorted(creation.steps),
        created_at=creation.created_at,
        finished_at=creation.finished_at,
    )
