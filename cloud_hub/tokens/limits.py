"""What a token leaves of its holder's rights: never more than they have at that moment. Pure."""

from collections.abc import Collection
from dataclasses import replace

from cloud_hub.access.actor import Actor, Grant
from cloud_hub.access.permissions import Permission


def known_permissions(words: Collection[str]) -> frozenset[Permission]:
    """Return permissions by their words; a word that this release does not know permits nothing."""
    known = {permission.value: permission for permission in Permission}
    return frozenset(known[word] for word in words if word in known)


def within(actor: Actor, organisation_id: int, lineage: Collection[int]) -> Actor:
    """Return the same actor with their grants in that organisation and those below it.

    `lineage` is the organisation's own, from the topmost down to itself.
    """
    kept = (_grant_within(grant, organisation_id, lineage) for grant in actor.grants)
    return replace(actor, grants=tuple(grant for grant in kept if grant is not None))


def _grant_within(grant: Grant, organisation_id: int, lineage: Collection[int]) -> Grant | None:
    if organisation_id in grant.lineage:
        return grant
    # Which of single sites lie in an organisation further down is not known here: such a grant falls away.
    if grant.organisation_id in lineage and grant.sites is None:
        return replace(grant, organisation_id=organisation_id, lineage=tuple(lineage))
    return None
