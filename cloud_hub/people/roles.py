"""Roles that organisations make for themselves: sets of permissions. Callers commit."""

from collections.abc import Collection

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cloud_hub.access.actor import Actor
from cloud_hub.access.grants import permissions_of
from cloud_hub.access.models import CustomRole, Membership
from cloud_hub.access.permissions import Permission, Role
from cloud_hub.audit.service import record
from cloud_hub.errors import Conflict
from cloud_hub.organisations.models import Organisation
from cloud_hub.people.delegation import UnknownRole, require_all
from cloud_hub.people.models import Invitation
from cloud_hub.web.pagination import Page, Window, cut


class RoleTaken(Conflict):
    """The organisation has a role of that slug."""


class RoleInUse(Conflict):
    """Somebody has that role, or is invited to have it."""


def list_roles(session: Session, organisation: Organisation, window: Window) -> Page[CustomRole]:
    """List the roles that an organisation may use, its own and of those above, by id."""
    query = select(CustomRole).where(
        CustomRole.organisation_id.in_(organisation.lineage), CustomRole.id > window.after_id
    )
    rows = session.scalars(query.order_by(CustomRole.id).limit(window.limit + 1)).all()
    return cut(rows, window, lambda role: role.id)


def get_own_role(session: Session, organisation: Organisation, role_id: int, *, lock: bool = False) -> CustomRole:
    """Return a role of just that organisation.

    Raises: UnknownRole.
    """
    query = select(CustomRole).where(CustomRole.id == role_id, CustomRole.organisation_id == organisation.id)
    found = session.scalars(query.with_for_update() if lock else query).one_or_none()
    if found is None:
        raise UnknownRole(f"{organisation.slug!r} has no role {role_id} of its own")
    return found


def create_role(
    session: Session,
    actor: Actor,
    organisation: Organisation,
    *,
    slug: str,
    name: str,
    permissions: Collection[Permission],
) -> CustomRole:
    """Make a role of what `actor` may do themselves.

    Raises: TooMuch, RoleTaken.
    """
    require_all(actor, organisation, permissions)
    role = CustomRole(organisation_id=organisation.id, slug=slug, name=name, permissions=sorted(set(permissions)))
    try:
        with session.begin_nested():
            session.add(role)
    except IntegrityError as error:
        raise RoleTaken(
            f"{organisation.slug!r} has a role {slug!r} already: change that one, or choose another"
        ) from error
    _note(session, actor, role, "role_created", {"after": _facts(role)})
    return role


def change_role(
    session: Session,
    actor: Actor,
    organisation: Organisation,
    role: CustomRole,
    *,
    name: str | None,
    permissions: Collection[Permission] | None,
) -> None:
    """Rename a role, or change what all may do who have it. Its row is locked.

    Raises: TooMuch, for what it permits now as for what it is to permit.
    """
    before = _facts(role)
    require_all(actor, organisation, permissions_of(Role.CUSTOM, role.permissions))
    require_all(actor, organisation, permissions or ())
    role.name = name or role.name
    if permissions is not None:
        role.permissions = sorted(set(permissions))
    session.flush()
    if _facts(role) != before:
        _note(session, actor, role, "role_changed", {"before": before, "after": _facts(role)})


def delete_role(session: Session, actor: Actor, organisation: Organisation, role: CustomRole) -> None:
    """Delete a role that nobody has. Its row is locked.

    Raises: TooMuch, RoleInUse.
    """
    require_all(actor, organisation, permissions_of(Role.CUSTOM, role.permissions))
    members = session.scalar(select(func.count()).select_from(Membership).where(Membership.role_id == role.id))
    is_open = (Invitation.accepted_at.is_(None), Invitation.revoked_at.is_(None))
    invited = session.scalar(
        select(func.count()).select_from(Invitation).where(Invitation.role_id == role.id, *is_open)
    )
    in_use = f"{members} members and {invited} invitations"
    if not members and not invited:
        try:
            with session.begin_nested():
                session.delete(role)
        except IntegrityError:  # held in an organisation that the actor does not see
            in_use = "somebody"
        else:
            _note(session, actor, role, "role_deleted", {"before": _facts(role)})
            return
    raise RoleInUse(f"the role {role.slug!r} is held by {in_use}: give them another first, and revoke the invitations")


def _facts(role: CustomRole) -> dict[str, object]:
    return {"slug": role.slug, "name": role.name, "permissions": list(role.permissions)}


def _note(session: Session, actor: Actor, role: CustomRole, action: str, detail: dict[str, object]) -> None:
    record(session, role.organisation_id, who=actor.label, action=action, subject=f"role:{role.id}", detail=detail)
