"""Members of organisations as JSON."""

from http import HTTPStatus

from cloud_hub.access import routes
from cloud_hub.access.permissions import Permission, Role
from cloud_hub.access.routes import current_actor
from cloud_hub.organisations.tree import get_open, get_organisation
from cloud_hub.people import members
from cloud_hub.people.delegation import decide_standing
from cloud_hub.people.schemas import MemberEdit, MemberIn, MemberOut
from cloud_hub.people.shapes import show_member
from cloud_hub.web.database import request_session
from cloud_hub.web.etags import require_match
from cloud_hub.web.pagination import ListQuery, PageOut, encode_cursor

api = routes.api("members_api", tag="People")


@api.get(
    "/organisations/<organisation>/members",
    permission=Permission.PEOPLE_READ,
    query=ListQuery,
    answer=PageOut[MemberOut],
)
def list_members(organisation: str, query: ListQuery) -> PageOut[MemberOut]:
    """List people and services that belong to an organisation itself, and what they are there.

    Those of the organisations above it may act in it too; they are listed there.
    """
    session = request_session()
    page = members.list_members(session, get_organisation(session, organisation), query.window)
    return PageOut(items=[show_member(one) for one in page.items], next_cursor=encode_cursor(page.next_key))


@api.post(
    "/organisations/<organisation>/members",
    permission=Permission.PEOPLE_WRITE,
    body=MemberIn,
    answer=MemberOut,
    status=HTTPStatus.CREATED,
    is_idempotent=True,
    problems=(HTTPStatus.CONFLICT,),
)
def add_member(organisation: str, body: MemberIn) -> MemberOut:
    """Let somebody who belongs to another organisation of yours belong to this one too. Others are invited."""
    session, actor = request_session(), current_actor()
    found = get_open(session, organisation)
    standing = decide_standing(session, actor, found, role=body.role, role_id=body.role_id, sites=body.sites)
    user_id = members.get_user_id(session, body.member_id)
    added = members.add_member(session, found, user_id, standing, who=actor.label)
    session.commit()
    return show_member(members.get_member(session, found, added.id))


@api.get(
    "/organisations/<organisation>/members/<id:member_id>",
    permission=Permission.PEOPLE_READ,
    answer=MemberOut,
    is_versioned=True,
)
def get_member(organisation: str, member_id: int) -> MemberOut:
    """Return one member."""
    session = request_session()
    return show_member(members.get_member(session, get_organisation(session, organisation), member_id))


@api.patch(
    "/organisations/<organisation>/members/<id:member_id>",
    permission=Permission.PEOPLE_WRITE,
    body=MemberEdit,
    answer=MemberOut,
    is_versioned=True,
    problems=(HTTPStatus.CONFLICT,),
)
def change_member(organisation: str, member_id: int, body: MemberEdit) -> MemberOut:
    """Let a member be something else: never more than you are, nor somebody who is more than you."""
    session, actor = request_session(), current_actor()
    found = get_organisation(session, organisation)
    members.lock_memberships(session, found)
    member = members.get_member(session, found, member_id, lock=True)
    require_match(show_member(member))
    says_role = body.role is not None
    sites = body.sites if "sites" in body.model_fields_set else member.sites
    standing = decide_standing(
        session,
        actor,
        found,
        role=body.role if body.role is not None else Role(member.membership.role),
        role_id=body.role_id if says_role or body.role_id is not None else member.membership.role_id,
        sites=sites,
    )
    members.change_member(session, actor, found, member, standing)
    session.commit()
    return show_member(members.get_member(session, found, member_id))


@api.delete(
    "/organisations/<organisation>/members/<id:member_id>",
    permission=Permission.PEOPLE_WRITE,
    is_versioned=True,
    status=HTTPStatus.NO_CONTENT,
    problems=(HTTPStatus.CONFLICT,),
)
def remove_member(organisation: str, member_id: int) -> None:
    """Let a member belong to the organisation no more; their account stays."""
    session, actor = request_session(), current_actor()
    found = get_organisation(session, organisation)
    members.lock_memberships(session, found)
    member = members.get_member(session, found, member_id, lock=True)
    require_match(show_member(member))
    members.remove_member(session, actor, found, member, who=actor.label)
    session.commit()
