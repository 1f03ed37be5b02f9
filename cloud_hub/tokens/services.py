"""Service accounts: programs of an organisation that act in their own name. Callers commit."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Row, Select, select
from sqlalchemy.orm import Session

from cloud_hub.access.actor import Actor, Subject
from cloud_hub.access.grants import permissions_of
from cloud_hub.access.models import CustomRole, Membership
from cloud_hub.access.permissions import Permission, Role
from cloud_hub.audit.service import record
from cloud_hub.errors import Conflict, Forbidden, Invalid, NotFound
from cloud_hub.organisations.models import Organisation
from cloud_hub.tokens.models import Token
from cloud_hub.tokens.service import BeyondHolder, create_token, revoke_all
from cloud_hub.users.models import User
from cloud_hub.users.proving import proving
from cloud_hub.web.pagination import Page, Window, cut

SERVICE = "service"


class UnknownService(NotFound):
    """There is no such service account."""


class ServiceExists(Conflict):
    """The organisation has a service account of that name."""


class RoleUnfit(Invalid):
    """A service account cannot have that role."""


class BeyondMaker(Forbidden):
    """Nobody gives a service account more than they may do themselves."""


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A service account with what it is in its organisation."""

    user: User
    membership: Membership
    role_slug: str | None
    """The custom role that it has."""

    @property
    def role(self) -> str:
        """The word by which its role is named: one of `Role`, or a custom role's slug."""
        return self.role_slug or self.membership.role


def create_service(
    session: Session, organisation: Organisation, *, maker: Actor, name: str, role: str
) -> ServiceAccount:
    """Add a service account with a role: a word of `Role`, or the slug of a custom role.

    Raises: ServiceExists, RoleUnfit, BeyondMaker.
    """
    custom = _find_role(session, organisation, role)
    _refuse_beyond(organisation, maker, role, custom)
    _hold_names(session, organisation.id)
    if session.execute(_select(organisation.id).where(User.name == name)).first() is not None:
        raise ServiceExists(f"{organisation.slug} has a service {name!r} already: take another name")
    user = User(kind=SERVICE, name=name, organisation_id=organisation.id)
    with proving(session):  # until it is a member, it is seen by nobody, not even by who adds it
        session.add(user)
        session.flush()
        membership = Membership(
            user_id=user.id,
            organisation_id=organisation.id,
            role=Role.CUSTOM if custom else role,
            role_id=custom.id if custom else None,
        )
        session.add(membership)
        session.flush()
    service = ServiceAccount(user, membership, custom.slug if custom else None)
    _note(session, service, maker, "service_created", {"after": _describe(service)})
    return service


def list_services(session: Session, organisation_id: int, window: Window) -> Page[ServiceAccount]:
    """List an organisation's service accounts by age, the disabled ones among them."""
    rows = session.execute(
        _select(organisation_id).where(User.id > window.after_id).order_by(User.id).limit(window.limit + 1)
    )
    return cut([_account(row) for row in rows], window, lambda service: service.user.id)


def get_service(session: Session, user_id: int, *, for_change: bool = False) -> ServiceAccount:
    """Return a service account; for a change it is locked.

    Raises: UnknownService.
    """
    query = _select().where(User.id == user_id)
    if for_change:
        query = query.with_for_update(of=User).execution_options(populate_existing=True)
    row = session.execute(query).one_or_none()
    if row is None:
        raise UnknownService(f"there is no service {user_id}")
    return _account(row)


def change_service(
    session: Session, service: ServiceAccount, *, maker: Actor, role: str | None = None, is_disabled: bool | None = None
) -> ServiceAccount:
    """Give a service account another role, disable it, or let it act again. Disabled, its tokens are refused at once.

    Raises: RoleUnfit, BeyondMaker.
    """
    before = _describe(service)
    organisation = session.get_one(Organisation, service.membership.organisation_id)
    _refuse_beyond_present(organisation, maker, service, session)
    if role is not None:
        custom = _find_role(session, organisation, role)
        _refuse_beyond(organisation, maker, role, custom)
        service.membership.role = Role.CUSTOM if custom else role
        service.membership.role_id = custom.id if custom else None
        service = ServiceAccount(service.user, service.membership, custom.slug if custom else None)
    if is_disabled is not None:
        service.user.disabled_at = (service.user.disabled_at or datetime.now(UTC)) if is_disabled else None
    session.flush()
    _note(session, service, maker, "service_changed", {"before": before, "after": _describe(service)})
    return service


