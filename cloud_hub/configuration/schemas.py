"""Shapes of configurations and commands, as the API reads and answers them."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from cloud_hub.access.permissions import Permission
from cloud_hub.access.subjects import Names
from cloud_hub.configuration.models import CommandProgress, ConfigurationState
from cloud_hub.web.documents import Document
from protocol.control import CommandKind
from protocol.site_config import SiteConfig

Instant = Annotated[datetime, AfterValidator(lambda instant: instant.astimezone(UTC))]
"""An instant in UTC, written as ISO 8601."""

_Note = Annotated[str, Field(max_length=1_000)]
_Readable = Annotated[int, Field(ge=1, lt=2**63), Names("configuration", Permission.CONFIGURATION_READ)]

EXPIRES_IN_S_MAX = 6 * 86_400
"""Controllers refuse what lives for more than seven days; their clocks and the hub's may differ."""


class FromAttributes(BaseModel):
    """A shape that is read off a table's row."""

    model_config = ConfigDict(from_attributes=True)


class DraftIn(Document):
    """A new draft."""

    site: SiteConfig | None = None
    """What the controller shall do; left out, what was last published, else what the registry knows."""
    note: _Note = ""


class DraftChange(Document):
    """What a draft says now."""

    site: SiteConfig
    note: _Note | None = None
    """Left out, as it was."""
    based_on: _Readable | None = None
    """The newest published configuration, to say that it was looked at when it came after the draft."""


class RollBackIn(Document):
    """Why an earlier revision comes back."""

    note: _Note = ""


class DiffQuery(Document):
    """What a configuration is compared with."""

    against: _Readable | None = None
    """Left out: what it is based on."""


class ConfigurationRowOut(FromAttributes):
    """A configuration in the list."""

    id: int
    controller_id: str
    state: ConfigurationState
    revision: int | None
    """Null for a draft."""
    based_on: int | None
    """The newest published configuration when this was drafted."""
    rolls_back_to: int | None
    note: str
    created_at: Instant
    created_by: str
    edited_at: Instant | None
    edited_by: str | None
    validated_at: Instant | None
    validated_by: str | None
    published_at: Instant | None
    published_by: str | None
    answered_at: Instant | None
    """By the controller's clock."""
    reason: str
    """Why it was refused or taken back."""


class BusFinding(BaseModel):
    """What a bus has to carry."""

    id: str
    cycle_s: float
    """What one round of all its meters is expected to take."""
    busy_share: float


class UsedProfile(BaseModel):
    """The version of a custom profile that a configuration uses."""

    custom_id: int
    version: int
    hash: str


class Findings(BaseModel):
    """What the compiler says."""

    meters: int
    points: int
    samples_per_day: int
    buses: list[BusFinding]
    warnings: list[str]
    custom_profiles: dict[str, UsedProfile]
    message_bytes: int
    """What the order takes on the line."""


class ConfigurationOut(ConfigurationRowOut):
    """A configuration with what it says."""

    site: SiteConfig
    findings: Findings | None
    """Null until it is validated."""


class DifferenceOut(FromAttributes):
    """One key that differs."""

    path: str
    """Such as `buses[cabinet].meters[heater].period_s`."""
    before: Any
    """Null when it was not there."""
    after: Any
    """Null when it is not there."""


class DiffOut(BaseModel):
    """What two configurations differ in."""

    before: int | None
    """The configuration compared with; null when there is none before."""
    after: int
    items: list[DifferenceOut]


class CommandIn(Document):
    """An order to do something once."""

    kind: CommandKind
    arguments: dict[str, Any] = Field(default_factory=dict, max_length=10)
    """`read`: meter. `live`: minutes, period_s, meter. `resend`: stream, first, last. `write`: meter, point, value."""
    expires_in_s: int = Field(default=600, ge=10, le=EXPIRES_IN_S_MAX)
    """When the controller has not begun it by then, it never will."""


class CommandOut(FromAttributes):
    """A command and what came of it."""

    id: str
    controller_id: str
    kind: CommandKind
    arguments: dict[str, Any]
    state: CommandProgress
    reason: str
    """Why it was not done."""
    result: dict[str, Any] | None
    ordered_at: Instant
    ordered_by: str
    expires_at: Instant
    sent_at: Instant | None
    received_at: Instant | None
    ended_at: Instant | None


class OrderKeyOut(FromAttributes):
    """A public key by which controllers know the hub's orders."""

    key_id: str
    public_key: str
    """PEM; `orders.keys` of a controller's agent.toml names a file with it."""
    created_at: Instant


class OrderKeysOut(BaseModel):
    """All of them, the oldest first."""

    items: list[OrderKeyOut]
