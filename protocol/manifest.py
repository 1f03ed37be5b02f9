"""The immutable description of the columns that batches carry, named by the hash of its content."""

import hashlib
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from protocol.errors import MalformedMessage
from protocol.identifiers import MANIFEST_HASH_BYTES, MeterId, PointName, ProfileId


class PointKind(StrEnum):
    """How a point's values may be read."""

    GAUGE = "gauge"
    COUNTER = "counter"
    STATE = "state"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


_Text = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$")]
"""Printable, because it goes into a database and onto pages."""


class ManifestPoint(_Frozen):
    """One column."""

    name: PointName
    quantity: _Text = Field(min_length=1, max_length=64)
    unit: _Text = Field(max_length=32)
    kind: PointKind


class Layout(_Frozen):
    """The points that one kind of scan of one meter holds, in order."""

    meter: MeterId
    label: _Text = Field(default="", max_length=200)
    """What people on the site call the meter; the hub's registry takes it for a meter that it does not know."""
    profile: ProfileId
    period_s: float = Field(gt=0)
    points: tuple[ManifestPoint, ...] = Field(min_length=1, max_length=1_000)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [point.name for point in self.points]
        if len(set(names)) != len(names):
            message = f"layout of meter {self.meter!r} names a point twice"
            raise ValueError(message)
        return self


class Manifest(_Frozen):
    """All layouts of one run of an agent; a batch names the manifest, a group in it the layout's index."""

    version: int = Field(default=1, ge=1, le=1)
    layouts: tuple[Layout, ...] = Field(max_length=20_000)

    @cached_property
    def body(self) -> bytes:
        """The canonical bytes that travel and are hashed."""
        return self.model_dump_json().encode()

    @cached_property
    def hash(self) -> bytes:
        """16 bytes of SHA-256 over the canonical bytes."""
        return manifest_hash(self.body)


def manifest_hash(body: bytes) -> bytes:
    """Hash a manifest's bytes as they travelled."""
    return hashlib.sha256(body).digest()[:MANIFEST_HASH_BYTES]


def parse_manifest(body: bytes) -> Manifest:
    """Parse a manifest's bytes.

    Raises: MalformedMessage.
    """
    try:
        return Manifest.model_validate_json(body)
    except ValidationError as error:
        message = f"manifest does not parse: {error.errors()[0]['msg']}"
        raise MalformedMessage(message) from error
