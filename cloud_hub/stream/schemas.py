"""Shapes of requests and answers about events."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from cloud_hub.access.subjects import Names
from cloud_hub.events.kinds import EVERY, KindPattern
from cloud_hub.web.documents import Document
from cloud_hub.web.pagination import ListQuery

KINDS_MAX = 50
METERS_MAX = 500
SITES_MAX = 100

Kinds = Annotated[list[KindPattern], Field(max_length=KINDS_MAX)]
SiteRef = Annotated[str, Field(max_length=200), Names("site")]
MeterId = Annotated[int, Field(ge=1, lt=2**63), Names("meter")]


class EventQuery(ListQuery):
    """Which events are wanted."""

    kinds: Kinds = Field(default=[EVERY])
    """Such as `meter.commissioned`, or `meter.*`; may come several times."""
    site: SiteRef | None = None


class EventOut(BaseModel):
    """Something that happened."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    kind: str
    at: datetime
    organisation_id: int
    site_id: int | None
    subject: str
    """What it happened to, such as `meter:7`."""
    data: dict[str, Any]


class StreamQuery(Document):
    """What a stream tells."""

    kinds: Kinds = Field(default=[EVERY])
    """Kinds of events, such as `command.*`; may come several times."""
    sites: Annotated[list[SiteRef], Field(max_length=SITES_MAX)] = Field(default=[])
    """Events of these sites alone, and the values of their meters; may come several times."""
    meters: Annotated[list[MeterId], Field(max_length=METERS_MAX)] = Field(default=[])
    """The values of these meters too; may come several times."""
    values: bool = True
    """Whether values are told at all."""
