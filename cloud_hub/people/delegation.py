"""What somebody wants to let another be, and whether they may: nobody gives, changes or takes more than they have."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from cloud_hub.access.actor import Actor, Subject
from cloud_hub.access.grants import permissions_of
from cloud_hub.access.models import CustomRole
from cloud_hub.access.permissions import Permission, Role
from cloud_hub.errors import Forbidden, Invalid, NotFound
from cloud_hub.organisations.models import Organisation

_SITES = text("""
    SELECT s.id, o.slug || ':' || s.slug AS name
    FROM sites s JOIN organisations o ON o.id = s.organisation_id
    WHERE o.lineage @> ARRAY[CAST(:organisation_id AS bigint)]
      AND ((s.slug = ANY(:slugs)) OR (o.slug || ':' || s.slug) = ANY(:slugs))
""")
_NAMES = text("""
    SELECT s.id, o.slug || ':' || s.slug AS name
    FROM sites s JOIN organisations o ON o.id = s.organisation_id WHERE s.id = ANY(:ids)
""")


class UnknownRole(NotFound):
    """The organisation, and those above it, have no such role."""


class SiteElsewhere(Invalid):
    """A site is not in the organisation's tree."""


class TooMuch(Forbidden):
    """Somebody holds less than what they want to give or take."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What somebody is to be in an organisation."""

    role: Role
    role_id: int | None = None
    """The custom role, if it is one."""
    site_ids: tuple[int, ...] | None = None
    """The sites that it is limited to; None for all."""


def decide_standing(
    session: Session,
    actor: Actor | None,
    organisation: Organisation,
    *,
    role: Role,
    role_id: int | None,
    sites: Collection[str] | None,
) -> Standing:
    """Return what somebody is to be, once it makes sense and `actor` (None: an operator at the console) may give it.

    Raises: Invalid, UnknownRole, SiteElsewhere, TooMuch.
    """
    if (role is Role.CUSTOM) != (role_id is not None):
        raise Invalid("role_id names the role when role is 'custom', and is left out otherwise")
    if role is Role.INSTALLER and sites is None:
        raise Invalid("an installer is always limited to sites: say which in sites")
    custom = None if role_id is None else get_role(session, organisation, role_id)
    require_all(actor, organisation, permissions_of(role, None if custom is None else custom.permissions))
    return Standing(role, role_id, None if sites is None else _find_sites(session, organisation, sites))


def get_role(session: Session, organisation: Organisation, role_id: int) -> CustomRole:
    """Return a custom role that the organisation may use: its own, or of one above it.

    Raises: UnknownRole.
    """
    found = session.scalars(select(CustomRole).where(CustomRole.id == role_id)).one_or_none()
    if found is None or found.organisation_id not in organisation.lineage:
        raise UnknownRole(f"{organisation.slug!r} and the organisations above it have no role {role_id}")
    return found


def require_all(actor: Actor | None, organisation: Organisation, permissions: Collection[Permission]) -> None:
    """Refuse somebody who does not hold all of these permissions in the organisation themselves.

    Raises: TooMuch.
    """
    if actor is None:
        return
    held = actor.permissions_in(Subject(organisation.id, tuple(organisation.lineage)))
    missing = sorted(set(permissions) - held)
    if missing:
        raise TooMuch(
            f"this is about more than you may do in {organisation.slug!r} yourself: {', '.join(missing)}; "
            "ask somebody there who may"
        )


def name_sites(session: Session, site_ids: Collection[int]) -> dict[int, str]:
    """Return the sites' names as requests take them, `organisation:slug`, by their ids."""
    if not site_ids:
        return {}
    return {row.id: row.name for row in session.execute(_NAMES, {"ids": list(site_ids)})}


def _find_sites(session: Session, organisation: Organisation, names: Collection[str]) -> tuple[int, ...]:
    rows = session.execute(_SITES, {"organisation_id": organisation.id, "slugs": sorted(names)}).all()
    by_name: dict[str, set[int]] = {}
    for site_id, name in rows:
        for said in (name, name.rpartition(":")[2]):
            by_name.setdefault(said, set()).add(site_id)
    for name in names:
        if len(by_name.get(name, ())) != 1:
            raise SiteElsewhere(
                f"{organisation.slug!r} and the organisations below it have no site {name!r}"
                if name not in by_name
                else f"several sites below {organisation.slug!r} are called {name!r}: write ORGANISATION:{name}"
            )
    return tuple(sorted({next(iter(by_name[name])) for name in names}))
