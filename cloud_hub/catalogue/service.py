"""The catalogue: searched, added to, and asked what a configuration's profiles are. Callers commit."""

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from cloud_hub.audit.service import record
from cloud_hub.catalogue import library
from cloud_hub.catalogue.models import CustomProfile, ProfileVersion
from cloud_hub.errors import Conflict, Invalid, NotFound
from cloud_hub.organisations.models import Organisation
from cloud_hub.web.pagination import Page, Window, cut
from protocol.errors import InvalidProfile
from protocol.library import default_points, parse_profile
from protocol.profile import Profile

_HASH_CHARACTERS = 32


class UnknownProfile(NotFound):
    """There is no such profile, or no such version of it."""


class RetiredProfile(Conflict):
    """The profile is not offered any more."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a profile is searched by; what is None does not matter."""

    text: str | None = None
    """A part of its id, maker, model or category."""
    manufacturer: str | None = None
    model: str | None = None
    category: str | None = None
    quantity: str | None = None
    is_custom: bool | None = None
    include_retired: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One profile of the catalogue."""

    slug: str
    manufacturer: str
    model: str
    category: str
    quantities: tuple[str, ...]
    custom: CustomProfile | None = None
    """None for one that comes with the program."""

    @property
    def key(self) -> str:
        """Its place in the catalogue; a custom one's number is of twenty digits, so that texts sort as numbers do."""
        return f"{self.slug} {self.custom.id if self.custom else 0:020}"


