"""Shapes of the catalogue, as the API reads and answers them."""

from datetime import UTC, datetime
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from cloud_hub.access.subjects import Names
from cloud_hub.web.documents import Document
from cloud_hub.web.pagination import ListQuery
from protocol.profile import Profile

Instant = Annotated[datetime, AfterValidator(lambda instant: instant.astimezone(UTC))]
"""An instant in UTC, written as ISO 8601."""

_Word = Annotated[str, Field(min_length=1, max_length=100)]


class ProfileQuery(ListQuery):
    """What is looked for; without any of it, everything."""

    text: _Word | None = None
    """A part of its id, maker, model or category."""
    manufacturer: _Word | None = None
    """A part of the maker's name."""
    model: _Word | None = None
    """A part of the model's name."""
    category: _Word | None = None
    """Exactly, such as `meter`."""
    quantity: _Word | None = None
    """What it measures, exactly, such as `active_energy_import`."""
    custom: bool | None = None
    """true: only those that organisations added; false: only those that come with the program."""
    retired: bool = False
    """Whether custom profiles that are not offered any more are listed too."""


class ProfileRowOut(BaseModel):
    """A profile in the list."""

    profile: str
    """The id by which configurations name it."""
    manufacturer: str
    model: str
    category: str
    quantities: list[str]
    """What is read when a configuration names no points."""
    custom_id: int | None
    """The number of a custom profile; null for one that comes with the program."""
    organisation_id: int | None
    """Whose custom profile it is."""
    retired_at: Instant | None


class _Uploaded(Document):
    profile: Profile | None = None
    """The profile, as JSON."""
    toml: Annotated[str, Field(min_length=1, max_length=500_000)] | None = None
    """The same as the text of a TOML file; send one of the two."""

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if (self.profile is None) == (self.toml is None):
            raise ValueError("send either 'profile' or 'toml'")
        return self


class ProfileIn(_Uploaded):
    """A new profile of an organisation."""

    organisation: Annotated[str, Field(min_length=1, max_length=100), Names("organisation")]
    """Its slug; the profile is offered to the organisations below it too."""


class ProfileChange(_Uploaded):
    """The next version of a profile."""


class ProfileOut(BaseModel):
    """A custom profile with what its newest version says."""

    id: int
    organisation_id: int
    version: int
    hash: str
    changed_at: Instant
    retired_at: Instant | None
    profile: Profile


class VersionRowOut(BaseModel):
    """A version in the list."""

    model_config = ConfigDict(from_attributes=True)

    number: int
    hash: str
    created_at: Instant
    created_by: str


class VersionsOut(BaseModel):
    """All versions of a profile, the newest first."""

    items: list[VersionRowOut]


class VersionOut(VersionRowOut):
    """A version with what it says."""

    profile: Profile
