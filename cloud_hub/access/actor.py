"""Somebody who asks for something: who they are, and what they may do where. Pure."""

from dataclasses import dataclass, replace
from itertools import chain

from cloud_hub.access.permissions import Permission
from cloud_hub.tenancy.scope import Scope


@dataclass(frozen=True, slots=True)
class Grant:
    """A membership, with what it permits."""

    organisation_id: int
    lineage: tuple[int, ...]
    """From the topmost organisation down to that one."""
    permissions: frozenset[Permission]
    sites: frozenset[int] | None = None
    """The sites that it is limited to; None for all of the organisation and of those below it."""
    site_lineages: frozenset[tuple[int, ...]] = frozenset()
    """Of the organisations whose those sites are: each from the topmost down to that one."""

    @property
    def belongs_to(self) -> frozenset[int]:
        """Organisations that must be known by name to whom it is granted: their own, and whose their sites are."""
        return frozenset({self.organisation_id, *(lineage[-1] for lineage in self.site_lineages)})

    @property
    def offered_by(self) -> frozenset[int]:
        """Organisations whose catalogues may be used, beside those that it reaches as a whole."""
        above = self.lineage if self.sites is not None else self.lineage[:-1]
        return frozenset(chain(above, *self.site_lineages))


@dataclass(frozen=True, slots=True)
class Subject:
    """What something is done to: whose it is."""

    organisation_id: int
    lineage: tuple[int, ...]
    site_id: int | None = None
    """The site that it belongs to; None for what is the organisation's as a whole."""
    is_catalogue: bool = False
    """Whether those below the organisation may read it too, such as a tariff."""


@dataclass(frozen=True, slots=True)
class Actor:
    """A person or a service, as known at the beginning of a request."""

    user_id: int
    label: str
    """For the audit trail: an e-mail address, or `service:name`."""
    grants: tuple[Grant, ...]
    session_id: int | None = None
    """The login that carries the request; None for one by token."""
    token_id: int | None = None
    on_behalf_of: str = ""
    """Whom a service says it acts for."""

    def scope(self, permission: Permission | None = None) -> Scope:
        """Return what they see; with `permission`, only where they hold it."""
        grants = [grant for grant in self.grants if permission is None or permission in grant.permissions]
        return Scope(
            organisations=frozenset(grant.organisation_id for grant in grants if grant.sites is None),
            sites=frozenset(chain.from_iterable(grant.sites or () for grant in grants)),
            members_of=frozenset(chain.from_iterable(grant.belongs_to for grant in grants)),
            ancestors=frozenset(chain.from_iterable(grant.offered_by for grant in grants)),
            user_id=self.user_id,
        )

    def sees(self, subject: Subject) -> bool:
        """Say whether they may know that it exists."""
        return any(_reaches(grant, subject) or _inherits(grant, subject) for grant in self.grants)

    def may(self, permission: Permission, subject: Subject | None = None) -> bool:
        """Say whether they may do it to the subject; without one, whether they may do it anywhere."""
        holding = [grant for grant in self.grants if permission in grant.permissions]
        if subject is None:
            return bool(holding)
        reads = permission.endswith(".read")
        return any(_reaches(grant, subject) or (reads and _inherits(grant, subject)) for grant in holding)

    def permissions_in(self, subject: Subject) -> frozenset[Permission]:
        """Return all that they may do there: nobody can give another more than that."""
        return frozenset(chain.from_iterable(grant.permissions for grant in self.grants if _reaches(grant, subject)))

    def limited_to(self, permissions: frozenset[Permission]) -> "Actor":
        """Return the same actor with these permissions at most, as a token says."""
        return replace(
            self, grants=tuple(replace(grant, permissions=grant.permissions & permissions) for grant in self.grants)
        )


def _reaches(grant: Grant, subject: Subject) -> bool:
    if grant.organisation_id not in subject.lineage:
        return False
    return grant.sites is None or subject.site_id in grant.sites


def _inherits(grant: Grant, subject: Subject) -> bool:
    return subject.is_catalogue and subject.organisation_id in grant.offered_by
