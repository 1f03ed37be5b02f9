"""Groups of meters as JSON."""

from http import HTTPStatus

from cloud_hub.access import routes
from cloud_hub.access.permissions import Permission
from cloud_hub.access.routes import current_actor
from cloud_hub.registry import groups, queries
from cloud_hub.registry.answers import group_out
from cloud_hub.registry.bodies import GroupChanges, GroupIn, GroupsQuery
from cloud_hub.registry.homes import home_of
from cloud_hub.registry.schemas import GroupInListOut, GroupOut
from cloud_hub.web.database import request_session
from cloud_hub.web.etags import require_match
from cloud_hub.web.pagination import PageOut, encode_cursor

api = routes.api("groups_api", tag="Groups")


@api.get("/groups", permission=Permission.SITES_READ, query=GroupsQuery, answer=PageOut[GroupInListOut])
def list_groups(query: GroupsQuery) -> PageOut[GroupInListOut]:
    """List groups by id."""
    session = request_session()
    page = groups.list_groups(session, query.window, query.organisation)
    organisations = queries.map_organisation_slugs(session, {group.organisation_id for group in page.items})
    counts = groups.count_members(session, [group.id for group in page.items])
    items = [
        GroupInListOut(
            id=group.id,
            organisation=organisations.get(group.organisation_id, ""),
            slug=group.slug,
            name=group.name,
            meters=counts.get(group.id, 0),
        )
        for group in page.items
    ]
    return PageOut(items=items, next_cursor=encode_cursor(page.next_key))


@api.post(
    "/groups",
    permission=Permission.METERS_WRITE,
    body=GroupIn,
    answer=GroupOut,
    status=HTTPStatus.CREATED,
    is_idempotent=True,
    problems=(HTTPStatus.CONFLICT,),
)
def create_group(body: GroupIn) -> GroupOut:
    """Make a group of meters of one organisation."""
    session, actor = request_session(), current_actor()
    organisation = home_of(session, actor, body.organisation, Permission.METERS_WRITE)
    group = groups.create_group(session, organisation, body.slug, body.name, body.meters, who=actor.label)
    answer = group_out(session, group)
    session.commit()
    return answer


@api.get("/groups/<id:group_id>", permission=Permission.SITES_READ, answer=GroupOut, is_versioned=True)
def get_group(group_id: int) -> GroupOut:
    """Return one group with its meters."""
    session = request_session()
    return group_out(session, groups.get_group(session, group_id))


@api.patch(
    "/groups/<id:group_id>", permission=Permission.METERS_WRITE, body=GroupChanges, answer=GroupOut, is_versioned=True
)
def edit_group(group_id: int, body: GroupChanges) -> GroupOut:
    """Change a group's name or its meters."""
    session = request_session()
    group = groups.get_group(session, group_id, is_locked=True)
    require_match(group_out(session, group))
    groups.edit_group(session, group, body.given(), who=current_actor().label)
    answer = group_out(session, group)
    session.commit()
    return answer


@api.delete(
    "/groups/<id:group_id>", permission=Permission.METERS_WRITE, is_versioned=True, status=HTTPStatus.NO_CONTENT
)
def delete_group(group_id: int) -> None:
    """Remove a group; its meters stay."""
    session = request_session()
    group = groups.get_group(session, group_id, is_locked=True)
    require_match(group_out(session, group))
    groups.delete_group(session, group, who=current_actor().label)
    session.commit()
