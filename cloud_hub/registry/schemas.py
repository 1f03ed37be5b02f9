"""Shapes of what is registered, as the API answers them."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

Instant = Annotated[datetime, AfterValidator(lambda instant: instant.astimezone(UTC))]
"""An instant in UTC, written as ISO 8601."""


class FromAttributes(BaseModel):
    """A shape that is read off a table's row."""

    model_config = ConfigDict(from_attributes=True)


class SiteOut(FromAttributes):
    """A site."""

    slug: str
    name: str
    time_zone: str
    """IANA name; times in answers are UTC all the same."""
    created_at: Instant


class MeterOut(FromAttributes):
    """A meter."""

    id: int
    slug: str
    controller_id: str
    site: str
    label: str
    profile: str
    period_s: float
    """Seconds between two polls."""


class PointOut(FromAttributes):
    """One quantity of a meter."""

    id: int
    meter_id: int
    name: str
    quantity: str
    unit: str
    kind: str


class PointsOut(BaseModel):
    """All points of a meter."""

    items: list[PointOut]
