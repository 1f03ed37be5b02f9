"""Shapes of the audit trail in the API."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from cloud_hub.web.pagination import ListQuery

_Word = Annotated[str, Field(min_length=1, max_length=200)]


class TrailQuery(ListQuery):
    """Which events are wanted; newest first."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    who: _Word | None = None
    """An e-mail address, `service:NAME` or `cli`."""
    action: _Word | None = None
    """A word such as `exchange_recorded`, or `denied`."""
    subject: _Word | None = None
    """What it was done to, such as `point:7`."""
    from_at: AwareDatetime | None = Field(default=None, alias="from")
    to_at: AwareDatetime | None = Field(default=None, alias="to")


class TrailEventOut(BaseModel):
    """A deed, or an attempt that was denied."""

    model_config = ConfigDict(from_attributes=True)

    number: int
    """Its place in its organisation's chain."""
    at: Annotated[datetime, AfterValidator(lambda at: at.astimezone(UTC))]
    who: str
    user_id: int | None
    on_behalf_of: str | None
    action: str
    subject: str
    detail: dict[str, Any]
    address: str | None
    request_id: str | None
    hash: Annotated[str, Field(description="SHA-256 over the event before and all of this one, in hexadecimal.")]
