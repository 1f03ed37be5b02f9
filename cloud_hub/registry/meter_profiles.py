"""Which profiles a meter may have: those of the library, and those that its organisation offers itself."""

from sqlalchemy.orm import Session

from cloud_hub.catalogue.service import find_offered
from cloud_hub.errors import Invalid
from cloud_hub.organisations.models import Organisation
from protocol.errors import UnknownProfile
from protocol.library import get_profile, profile_ids


class NoProfile(Invalid):
    """Neither the library nor the meter's organisation has this profile."""


def require_profile(session: Session, organisation_id: int, profile_id: str) -> None:
    """Refuse a profile that no configuration could be compiled with.

    Raises: NoProfile, which names those that look alike.
    """
    if profile_id in profile_ids():
        return
    lineage = session.get_one(Organisation, organisation_id).lineage
    if profile_id in find_offered(session, lineage, [profile_id]):
        return
    try:
        get_profile(profile_id)
    except UnknownProfile as error:
        raise NoProfile(f"profile: {error}") from error
