"""Profiles: how somebody wants to be served. Who never said anything has the defaults."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.errors import Invalid
from cloud_hub.users.models import Profile, User
from cloud_hub.users.notifications import Notifications
from cloud_hub.users.schemas import ClockHours, Language, ProfileIn, ProfileOut, TimeDisplay


class NoOwnZone(Invalid):
    """Times shall be shown on one's own clock, and nobody knows which that is."""


def get_profile(session: Session, user: User) -> ProfileOut:
    """Return somebody's profile. The session must be theirs, or one that sees all."""
    row = session.get(Profile, user.id)
    if row is None:
        return ProfileOut(
            name=user.name,
            language=Language.EN,
            time_display=TimeDisplay.SITE,
            time_zone=None,
            clock=ClockHours.TWENTY_FOUR,
            notifications=Notifications(),
        )
    return ProfileOut(
        name=user.name,
        language=Language(row.language),
        time_display=TimeDisplay(row.time_display),
        time_zone=row.time_zone,
        clock=ClockHours(str(row.clock_hours)),
        notifications=Notifications.model_validate(row.notifications),
    )


def change_profile(session: Session, user: User, given: ProfileIn) -> dict[str, Any]:
    """Change what is given, and answer before and after for the trail; the caller commits.

    Raises: NoOwnZone.
    """
    before = get_profile(session, user)
    wanted = {name: getattr(given, name) for name in given.model_fields_set}
    after = before.model_copy(update=wanted)
    if after.time_display is TimeDisplay.OWN and after.time_zone is None:
        raise NoOwnZone("time_zone is missing: times on your own clock need your zone, such as Europe/Berlin")
    row = session.get(Profile, user.id) or Profile(user_id=user.id)
    user.name = after.name
    row.language = after.language
    row.time_display = after.time_display
    row.time_zone = after.time_zone
    row.clock_hours = int(after.clock)
    row.notifications = after.notifications.model_dump(mode="json")
    session.add(row)
    session.flush()
    changed = [name for name in wanted if getattr(before, name) != getattr(after, name)]
    return {
        "before": before.model_dump(mode="json", include=set(changed)),
        "after": after.model_dump(mode="json", include=set(changed)),
    }


def lock_user(session: Session, user_id: int) -> User:
    """Return an account that nobody else changes until the transaction ends."""
    # Without its key: rows that name the account may be added meanwhile, as by a failure that is noted apart.
    held = select(User).where(User.id == user_id).with_for_update(key_share=True)
    return session.scalars(held.execution_options(populate_existing=True)).one()
