"""Memberships as the grants of an actor."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain

from sqlalchemy import text
from sqlalchemy.orm import Session

from cloud_hub.access.actor import Grant
from cloud_hub.access.permissions import PERMISSIONS_OF, Permission, Role
from cloud_hub.tenancy.scope import Scope, enter, scope_of

_GRANTS = text("""
    SELECT m.role, m.organisation_id, o.lineage, r.permissions,
           CASE WHEN m.is_limited OR m.role = 'installer' THEN
               coalesce((SELECT array_agg(s.site_id) FROM membership_sites s WHERE s.membership_id = m.id), '{}')
           END AS sites
    FROM memberships m JOIN organisations o ON o.id = m.organisation_id LEFT JOIN roles r ON r.id = m.role_id
    WHERE m.user_id = :user_id
    ORDER BY m.organisation_id
""")
_LINEAGES = text("""
    SELECT s.id, o.lineage FROM sites s JOIN organisations o ON o.id = s.organisation_id
    WHERE s.id = ANY (CAST(:sites AS bigint[]))
""")


def load_grants(session: Session, user_id: int) -> tuple[Grant, ...]:
    """Return what somebody's memberships permit. The session must be bound to nobody yet (`scope.LOGIN`), or to no tenant."""
    rows = session.execute(_GRANTS, {"user_id": user_id}).all()
    lineages = _lineages_of(session, frozenset(chain.from_iterable(row.sites or () for row in rows)))
    return tuple(
        _limit(
            Grant(row.organisation_id, tuple(row.lineage), permissions_of(row.role, row.permissions)),
            row.sites,
            lineages,
        )
        for row in rows
    )


def permissions_of(role: str, custom: list[str] | None) -> frozenset[Permission]:
    """Return what a role permits; words of a custom role that this release does not know permit nothing."""
    if role != Role.CUSTOM:
        return PERMISSIONS_OF.get(Role(role), frozenset())
    known = set(Permission)
    return frozenset(Permission(word) for word in custom or () if word in known)


def _limit(grant: Grant, sites: Iterable[int] | None, lineages: Mapping[int, tuple[int, ...]]) -> Grant:
    """Limit a grant to sites; one that has moved out of the organisation's tree meanwhile is not reached any more."""
    if sites is None:
        return grant
    reached = frozenset(site for site in sites if grant.organisation_id in lineages.get(site, ()))
    return replace(grant, sites=reached, site_lineages=frozenset(lineages[site] for site in reached))


def _lineages_of(session: Session, sites: frozenset[int]) -> Mapping[int, tuple[int, ...]]:
    """Return the lineages of the organisations whose the sites are, by site."""
    if not sites:
        return {}
    # Whoever is proving who they are sees no sites: just these are shown, for this one question.
    scope = scope_of(session)
    if scope is not None:
        enter(session, Scope(sites=sites, is_login=True))
    try:
        rows = session.execute(_LINEAGES, {"sites": sorted(sites)})
        return {row.id: tuple(row.lineage) for row in rows}
    finally:
        if scope is not None:
            enter(session, scope)
