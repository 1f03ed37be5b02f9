"""Shapes of readings and of their delivery, as the API takes and answers them."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from cloud_hub.access.references import ControllerName, OrganisationName, SiteName
from cloud_hub.registry.schemas import FromAttributes, Instant
from cloud_hub.web.columns import Fields, Format
from cloud_hub.web.documents import Document
from cloud_hub.web.pagination import ListQuery
from cloud_hub.web.ranges import InstantRange
from protocol.manifest import PointKind
from protocol.messages import Presence

POINTS_DEFAULT = 2_000
POINTS_MAX = 20_000


class LatestField(StrEnum):
    """What can be asked for of a newest reading, beside its point."""

    NAME = "name"
    UNIT = "unit"
    OBSERVED_AT = "observed_at"
    VALUE = "value"
    QUALITY = "quality"


class LatestQuery(Document):
    """What is wanted of newest readings."""

    fields: Fields[LatestField] | None = None
    """All, when left out."""


class SiteLatestQuery(ListQuery):
    """Which meters' newest readings are wanted, and what of them."""

    fields: Fields[LatestField] | None = None
    """All, when left out."""


class LatestOut(BaseModel):
    """The newest reading of a point. What `fields` does not name is left out."""

    point_id: int
    name: str = ""
    unit: str = ""
    observed_at: Instant | None = None
    value: float | None = None
    """Null where the quality carries no value; never an older value in its place."""
    quality: str = ""


class LatestListOut(BaseModel):
    """The newest reading of each point of a meter; points that were never read are left out."""

    meter_id: int
    items: list[LatestOut]


class SeriesField(StrEnum):
    """Columns of a series."""

    OBSERVED_AT = "observed_at"
    VALUE = "value"
    QUALITY = "quality"


class SeriesQuery(InstantRange):
    """What is wanted of a point's readings, and as what."""

    max_points: Annotated[int, Field(ge=10, le=POINTS_MAX)] = POINTS_DEFAULT
    """Rows at most."""
    fields: Fields[SeriesField] | None = None
    """All columns, when left out."""
    format: Format | None = None
    """Before what `Accept` says."""


class SeriesPointOut(BaseModel):
    """Which point a series is of."""

    id: int
    meter_id: int
    name: str
    unit: str
    kind: PointKind


class SeriesOut(BaseModel):
    """Equally long columns, oldest first. A column that `fields` does not name is left out."""

    model_config = ConfigDict(populate_by_name=True)

    point: SeriesPointOut
    start: Instant = Field(alias="from")
    end: Instant = Field(alias="to")
    readings: int
    """How many readings the range holds."""
    reduced: bool
    """True when the columns keep only the extremes and gaps of each stretch of time."""
    observed_at: list[int] = []
    """UTC milliseconds since 1970."""
    value: list[float | None] = []
    quality: list[str | None] = []
    """Null in a row that stands for a stretch of time without any reading."""


class ControllersQuery(ListQuery):
    """Which controllers are wanted."""

    site: SiteName | None = None
    organisation: OrganisationName | None = None
    """With all below it."""
    presence: Presence | None = None


class StreamsQuery(ListQuery):
    """Which streams are wanted."""

    controller: ControllerName | None = None
    site: SiteName | None = None


class DeliveryOut(FromAttributes):
    """Counts of scans; see `docs/api.md`."""

    committed: int
    waiting: int
    gaps: int
    never_arrived: int
    quarantined: int


class ControllerOut(FromAttributes):
    """A controller, and how far the delivery of its scans is."""

    id: str
    organisation: str
    site: str
    presence: Presence | None
    presence_at: Instant | None
    last_seen_at: Instant | None
    agent_version: str | None
    delivery: DeliveryOut


class StreamOut(FromAttributes):
    """One run of an agent, and how far its delivery is."""

    id: int
    controller_id: str
    stream_id: str
    announced_next: int
    lowest_held: int
    first_seen_at: Instant
    last_seen_at: Instant
    closed_at: Instant | None
    delivery: DeliveryOut