def content_hash(body: dict[str, Any]) -> str:
    """Name a profile's content."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_CHARACTERS]


def body_of(profile: Profile) -> dict[str, Any]:
    """Return a profile as JSON can hold it."""
    body: dict[str, Any] = profile.model_dump(mode="json", exclude_none=True)
    return body


def parse_toml(text: str) -> Profile:
    """Read a profile as the library's files are written.

    Raises: Invalid, naming the point and key at fault.
    """
    try:
        return parse_profile(text, "the profile")
    except InvalidProfile as error:
        raise Invalid(str(error)) from error


def search(session: Session, wanted: Wanted, window: Window) -> Page[Entry]:
    """List profiles by id: those that come with the program, and those of organisations in sight."""
    found: list[Entry] = []
    if wanted.is_custom is not True:
        found += [_of_library(profile) for profile in library.profiles() if _matches(_of_library(profile), wanted)]
        found = [entry for entry in found if window.after is None or entry.key > window.after][: window.limit + 1]
    if wanted.is_custom is not False:
        found += _search_custom(session, wanted, window)
    found.sort(key=lambda entry: entry.key)
    return cut(found[: window.limit + 1], window, lambda entry: entry.key)


def get_custom(session: Session, profile_id: int, *, lock: bool = False) -> CustomProfile:
    """Return a custom profile; with `lock`, so that nobody else changes it meanwhile.

    Raises: UnknownProfile.
    """
    query = select(CustomProfile).where(CustomProfile.id == profile_id)
    found = session.scalars(query.with_for_update() if lock else query).one_or_none()
    if found is None:
        raise UnknownProfile(f"there is no custom profile {profile_id}")
    return found


def list_versions(session: Session, profile_id: int) -> list[ProfileVersion]:
    """List the versions of a custom profile, the newest first."""
    query = select(ProfileVersion).where(ProfileVersion.profile_id == profile_id)
    return list(session.scalars(query.order_by(ProfileVersion.number.desc())))


def newest_version(session: Session, profile_id: int) -> ProfileVersion:
    """Return the version of a custom profile that new configurations use."""
    query = select(ProfileVersion).where(ProfileVersion.profile_id == profile_id)
    return session.scalars(query.order_by(ProfileVersion.number.desc()).limit(1)).one()


def get_version(session: Session, profile_id: int, number: int) -> ProfileVersion:
    """Return a version of a custom profile.

    Raises: UnknownProfile.
    """
    found = session.get(ProfileVersion, (profile_id, number))
    if found is None:
        raise UnknownProfile(f"custom profile {profile_id} has no version {number}")
    return found


def create_custom(session: Session, organisation_slug: str, profile: Profile, *, who: str) -> CustomProfile:
    """Add a profile to an organisation's catalogue.

    Raises: Conflict when the library or the organisation has one of that id.
    """
    if profile.id in library.ids():
        raise Conflict(
            f"the profile {profile.id!r} comes with the program: choose another id for yours, such as "
            f"{profile.id + '.own'!r}"
        )
    organisation_id = session.scalars(select(Organisation.id).where(Organisation.slug == organisation_slug)).one()
    known = select(CustomProfile.id).where(
        CustomProfile.organisation_id == organisation_id, CustomProfile.slug == profile.id
    )
    known_id = session.scalars(known).one_or_none()
    if known_id is not None:
        raise Conflict(
            f"organisation {organisation_slug!r} has a profile {profile.id!r} already: change profile {known_id}, "
            "or choose another id"
        )
    custom = CustomProfile(organisation_id=organisation_id, slug=profile.id, hash="", **_searched(profile))
    session.add(custom)
    session.flush()
    _add_version(session, custom, profile, number=1, who=who)
    _note(session, custom, "profile_created", who=who, detail={"id": profile.id, "hash": custom.hash})
    return custom


def change_custom(session: Session, custom: CustomProfile, profile: Profile, *, who: str) -> None:
    """Give a locked profile a new version; earlier ones stay as they are, and so does what was published with them.

    Raises: Invalid when it has another id; RetiredProfile.
    """
    _require_offered(custom)
    if profile.id != custom.slug:
        raise Invalid(f"the profile's id is {profile.id!r} here and {custom.slug!r} there: leave it, or add another")
    before = newest_version(session, custom.id)
    if content_hash(body_of(profile)) == custom.hash:
        return
    for name, value in _searched(profile).items():
        setattr(custom, name, value)
    custom.changed_at = func.now()
    _add_version(session, custom, profile, number=before.number + 1, who=who)
    detail = {"before": {"version": before.number, "hash": before.hash}}
    after = {"version": before.number + 1, "hash": custom.hash}
    _note(session, custom, "profile_changed", who=who, detail=detail | {"after": after})
    session.refresh(custom)


def retire_custom(session: Session, custom: CustomProfile, *, who: str) -> None:
    """Offer a locked profile no more.

    Raises: RetiredProfile.
    """
    _require_offered(custom)
    custom.retired_at = func.now()
    _note(session, custom, "profile_retired", who=who, detail={"id": custom.slug, "hash": custom.hash})


def find_offered(session: Session, lineage: Iterable[int], slugs: Collection[str]) -> dict[str, ProfileVersion]:
    """Return the newest versions of custom profiles of these ids that organisations of a lineage offer.

    `lineage` runs from the topmost organisation down; the nearest one's profile goes before those above.
    """
    places = {organisation_id: place for place, organisation_id in enumerate(lineage)}
    query = (
        select(CustomProfile.organisation_id, CustomProfile.slug, ProfileVersion)
        .join(ProfileVersion, ProfileVersion.profile_id == CustomProfile.id)
        .where(
            CustomProfile.slug.in_(slugs),
            CustomProfile.organisation_id.in_(places),
            CustomProfile.retired_at.is_(None),
        )
        .order_by(ProfileVersion.number)
    )
    rows = sorted(session.execute(query).all(), key=lambda row: places[row.organisation_id])
    # Later rows are nearer, and among a profile's versions newer.
    return {row.slug: row.ProfileVersion for row in rows}


def _search_custom(session: Session, wanted: Wanted, window: Window) -> list[Entry]:
    query = select(CustomProfile).order_by(CustomProfile.slug.collate("C"), CustomProfile.id).limit(window.limit + 1)
    query = query.where(*_conditions(wanted))
    if window.after is not None:
        slug, _, number = window.after.partition(" ")
        if not number.isdecimal() or len(number) != 20 or int(number) >= 2**63:
            raise Invalid("cursor is not one that this list gave out: begin without it")
        place = (CustomProfile.slug.collate("C") > slug) | (
            (CustomProfile.slug == slug) & (CustomProfile.id > int(number))
        )
        query = query.where(place)
    return [
        Entry(row.slug, row.manufacturer, row.model, row.category, tuple(row.quantities), row)
        for row in session.scalars(query)
    ]


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    row = CustomProfile
    conditions: list[ColumnElement[bool]] = []
    if not wanted.include_retired:
        conditions.append(row.retired_at.is_(None))
    if wanted.text is not None:
        columns = (row.slug, row.manufacturer, row.model, row.category)
        conditions.append(or_(*(column.icontains(wanted.text, autoescape=True) for column in columns)))
    for column, value in ((row.manufacturer, wanted.manufacturer), (row.model, wanted.model)):
        if value is not None:
            conditions.append(column.icontains(value, autoescape=True))
    if wanted.category is not None:
        conditions.append(row.category == wanted.category)
    if wanted.quantity is not None:
        conditions.append(row.quantities.contains([wanted.quantity]))
    return conditions


def _matches(entry: Entry, wanted: Wanted) -> bool:
    texts = (entry.slug, entry.manufacturer, entry.model, entry.category)
    return (
        (wanted.text is None or any(wanted.text.lower() in text.lower() for text in texts))
        and (wanted.manufacturer is None or wanted.manufacturer.lower() in entry.manufacturer.lower())
        and (wanted.model is None or wanted.model.lower() in entry.model.lower())
        and (wanted.category is None or wanted.category == entry.category)
        and (wanted.quantity is None or wanted.quantity in entry.quantities)
    )


def _of_library(profile: Profile) -> Entry:
    return Entry(profile.id, profile.manufacturer, profile.model, profile.category, _quantities(profile))


def _quantities(profile: Profile) -> tuple[str, ...]:
    return tuple(sorted({point.quantity for point in default_points(profile)}))


def _searched(profile: Profile) -> dict[str, Any]:
    return {
        "manufacturer": profile.manufacturer,
        "model": profile.model,
        "category": profile.category,
        "quantities": list(_quantities(profile)),
    }


def _add_version(session: Session, custom: CustomProfile, profile: Profile, *, number: int, who: str) -> None:
    body = body_of(profile)
    custom.hash = content_hash(body)
    session.add(ProfileVersion(profile_id=custom.id, number=number, hash=custom.hash, body=body, created_by=who))
    session.flush()


def _require_offered(custom: CustomProfile) -> None:
    if custom.retired_at is not None:
        raise RetiredProfile(f"the profile {custom.slug!r} is retired: add one with another id")


def _note(session: Session, custom: CustomProfile, action: str, *, who: str, detail: dict[str, Any]) -> None:
    subject = f"meter_profile:{custom.id}"
    record(session, custom.organisation_id, who=who, action=action, subject=subject, detail=detail)
