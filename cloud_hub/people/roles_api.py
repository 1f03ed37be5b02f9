"""Roles as JSON."""

from http import HTTPStatus

from cloud_hub.access import routes
from cloud_hub.access.guard import SELF
from cloud_hub.access.permissions import PERMISSIONS_OF, Permission, Role
from cloud_hub.access.routes import current_actor
from cloud_hub.organisations.tree import get_open, get_organisation
from cloud_hub.people import roles
from cloud_hub.people.delegation import get_role
from cloud_hub.people.schemas import BuiltInRoleOut, BuiltInRolesOut, RoleEdit, RoleIn, RoleOut
from cloud_hub.people.shapes import show_role
from cloud_hub.web.database import request_session
from cloud_hub.web.etags import require_match
from cloud_hub.web.pagination import ListQuery, PageOut, encode_cursor

api = routes.api("roles_api", tag="People")


@api.get("/roles", permission=SELF, answer=BuiltInRolesOut)
def list_built_in_roles() -> BuiltInRolesOut:
    """List the roles that every organisation has, with what each permits."""
    items = [
        BuiltInRoleOut(role=role, permissions=sorted(permissions), is_limited_to_sites=role is Role.INSTALLER)
        for role, permissions in PERMISSIONS_OF.items()
    ]
    return BuiltInRolesOut(items=items)


@api.get(
    "/organisations/<organisation>/roles",
    permission=Permission.PEOPLE_READ,
    query=ListQuery,
    answer=PageOut[RoleOut],
)
def list_roles(organisation: str, query: ListQuery) -> PageOut[RoleOut]:
    """List the roles that an organisation may use beside the usual ones: its own, and those of the ones above it."""
    session = request_session()
    found = get_organisation(session, organisation)
    page = roles.list_roles(session, found, query.window)
    return PageOut(items=[show_role(role, found) for role in page.items], next_cursor=encode_cursor(page.next_key))


@api.post(
    "/organisations/<organisation>/roles",
    permission=Permission.ROLES_WRITE,
    body=RoleIn,
    answer=RoleOut,
    status=HTTPStatus.CREATED,
    is_idempotent=True,
    problems=(HTTPStatus.CONFLICT,),
)
def create_role(organisation: str, body: RoleIn) -> RoleOut:
    """Make a role of what you may do yourself in the organisation."""
    session = request_session()
    found = get_open(session, organisation)
    role = roles.create_role(
        session, current_actor(), found, slug=body.slug, name=body.name, permissions=body.permissions
    )
    session.commit()
    return show_role(role, found)


@api.get(
    "/organisations/<organisation>/roles/<id:role_id>",
    permission=Permission.PEOPLE_READ,
    answer=RoleOut,
    is_versioned=True,
)
def get_one_role(organisation: str, role_id: int) -> RoleOut:
    """Return one role."""
    session = request_session()
    found = get_organisation(session, organisation)
    return show_role(get_role(session, found, role_id), found)


@api.patch(
    "/organisations/<organisation>/roles/<id:role_id>",
    permission=Permission.ROLES_WRITE,
    body=RoleEdit,
    answer=RoleOut,
    is_versioned=True,
)
def change_role(organisation: str, role_id: int, body: RoleEdit) -> RoleOut:
    """Rename a role, or change what all may do who have it; never beyond what you may do yourself."""
    session = request_session()
    found = get_organisation(session, organisation)
    role = roles.get_own_role(session, found, role_id, lock=True)
    require_match(show_role(role, found))
    roles.change_role(session, current_actor(), found, role, name=body.name, permissions=body.permissions)
    session.commit()
    return show_role(role, found)


@api.delete(
    "/organisations/<organisation>/roles/<id:role_id>",
    permission=Permission.ROLES_WRITE,
    is_versioned=True,
    status=HTTPStatus.NO_CONTENT,
    problems=(HTTPStatus.CONFLICT,),
)
def delete_role(organisation: str, role_id: int) -> None:
    """Delete a role that nobody has."""
    session = request_session()
    found = get_organisation(session, organisation)
    role = roles.get_own_role(session, found, role_id, lock=True)
    require_match(show_role(role, found))
    roles.delete_role(session, current_actor(), found, role)
    session.commit()
