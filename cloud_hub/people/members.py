"""Who belongs to an organisation, and as what. Callers commit."""

from dataclasses import dataclass

from sqlalchemy import Select, delete, func, insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cloud_hub.access.actor import Actor
from cloud_hub.access.grants import permissions_of
from cloud_hub.access.models import CustomRole, Membership, MembershipSite
from cloud_hub.access.permissions import Permission, Role
from cloud_hub.audit.service import record
from cloud_hub.errors import Conflict, NotFound
from cloud_hub.organisations.models import Organisation
from cloud_hub.people.delegation import Standing, name_sites, require_all
from cloud_hub.users.models import User
from cloud_hub.web.pagination import Page, Window, cut

_SITES = text("""
    SELECT ms.membership_id, o.slug || ':' || s.slug AS name
    FROM membership_sites ms JOIN sites s ON s.id = ms.site_id JOIN organisations o ON o.id = s.organisation_id
    WHERE ms.membership_id = ANY(:ids) ORDER BY name
""")


class UnknownMember(NotFound):
    """Nobody belongs to the organisation by that number."""


class AlreadyMember(Conflict):
    """They belong to the organisation already."""


class LastAdmin(Conflict):
    """Without them nobody could do everything any more."""


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody, and what they are in an organisation."""

    membership: Membership
    user: User
    role: CustomRole | None
    sites: tuple[str, ...] | None
    """Names of the sites that they are limited to, as `organisation:slug`; None for all."""

    @property
    def permissions(self) -> frozenset[Permission]:
        """What they may do there."""
        return permissions_of(self.membership.role, None if self.role is None else self.role.permissions)


def list_members(session: Session, organisation: Organisation, window: Window) -> Page[Member]:
    """List who belongs to just that organisation, by number."""
    query = _query(organisation).where(Membership.id > window.after_id)
    rows = session.execute(query.order_by(Membership.id).limit(window.limit + 1)).all()
    sites = _sites_of(session, [membership.id for membership, _, _ in rows])
    members = [Member(membership, user, role, _limit(membership, sites)) for membership, user, role in rows]
    return cut(members, window, lambda member: member.membership.id)


def get_member(session: Session, organisation: Organisation, member_id: int, *, lock: bool = False) -> Member:
    """Return somebody who belongs to just that organisation; with `lock` what they are stays as it is meanwhile.

    Raises: UnknownMember.
    """
    query = _query(organisation).where(Membership.id == member_id)
    row = session.execute(query.with_for_update(of=Membership) if lock else query).one_or_none()
    if row is None:
        raise UnknownMember(f"{organisation.slug!r} has no member {member_id}")
    membership, user, role = row
    return Member(membership, user, role, _limit(membership, _sites_of(session, [member_id])))


def get_user_id(session: Session, member_id: int) -> int:
    """Return whose membership that is, in whatever organisation.

    Raises: UnknownMember.
    """
    user_id = session.scalars(select(Membership.user_id).where(Membership.id == member_id)).one_or_none()
    if user_id is None:
        raise UnknownMember(f"there is no member {member_id}")
    return user_id


def add_member(
    session: Session, organisation: Organisation, user_id: int, standing: Standing, *, who: str
) -> Membership:
    """Let somebody belong to an organisation.

    Raises: AlreadyMember.
    """
    membership = Membership(
        user_id=user_id,
        organisation_id=organisation.id,
        role=standing.role,
        role_id=standing.role_id,
        is_limited=standing.site_ids is not None,
    )
    try:
        with session.begin_nested():
            session.add(membership)
    except IntegrityError as error:
        raise AlreadyMember(f"they belong to {organisation.slug!r} already: change what they are there") from error
    _put_sites(session, membership, standing)
    detail = {"user_id": user_id, "after": _facts(session, membership)}
    _note(session, organisation, who, "member_added", member=membership.id, detail=detail)
    return membership


def change_member(
    session: Session, actor: Actor, organisation: Organisation, member: Member, standing: Standing
) -> None:
    """Let somebody be something else in an organisation; `standing` was decided for `actor`.

    Behind `lock_memberships`. Raises: TooMuch when they hold more than `actor` does, LastAdmin.
    """
    membership = member.membership
    before = _facts(session, membership)
    require_all(actor, organisation, member.permissions)
    if standing.role is not Role.ADMIN or standing.site_ids is not None:
        _require_other_admin(session, organisation, membership)
    membership.role, membership.role_id = standing.role, standing.role_id
    membership.is_limited = standing.site_ids is not None
    session.flush()
    session.execute(delete(MembershipSite).where(MembershipSite.membership_id == membership.id))
    _put_sites(session, membership, standing)
    after = _facts(session, membership)
    if after != before:
        detail = {"user_id": membership.user_id, "before": before, "after": after}
        _note(session, organisation, actor.label, "member_changed", member=membership.id, detail=detail)


def remove_member(
    session: Session, actor: Actor | None, organisation: Organisation, member: Member, *, who: str
) -> None:
    """Let somebody belong to an organisation no more; their account stays.

    Behind `lock_memberships`. Raises: TooMuch when they hold more than `actor` does, LastAdmin.
    """
    membership = member.membership
    require_all(actor, organisation, member.permissions)
    _require_other_admin(session, organisation, membership)
    detail = {"user_id": membership.user_id, "before": _facts(session, membership)}
    session.delete(membership)
    session.flush()
    _note(session, organisation, who, "member_removed", member=membership.id, detail=detail)


def lock_memberships(session: Session, organisation: Organisation) -> None:
    """Let nobody else change who belongs to an organisation: two admins who remove each other wait in line."""
    session.execute(select(Organisation.id).where(Organisation.id == organisation.id).with_for_update())


def standing_of(session: Session, membership: Membership) -> Standing:
    """Return what somebody is now."""
    sites: tuple[int, ...] | None = None
    if membership.is_limited:
        query = select(MembershipSite.site_id).where(MembershipSite.membership_id == membership.id)
        sites = tuple(sorted(session.scalars(query)))
    return Standing(Role(membership.role), membership.role_id, sites)


def _query(organisation: Organisation) -> Select[Membership, User, CustomRole]:
    return (
        select(Membership, User, CustomRole)
        .join(User, User.id == Membership.user_id)
        .outerjoin(CustomRole, CustomRole.id == Membership.role_id)
        .where(Membership.organisation_id == organisation.id)
    )


def _require_other_admin(session: Session, organisation: Organisation, membership: Membership) -> None:
    if organisation.parent_id is not None or membership.role != Role.ADMIN or membership.is_limited:
        return
    others = select(func.count()).select_from(Membership).join(User, User.id == Membership.user_id)
    others = others.where(
        Membership.organisation_id == organisation.id,
        Membership.role == Role.ADMIN,
        Membership.is_limited.is_(False),
        Membership.id != membership.id,
        User.kind == "person",
        User.disabled_at.is_(None),
    )
    if not session.scalar(others):
        raise LastAdmin(
            f"this is the last admin of {organisation.slug!r}, the topmost organisation: make somebody else one first"
        )


def _put_sites(session: Session, membership: Membership, standing: Standing) -> None:
    if standing.site_ids:
        rows = [{"membership_id": membership.id, "site_id": site_id} for site_id in standing.site_ids]
        session.execute(insert(MembershipSite), rows)


def _sites_of(session: Session, membership_ids: list[int]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for membership_id, name in session.execute(_SITES, {"ids": membership_ids}):
        found.setdefault(membership_id, []).append(name)
    return found


def _limit(membership: Membership, sites: dict[int, list[str]]) -> tuple[str, ...] | None:
    return tuple(sites.get(membership.id, ())) if membership.is_limited else None


def _facts(session: Session, membership: Membership) -> dict[str, object]:
    standing = standing_of(session, membership)
    names = None if standing.site_ids is None else sorted(name_sites(session, standing.site_ids).values())
    return {"role": standing.role, "role_id": standing.role_id, "sites": names}


def _note(
    session: Session, organisation: Organisation, who: str, action: str, *, member: int, detail: dict[str, object]
) -> None:
    record(session, organisation.id, who=who, action=action, subject=f"member:{member}", detail=detail)
