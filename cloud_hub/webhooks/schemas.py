"""Shapes of requests and answers about webhooks."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from cloud_hub.access.subjects import Names
from cloud_hub.events.kinds import EVERY, KindPattern
from cloud_hub.web.documents import Document
from cloud_hub.web.pagination import ListQuery
from cloud_hub.webhooks.addresses import URL_LENGTH_MAX

SITES_MAX = 200
KINDS_MAX = 50
OVERLAP_HOURS_MAX = 7 * 24

Name = Annotated[str, Field(min_length=1, max_length=100)]
Url = Annotated[str, Field(min_length=1, max_length=URL_LENGTH_MAX)]
Kinds = Annotated[list[KindPattern], Field(min_length=1, max_length=KINDS_MAX)]
SiteRef = Annotated[str, Field(max_length=200), Names("site")]
Sites = Annotated[list[SiteRef], Field(max_length=SITES_MAX)]


class WebhookIn(Document):
    """A new webhook."""

    name: Name
    url: Url
    kinds: Kinds = Field(default=[EVERY])
    """Kinds of events such as `meter.commissioned`; `meter.*` for all of meters, `*` for all."""
    sites: Sites = Field(default=[])
    """Only events of these sites; left out: of the organisation and of all below it."""
    is_active: bool = True


class WebhookChange(Document):
    """What shall be different; what is left out stays."""

    name: Name | None = None
    url: Url | None = None
    kinds: Kinds | None = None
    sites: Sites | None = None
    is_active: bool | None = None
    """Switching on one that the hub switched off gives it another three days."""


class WebhookOut(BaseModel):
    """A webhook; its secret is never shown again."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    organisation_id: int
    name: str
    url: str
    kinds: list[str]
    site_ids: list[int]
    is_active: bool
    disabled_reason: str | None
    disabled_at: datetime | None
    created_at: datetime


class WebhookCreatedOut(WebhookOut):
    """A webhook that was just made, with the secret that its receiver checks signatures with."""

    secret: str
    """Shown this once."""


class RotationIn(Document):
    """How a new secret takes over."""

    overlap_hours: Annotated[int, Field(ge=0, le=OVERLAP_HOURS_MAX)] = 24
    """For so long the secret before signs too; 0 for one that has leaked."""


class SecretOut(BaseModel):
    """A new secret."""

    secret: str
    """Shown this once."""
    overlap_until: datetime


class DeliveryQuery(ListQuery):
    """Which messages are wanted."""

    state: Literal["waiting", "delivered", "failed"] | None = None


class DeliveryOut(BaseModel):
    """One message."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    webhook_id: int
    event_id: int | None
    message_id: str
    """The header `webhook-id`, the same in every repetition."""
    kind: str
    state: str
    attempts: int
    queued_at: datetime
    due_at: datetime
    """While it waits: when it is tried next, at the earliest."""
    finished_at: datetime | None


class AttemptOut(BaseModel):
    """One time that it was sent."""

    model_config = ConfigDict(from_attributes=True)

    at: datetime
    status: int | None
    duration_ms: int
    problem: str
    answer: str


class DeliveryDetailOut(DeliveryOut):
    """One message with what was sent and what came back."""

    body: str
    tried: list[AttemptOut]
    """Oldest first; the last hundred."""
