"""Invitations and new people as JSON."""

from http import HTTPStatus

from sqlalchemy.orm import Session

from cloud_hub.access import routes
from cloud_hub.access.actor import Actor
from cloud_hub.access.permissions import Permission
from cloud_hub.access.routes import current_actor
from cloud_hub.organisations.models import Organisation
from cloud_hub.organisations.tree import get_open, get_organisation
from cloud_hub.people import invitations, saga
from cloud_hub.people.delegation import decide_standing, require_all
from cloud_hub.people.links import link_to_invitation
from cloud_hub.people.models import Invitation
from cloud_hub.people.schemas import (
    CreatedPersonOut,
    InvitationIn,
    InvitationOut,
    PersonIn,
    PersonOut,
    ResendIn,
)
from cloud_hub.people.shapes import show_invitations, show_person
from cloud_hub.web.database import request_session
from cloud_hub.web.pagination import ListQuery, PageOut, encode_cursor

api = routes.api("invitations_api", tag="People")


@api.get(
    "/organisations/<organisation>/invitations",
    permission=Permission.PEOPLE_READ,
    query=ListQuery,
    answer=PageOut[InvitationOut],
)
def list_invitations(organisation: str, query: ListQuery) -> PageOut[InvitationOut]:
    """List the invitations of an organisation by number."""
    session = request_session()
    page = invitations.list_invitations(session, get_organisation(session, organisation), query.window)
    return PageOut(items=show_invitations(session, page.items), next_cursor=encode_cursor(page.next_key))


@api.post(
    "/organisations/<organisation>/invitations",
    permission=Permission.PEOPLE_WRITE,
    body=InvitationIn,
    answer=InvitationOut,
    status=HTTPStatus.CREATED,
    is_idempotent=True,
    problems=(HTTPStatus.CONFLICT,),
)
def invite(organisation: str, body: InvitationIn) -> InvitationOut:
    """Invite somebody by mail. The answer is the same whether or not the address has an account."""
    session = request_session()
    invitation = make_invitation(session, current_actor(), get_open(session, organisation), body)
    session.commit()
    return show_invitations(session, [invitation])[0]


@api.get(
    "/organisations/<organisation>/invitations/<id:invitation_id>",
    permission=Permission.PEOPLE_READ,
    answer=InvitationOut,
)
def get_invitation(organisation: str, invitation_id: int) -> InvitationOut:
    """Return one invitation."""
    session = request_session()
    found = invitations.get_invitation(session, get_organisation(session, organisation), invitation_id)
    return show_invitations(session, [found])[0]


@api.post(
    "/organisations/<organisation>/invitations/<id:invitation_id>/resend",
    permission=Permission.PEOPLE_WRITE,
    body=ResendIn,
    answer=InvitationOut,
    problems=(HTTPStatus.CONFLICT,),
)
def send_again(organisation: str, invitation_id: int, body: ResendIn) -> InvitationOut:
    """Send an invitation again, with a fresh link; the one before opens nothing any more."""
    session, actor = request_session(), current_actor()
    found = get_open(session, organisation)
    invitation = invitations.get_invitation(session, found, invitation_id, lock=True)
    require_all(actor, found, invitations.permissions_in(session, invitation))
    invitations.send_again(
        session, found, invitation, lasts_days=body.lasts_days, link_of=link_to_invitation, who=actor.label
    )
    session.commit()
    return show_invitations(session, [invitation])[0]


@api.delete(
    "/organisations/<organisation>/invitations/<id:invitation_id>",
    permission=Permission.PEOPLE_WRITE,
    status=HTTPStatus.NO_CONTENT,
    problems=(HTTPStatus.CONFLICT,),
)
def revoke(organisation: str, invitation_id: int) -> None:
    """Take an invitation back; what else the person was to be given is undone with it."""
    session, actor = request_session(), current_actor()
    found = get_organisation(session, organisation)
    invitation = invitations.get_invitation(session, found, invitation_id, lock=True)
    require_all(actor, found, invitations.permissions_in(session, invitation))
    invitations.revoke(session, invitation, who=actor.label)
    session.commit()


@api.post(
    "/organisations/<organisation>/people",
    permission=Permission.PEOPLE_WRITE,
    body=PersonIn,
    answer=CreatedPersonOut,
    status=HTTPStatus.CREATED,
    is_idempotent=True,
    shows_secret=True,
    problems=(HTTPStatus.CONFLICT,),
)
def create_person(organisation: str, body: PersonIn) -> CreatedPersonOut:
    """Create a person with all that they need: invitation, membership, sites, further logins; all of it, or nothing.

    They are pending until the invitation is accepted and every step is done. What can never be complete is undone,
    and `reason` says why.
    """
    session, actor = request_session(), current_actor()
    found = get_open(session, organisation)
    invitation = make_invitation(session, actor, found, body)
    creation, shown = saga.start_creation(session, actor, found, invitation, body.steps)
    session.commit()
    person = show_person(session, creation, invitation)
    return CreatedPersonOut(**dict(person), shown_once=shown)


@api.get("/organisations/<organisation>/people/<id:person_id>", permission=Permission.PEOPLE_READ, answer=PersonOut)
def get_person(organisation: str, person_id: int) -> PersonOut:
    """Return how far a new person is: pending, active, or failed and why."""
    session = request_session()
    creation, invitation = saga.get_creation(session, get_organisation(session, organisation), person_id)
    return show_person(session, creation, invitation)


def make_invitation(session: Session, actor: Actor, organisation: Organisation, body: InvitationIn) -> Invitation:
    """Invite whom `body` says, once it makes sense and the actor may.

    Raises: Invalid, TooMuch, AlreadyMember, InvitedAlready.
    """
    standing = decide_standing(session, actor, organisation, role=body.role, role_id=body.role_id, sites=body.sites)
    return invitations.invite(
        session,
        organisation,
        email=body.email,
        name=body.name or "",
        standing=standing,
        lasts_days=body.lasts_days,
        link_of=link_to_invitation,
        who=actor.label,
    )
