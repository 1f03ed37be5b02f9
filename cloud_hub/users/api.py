"""The API of oneself: who one is, what one may do, how one wants to be served."""

from itertools import chain

from sqlalchemy import text
from sqlalchemy.orm import Session

from cloud_hub.access import routes
from cloud_hub.access.actor import Actor
from cloud_hub.access.guard import SELF
from cloud_hub.access.routes import current_actor
from cloud_hub.users import profiles, totp, trail
from cloud_hub.users.models import User
from cloud_hub.users.schemas import MembershipOut, MeOut, ProfileIn
from cloud_hub.web.database import request_session
from cloud_hub.web.documents import Document
from cloud_hub.web.etags import require_match

api = routes.api("me_api", tag="Oneself")

_MEMBERSHIPS = text("""
    SELECT m.organisation_id, o.slug, o.name, coalesce(r.slug, m.role) AS role, m.is_limited,
           (SELECT array_agg(s.slug ORDER BY s.slug) FROM membership_sites ms JOIN sites s ON s.id = ms.site_id
            WHERE ms.membership_id = m.id) AS sites
    FROM memberships m JOIN organisations o ON o.id = m.organisation_id LEFT JOIN roles r ON r.id = m.role_id
    WHERE m.user_id = :user_id
    ORDER BY o.slug
""")


class NoParameters(Document):
    """This route takes no parameters."""


@api.get("/me", permission=SELF, query=NoParameters, answer=MeOut, is_versioned=True)
def read_me(query: NoParameters) -> MeOut:
    """Tell who is asking, and what they may do."""
    del query
    session, actor = request_session(), current_actor()
    return describe(session, actor, session.get_one(User, actor.user_id))


@api.patch("/me", permission=SELF, body=ProfileIn, answer=MeOut, is_versioned=True)
def change_me(body: ProfileIn) -> MeOut:
    """Change how one wants to be served. What is left out stays as it is."""
    session, actor = request_session(), current_actor()
    user = profiles.lock_user(session, actor.user_id)
    require_match(describe(session, actor, user))
    change = profiles.change_profile(session, user, body)
    trail.note(session, user, "profile_changed", change)
    session.commit()
    return describe(session, actor, user)


def describe(session: Session, actor: Actor, user: User) -> MeOut:
    """Return all that somebody may know of themselves."""
    permissions = {grant.organisation_id: grant.permissions for grant in actor.grants}
    return MeOut(
        id=user.id,
        kind=user.kind,
        email=user.email,
        profile=profiles.get_profile(session, user),
        has_password=user.password_hash is not None,
        has_totp=totp.is_on(session, user.id),
        memberships=[
            MembershipOut(
                organisation=row.slug,
                name=row.name,
                role=row.role,
                sites=list(row.sites or ()) if row.is_limited else None,
                permissions=sorted(permissions.get(row.organisation_id, ())),
            )
            for row in session.execute(_MEMBERSHIPS, {"user_id": user.id})
        ],
        permissions=sorted(set(chain.from_iterable(permissions.values()))),
    )
