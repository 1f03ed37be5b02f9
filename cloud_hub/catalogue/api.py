"""The catalogue of meter profiles as JSON."""

from http import HTTPStatus

from cloud_hub.access import routes
from cloud_hub.access.permissions import Permission
from cloud_hub.access.routes import current_actor
from cloud_hub.catalogue import library, service
from cloud_hub.catalogue.models import CustomProfile
from cloud_hub.catalogue.schemas import (
    ProfileChange,
    ProfileIn,
    ProfileOut,
    ProfileQuery,
    ProfileRowOut,
    VersionOut,
    VersionRowOut,
    VersionsOut,
)
from cloud_hub.web.database import request_session
from cloud_hub.web.etags import require_match
from cloud_hub.web.pagination import PageOut, encode_cursor
from protocol.profile import Profile

api = routes.api("catalogue_api", tag="Meter profiles")

_NAMED = {"profile_id": "meter_profile"}


@api.get("/meter-profiles", permission=Permission.PROFILES_READ, query=ProfileQuery, answer=PageOut[ProfileRowOut])
def search_profiles(query: ProfileQuery) -> PageOut[ProfileRowOut]:
    """Search the catalogue, by id."""
    wanted = service.Wanted(
        text=query.text,
        manufacturer=query.manufacturer,
        model=query.model,
        category=query.category,
        quantity=query.quantity,
        is_custom=query.custom,
        include_retired=query.retired,
    )
    page = service.search(request_session(), wanted, query.window)
    return PageOut[ProfileRowOut](
        items=[_row_out(entry) for entry in page.items], next_cursor=encode_cursor(page.next_key)
    )


@api.get("/meter-profiles/library/<profile>", permission=Permission.PROFILES_READ, plain=("profile",), answer=Profile)
def get_library_profile(profile: str) -> Profile:
    """Return a profile that comes with the program."""
    return library.get(profile)


@api.post(
    "/meter-profiles",
    permission=Permission.PROFILES_WRITE,
    body=ProfileIn,
    answer=ProfileOut,
    status=HTTPStatus.CREATED,
    is_idempotent=True,
    problems=(HTTPStatus.CONFLICT,),
)
def create_profile(body: ProfileIn) -> ProfileOut:
    """Add a profile to an organisation's catalogue."""
    session = request_session()
    custom = service.create_custom(session, body.organisation, _uploaded(body), who=current_actor().label)
    shape = _profile_out(custom)
    session.commit()
    return shape


@api.get(
    "/meter-profiles/<id:profile_id>",
    permission=Permission.PROFILES_READ,
    names=_NAMED,
    answer=ProfileOut,
    is_versioned=True,
)
def get_profile(profile_id: int) -> ProfileOut:
    """Return a custom profile."""
    return _profile_out(service.get_custom(request_session(), profile_id))


@api.put(
    "/meter-profiles/<id:profile_id>",
    permission=Permission.PROFILES_WRITE,
    names=_NAMED,
    body=ProfileChange,
    answer=ProfileOut,
    is_versioned=True,
    problems=(HTTPStatus.CONFLICT,),
)
def change_profile(profile_id: int, body: ProfileChange) -> ProfileOut:
    """Give a custom profile a new version; what was published with an earlier one keeps that."""
    session = request_session()
    custom = service.get_custom(session, profile_id, lock=True)
    require_match(_profile_out(custom))
    service.change_custom(session, custom, _uploaded(body), who=current_actor().label)
    shape = _profile_out(custom)
    session.commit()
    return shape


@api.delete(
    "/meter-profiles/<id:profile_id>",
    permission=Permission.PROFILES_WRITE,
    names=_NAMED,
    status=HTTPStatus.NO_CONTENT,
    is_versioned=True,
    problems=(HTTPStatus.CONFLICT,),
)
def retire_profile(profile_id: int) -> None:
    """Offer a custom profile no more."""
    session = request_session()
    custom = service.get_custom(session, profile_id, lock=True)
    require_match(_profile_out(custom))
    service.retire_custom(session, custom, who=current_actor().label)
    session.commit()


@api.get(
    "/meter-profiles/<id:profile_id>/versions",
    permission=Permission.PROFILES_READ,
    names=_NAMED,
    answer=VersionsOut,
)
def list_profile_versions(profile_id: int) -> VersionsOut:
    """List the versions of a custom profile, the newest first."""
    rows = service.list_versions(request_session(), profile_id)
    return VersionsOut(items=[VersionRowOut.model_validate(row) for row in rows])


@api.get(
    "/meter-profiles/<id:profile_id>/versions/<id:number>",
    permission=Permission.PROFILES_READ,
    names=_NAMED,
    plain=("number",),
    answer=VersionOut,
)
def get_profile_version(profile_id: int, number: int) -> VersionOut:
    """Return a version of a custom profile."""
    row = service.get_version(request_session(), profile_id, number)
    shown = VersionRowOut.model_validate(row)
    return VersionOut(**shown.model_dump(), profile=Profile.model_validate(row.body))


def _uploaded(body: ProfileIn | ProfileChange) -> Profile:
    return body.profile or service.parse_toml(body.toml or "")


def _profile_out(custom: CustomProfile) -> ProfileOut:
    version = service.newest_version(request_session(), custom.id)
    return ProfileOut(
        id=custom.id,
        organisation_id=custom.organisation_id,
        version=version.number,
        hash=version.hash,
        changed_at=custom.changed_at,
        retired_at=custom.retired_at,
        profile=Profile.model_validate(version.body),
    )


def _row_out(entry: service.Entry) -> ProfileRowOut:
    custom = entry.custom
    return ProfileRowOut(
        profile=entry.slug,
        manufacturer=entry.manufacturer,
        model=entry.model,
        category=entry.category,
        quantities=list(entry.quantities),
        custom_id=None if custom is None else custom.id,
        organisation_id=None if custom is None else custom.organisation_id,
        retired_at=None if custom is None else custom.retired_at,
    )
