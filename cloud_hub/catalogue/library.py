"""The profiles that come with the program, as the hub offers them."""

from collections.abc import Sequence

from cloud_hub.errors import NotFound
from protocol.errors import UnknownProfile
from protocol.library import get_profile, load_library, profile_ids
from protocol.profile import Profile


def ids() -> Sequence[str]:
    """List the ids of all of them, in order."""
    return profile_ids()


def profiles() -> Sequence[Profile]:
    """List all of them by id; the first time takes a moment."""
    return list(load_library().values())


def get(profile_id: str) -> Profile:
    """Return one of them.

    Raises: NotFound, naming the ids that look alike.
    """
    try:
        return get_profile(profile_id)
    except UnknownProfile as error:
        raise NotFound(str(error)) from error
