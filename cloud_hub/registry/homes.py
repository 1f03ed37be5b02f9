"""In which organisation something is registered when the request does not say."""

from sqlalchemy.orm import Session

from cloud_hub.access.actor import Actor, Subject
from cloud_hub.access.guard import NotPermitted
from cloud_hub.access.permissions import Permission
from cloud_hub.errors import Invalid
from cloud_hub.organisations.models import Organisation
from cloud_hub.registry.queries import get_organisation


def home_of(
    session: Session, actor: Actor, slug: str | None, permission: Permission, *more: Permission
) -> Organisation:
    """Return the organisation of that slug, or the only one in which the actor holds all of these permissions.

    `permission` is the route's own: where the request names the organisation, the guard has seen to it.
    Raises: NotPermitted, UnknownOrganisation; Invalid when several would do.
    """
    needed = (permission, *more)
    if slug is not None:
        found = get_organisation(session, slug)
        _require(actor, found, more)
        return found
    own = {grant.organisation_id for grant in actor.grants if grant.sites is None and set(needed) <= grant.permissions}
    if not own:
        raise NotPermitted(
            f"you may not do this in any organisation as a whole: it takes the permission {' and '.join(needed)}"
        )
    if len(own) > 1:
        raise Invalid("organisation is missing: you may do this in several organisations, so say in which")
    return session.get_one(Organisation, own.pop())


def _require(actor: Actor, organisation: Organisation, needed: tuple[Permission, ...]) -> None:
    subject = Subject(organisation.id, tuple(organisation.lineage))
    for permission in needed:
        if not actor.may(permission, subject):
            raise NotPermitted(
                f"you may not do this to organisation {organisation.slug!r}: it takes the permission {permission}"
            )
