"""The profiles that come with the program: one TOML file per device model in `protocol/profiles`."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from pydantic import ValidationError

from protocol.errors import InvalidProfile, UnknownProfile
from protocol.profile import Point, Profile
from protocol.quantities import NOT_MEASURED

_SUFFIX = ".toml"


@cache
def profile_ids() -> tuple[str, ...]:
    """List the ids of all profiles of the library, in order."""
    names = (entry.name for entry in _folder().iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)))


@cache
def get_profile(profile_id: str) -> Profile:
    """Load one profile of the library; only its file is read, and only once.

    Raises: UnknownProfile, whose message names the ids that look alike.
    """
    if profile_id not in profile_ids():
        raise UnknownProfile(unknown_profile_message(profile_id, profile_ids()))
    name = profile_id + _SUFFIX
    return parse_profile((_folder() / name).read_text(encoding="utf-8"), name)


def load_library() -> Mapping[str, Profile]:
    """Return all profiles by id; each file is read when it is first asked for."""
    return _Library()


def parse_profile(text: str, where: str) -> Profile:
    """Parse a profile from TOML; `where` names the file in messages.

    Raises: InvalidProfile, naming the point and key at fault.
    """
    try:
        given = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        message = f"{where} is not TOML: {error}"
        raise InvalidProfile(message) from error
    try:
        return Profile.model_validate(given)
    except ValidationError as error:
        message = f"{where}: {_describe(error, given)}"
        raise InvalidProfile(message) from error


def default_points(profile: Profile) -> tuple[Point, ...]:
    """Choose what is read when a site names no points: all that the device measures and that is sure.

    Left out are texts, settings (`cfg_`), controls (`ctl_`), identification, exponents (read along
    with the points that need them), what cannot be read, what is marked `verify`, and what answers
    under a unit id that only the site knows (`service`).
    """
    return tuple(point for point in profile.points if _is_measured(point))


def unknown_profile_message(profile_id: str, known: Iterable[str]) -> str:
    """Say that a profile is unknown, and which known ids look alike."""
    near = get_close_matches(profile_id, list(known), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "docs/profiles.md tells how to write one."
    return f"profile {profile_id!r} is unknown; {hint}"


def _is_measured(point: Point) -> bool:
    return (
        point.is_readable
        and not point.is_text
        and point.verify is None
        and point.service is None
        and point.quantity not in NOT_MEASURED
        and not point.name.startswith(("cfg_", "ctl_"))
    )


def _describe(error: ValidationError, given: Mapping[str, Any]) -> str:
    """Name the first key at fault, points by their name rather than by their place in the list."""
    first = error.errors()[0]
    said = first["msg"].removeprefix("Value error, ")
    keys = list(first["loc"])
    match keys:
        case ["points" | "objects" as group, int(index), *rest] if isinstance(entry := given[group][index], dict):
            keys = [f"{group.removesuffix('s')} {entry.get('name', index)!r}", *rest]
    where = ": ".join(str(key) for key in keys)
    return f"{where}: {said}" if where and not said.startswith(where) else said


def _folder() -> Traversable:
    return files("protocol") / "profiles"


class _Library(Mapping[str, Profile]):
    def __getitem__(self, profile_id: str) -> Profile:
        try:
            return get_profile(profile_id)
        except UnknownProfile as error:
            raise KeyError(profile_id) from error

    def __iter__(self) -> Iterator[str]:
        return iter(profile_ids())

    def __len__(self) -> int:
        return len(profile_ids())
