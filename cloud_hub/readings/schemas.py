"""Shapes of readings and of their delivery, as the API answers them."""

from pydantic import BaseModel, ConfigDict, Field

from cloud_hub.registry.schemas import FromAttributes, Instant


class LatestOut(BaseModel):
    """The newest reading of a point."""

    point_id: int
    name: str
    unit: str
    observed_at: Instant
    value: float | None
    """Null where the quality carries no value; never an older value in its place."""
    quality: str


class LatestListOut(BaseModel):
    """The newest reading of each point of a meter; points that were never read are left out."""

    meter_id: int
    items: list[LatestOut]


class SeriesPointOut(BaseModel):
    """Which point a series is of."""

    id: int
    meter_id: int
    name: str
    unit: str
    kind: str


class SeriesOut(BaseModel):
    """Equally long columns, oldest first."""

    model_config = ConfigDict(populate_by_name=True)

    point: SeriesPointOut
    start: Instant = Field(alias="from")
    end: Instant = Field(alias="to")
    readings: int
    """How many readings the range holds."""
    reduced: bool
    """True when the columns keep only the extremes and gaps of each stretch of time."""
    observed_at: list[int]
    """UTC milliseconds since 1970."""
    value: list[float | None]
    quality: list[str | None]
    """Null in a row that stands for a stretch of time without any reading."""


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
    site: str
    presence: str | None
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