def delete_service(session: Session, service: ServiceAccount, *, maker: Actor) -> None:
    """End a service account and all its tokens. Its row stays, for the audit trail; its name is free again."""
    now = datetime.now(UTC)
    organisation = session.get_one(Organisation, service.membership.organisation_id)
    _refuse_beyond_present(organisation, maker, service, session)
    _note(session, service, maker, "service_deleted", {"before": _describe(service)})
    revoke_all(session, service.user.id, now)
    service.user.disabled_at = service.user.disabled_at or now
    session.flush()
    session.delete(service.membership)
    session.flush()


def create_service_token(
    session: Session,
    service: ServiceAccount,
    *,
    maker: Actor,
    name: str,
    permissions: Collection[Permission],
    days: int,
) -> tuple[Token, str]:
    """Make an API token for a service account; return it with its text, which is never seen again.

    Raises: BeyondHolder, TooManyTokens.
    """
    beyond = sorted(permission for permission in permissions if permission not in permissions_held(session, service))
    if beyond:
        raise BeyondHolder(f"the service {service.user.name!r} may not {', '.join(beyond)}: give it another role first")
    token, text = create_token(
        session,
        service.user,
        maker=maker,
        name=name,
        permissions=permissions,
        days=days,
        now=datetime.now(UTC),
    )
    detail = {
        "token": token.public_id,
        "name": name,
        "permissions": token.permissions,
        "expires_at": token.expires_at.isoformat(),
    }
    _note(session, service, maker, "token_created", detail)
    return token, text


def permissions_held(session: Session, service: ServiceAccount) -> frozenset[Permission]:
    """Return what a service account may do in its organisation."""
    custom = None if service.membership.role_id is None else session.get(CustomRole, service.membership.role_id)
    return permissions_of(service.membership.role, custom.permissions if custom else None)


def _select(organisation_id: int | None = None) -> Select[User, Membership, str]:
    query = (
        select(User, Membership, CustomRole.slug)
        .join(Membership, (Membership.user_id == User.id) & (Membership.organisation_id == User.organisation_id))
        .outerjoin(CustomRole, CustomRole.id == Membership.role_id)
        .where(User.kind == SERVICE)
    )
    return query if organisation_id is None else query.where(User.organisation_id == organisation_id)


def _account(row: Row[User, Membership, str]) -> ServiceAccount:
    user, membership, role_slug = row
    return ServiceAccount(user, membership, role_slug)


def _find_role(session: Session, organisation: Organisation, role: str) -> CustomRole | None:
    """Return the custom role of that name, the nearest above; None for one that everybody has.

    Raises: RoleUnfit.
    """
    if role == Role.INSTALLER:
        raise RoleUnfit("an installer is limited to sites: give a service another role, and limit its tokens")
    if role in set(Role) - {Role.CUSTOM}:
        return None
    found = session.scalars(
        select(CustomRole).where(CustomRole.slug == role, CustomRole.organisation_id.in_(organisation.lineage))
    ).all()
    if not found:
        known = ", ".join(sorted(set(Role) - {Role.CUSTOM, Role.INSTALLER}))
        raise RoleUnfit(f"there is no role {role!r}: take {known}, or the slug of a custom role")
    return max(found, key=lambda one: organisation.lineage.index(one.organisation_id))


def _refuse_beyond(organisation: Organisation, maker: Actor, role: str, custom: CustomRole | None) -> None:
    wanted = permissions_of(Role.CUSTOM if custom else role, custom.permissions if custom else None)
    _refuse(organisation, maker, wanted, f"give the role {role!r}")


def _refuse_beyond_present(organisation: Organisation, maker: Actor, service: ServiceAccount, session: Session) -> None:
    _refuse(organisation, maker, permissions_held(session, service), f"change the service {service.user.name!r}")


def _refuse(organisation: Organisation, maker: Actor, wanted: Collection[Permission], deed: str) -> None:
    held = maker.permissions_in(Subject(organisation.id, tuple(organisation.lineage)))
    beyond = sorted(permission for permission in wanted if permission not in held)
    if beyond:
        raise BeyondMaker(f"you may not {deed}: it permits {', '.join(beyond)}, which you may not do yourself")


def _hold_names(session: Session, organisation_id: int) -> None:
    """Let no other add a service to the organisation until this transaction is over."""
    session.execute(
        select(Organisation.id).where(Organisation.id == organisation_id).with_for_update(key_share=True)
    ).one()


def _describe(service: ServiceAccount) -> dict[str, object]:
    return {"name": service.user.name, "role": service.role, "disabled": service.user.disabled_at is not None}


def _note(session: Session, service: ServiceAccount, maker: Actor, action: str, detail: Mapping[str, object]) -> None:
    organisation_id = service.membership.organisation_id
    record(
        session, organisation_id, who=maker.label, action=action, subject=f"service:{service.user.id}", detail=detail
    )
