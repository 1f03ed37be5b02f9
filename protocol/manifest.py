"""The immutable description of the columns that batches carry, named by the hash of its content.

Many meters have the same points, so version 2 of its bytes writes each list of points once: a collector
with thousands of meters would otherwise exceed what one message may carry.
"""

import hashlib
import json
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from protocol.errors import MalformedMessage
from protocol.identifiers import MANIFEST_HASH_BYTES, MeterId, PointName, ProfileId
from protocol.report_policy import Policy, Statistic

_VERSION = 2


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
    statistic: Statistic | None = None
    """Set when the column sums up a report period; `name` then ends with it: `active_power_total_mean`."""


class Layout(_Frozen):
    """The points that one kind of scan of one meter holds, in order."""

    meter: MeterId
    label: _Text = Field(default="", max_length=200)
    """What people on the site call the meter; the hub's registry takes it for a meter that it does not know."""
    profile: ProfileId
    period_s: float = Field(gt=0)
    """The longest time between two scans while all is well: what silence is judged by."""
    policy: Policy = Policy.EVERY
    """Which samples become scans of this layout."""
    on_demand: bool = False
    """Whether scans come only while somebody asks for them: their absence means nothing."""
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

    layouts: tuple[Layout, ...] = Field(max_length=20_000)

    @cached_property
    def body(self) -> bytes:
        """The canonical bytes that travel and are hashed."""
        sets: dict[tuple[ManifestPoint, ...], int] = {}
        layouts = [
            {
                **layout.model_dump(mode="json", exclude={"points"}, exclude_defaults=True),
                "points": sets.setdefault(layout.points, len(sets)),
            }
            for layout in self.layouts
        ]
        point_sets = [[point.model_dump(mode="json", exclude_defaults=True) for point in points] for points in sets]
        written = {"version": _VERSION, "point_sets": point_sets, "layouts": layouts}
        return json.dumps(written, separators=(",", ":"), sort_keys=True).encode()

    @cached_property
    def hash(self) -> bytes:
        """16 bytes of SHA-256 over the canonical bytes."""
        return manifest_hash(self.body)


def manifest_hash(body: bytes) -> bytes:
    """Hash a manifest's bytes as they travelled."""
    return hashlib.sha256(body).digest()[:MANIFEST_HASH_BYTES]


def parse_manifest(body: bytes) -> Manifest:
    """Parse a manifest's bytes, of any version that was ever sent.

    Raises: MalformedMessage.
    """
    try:
        written = json.loads(body)
        version = written.get("version") if isinstance(written, dict) else None
        if version == _VERSION:
            return _expanded(_Written.model_validate(written))
        if version == 1:
            return Manifest.model_validate({key: value for key, value in written.items() if key != "version"})
    except ValidationError as error:
        first = error.errors()[0]
        message = f"manifest does not parse: {'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
        raise MalformedMessage(message) from error
    except (ValueError, RecursionError) as error:
        message = f"manifest does not parse: {error}"
        raise MalformedMessage(message) from error
    message = f"manifest does not parse: version {version!r} is unknown"
    raise MalformedMessage(message)


class _Written(_Frozen):
    """Version 2 as it travels: `points` of a layout is an index into `point_sets`."""

    version: int
    point_sets: tuple[tuple[ManifestPoint, ...], ...]
    layouts: tuple[dict[str, Any], ...] = Field(max_length=20_000)


def _expanded(written: _Written) -> Manifest:
    layouts = []
    for layout in written.layouts:
        index = layout.get("points")
        if not isinstance(index, int) or not 0 <= index < len(written.point_sets):
            message = f"a layout names the points {index!r}, and there are {len(written.point_sets)} lists of points"
            raise ValueError(message)
        layouts.append(Layout.model_validate({**layout, "points": written.point_sets[index]}))
    return Manifest(layouts=tuple(layouts))
