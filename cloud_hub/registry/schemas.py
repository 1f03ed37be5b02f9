"""Shapes of what is registered, as the API answers them."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from cloud_hub.registry.models import LifeCycle, MeterRole
from cloud_hub.web.documents import Document

Instant = Annotated[datetime, AfterValidator(lambda instant: instant.astimezone(UTC))]
"""An instant in UTC, written as ISO 8601."""
AddressLine = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


class FromAttributes(BaseModel):
    """A shape that is read off a table's row."""

    model_config = ConfigDict(from_attributes=True)


class Address(Document):
    """Where a site is, as a letter would say it."""

    street: AddressLine = ""
    """With the number of the house."""
    postal_code: AddressLine = ""
    city: AddressLine = ""
    region: AddressLine = ""
    country: Annotated[str, StringConstraints(pattern=r"^([A-Z]{2})?$")] = ""
    """ISO 3166-1, two letters."""


class Position(Document):
    """A place on Earth, in degrees of WGS 84."""

    latitude: Annotated[float, Field(ge=-90, le=90)]
    longitude: Annotated[float, Field(ge=-180, le=180)]


class SiteOut(BaseModel):
    """A site."""

    slug: str
    organisation: str
    name: str
    time_zone: str
    """IANA name; times in answers are UTC all the same."""
    address: Address
    position: Position | None
    tags: list[str]
    state: LifeCycle
    created_at: Instant


class ControllerRegistrationOut(BaseModel):
    """A controller, as it was registered; `/status` says how it is."""

    id: str
    site: str
    organisation: str
    label: str
    state: LifeCycle
    created_at: Instant


class ControllerStatusOut(FromAttributes):
    """What a controller last said of itself."""

    id: str
    presence: str | None
    """`online`, `offline`, `leaving`; null until its first word."""
    presence_at: Instant | None
    last_seen_at: Instant | None
    """By the hub's clock, to about ten seconds."""
    agent_version: str | None
    boot_id: str | None
    health: dict[str, Any] | None
    health_at: Instant | None


class BusOut(BaseModel):
    """A line of a controller, as its configuration describes it."""

    bus_id: int
    controller: str
    id: str
    """Its name in the configuration; the next keys are those of a configuration's bus as well."""
    transport: str
    host: str | None
    port: int | None
    serial: dict[str, Any] | None
    tls: dict[str, Any] | None
    timeout_s: float
    retries: int
    pause_after_connect_s: float
    pause_between_requests_s: float
    close_after_poll: bool


class BusesOut(BaseModel):
    """All buses of a controller."""

    items: list[BusOut]


class MeterOut(BaseModel):
    """A meter."""

    id: int
    slug: str
    controller_id: str
    site: str
    organisation: str
    label: str
    profile: str
    period_s: float
    """Seconds between two polls."""
    role: MeterRole
    serial_number: str
    """Of the device that is there now."""
    parent_id: int | None
    bus: str | None
    unit_id: int | None
    owners: list[int]
    """Ids of users."""
    state: LifeCycle
    commissioned_at: Instant | None
    """Readings from before count nowhere; null: all count."""
    replaced_by_id: int | None
    created_at: Instant


class DeviceOut(FromAttributes):
    """A device that measured for a meter until it was exchanged."""

    serial_number: str
    profile: str
    removed_at: Instant
    recorded_by: str
    why: str


class DevicesOut(BaseModel):
    """The devices that a meter had before the present one, oldest first."""

    items: list[DeviceOut]


class StepOut(FromAttributes):
    """A step in a life."""

    before: LifeCycle | None
    """null at its beginning."""
    after: LifeCycle
    at: Instant
    recorded_at: Instant
    recorded_by: str
    why: str


class LifeOut(BaseModel):
    """A life, oldest step first; a meter that appeared by itself has none from before its first change."""

    items: list[StepOut]


class PointOut(FromAttributes):
    """One quantity of a meter."""

    id: int
    meter_id: int
    name: str
    quantity: str
    unit: str
    kind: str
    label: str


class PointsOut(BaseModel):
    """All points of a meter."""

    items: list[PointOut]


class GroupOut(BaseModel):
    """A group of meters."""

    id: int
    organisation: str
    slug: str
    name: str
    meters: list[int]


class GroupInListOut(BaseModel):
    """A group of meters, in a list."""

    id: int
    organisation: str
    slug: str
    name: str
    meters: int
    """How many."""


class Refusal(BaseModel):
    """Why one of many was not registered."""

    type: str
    title: str
    status: int
    detail: str


class SiteResult(BaseModel):
    """What came of one of many sites."""

    index: int
    """Its place in the request, from 0."""
    site: SiteOut | None
    problem: Refusal | None


class SiteResults(BaseModel):
    """What came of many sites, in their order."""

    items: list[SiteResult]


class MeterResult(BaseModel):
    """What came of one of many meters."""

    index: int
    """Its place in the request, from 0."""
    meter: MeterOut | None
    problem: Refusal | None


class MeterResults(BaseModel):
    """What came of many meters, in their order."""

    items: list[MeterResult]
