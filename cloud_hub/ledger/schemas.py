"""Shapes of the ledger, as the API takes and answers them. Amounts are decimals as texts: no digit is lost on the way."""

from datetime import date
from decimal import Decimal
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from cloud_hub.energy.model import Direction
from cloud_hub.ledger.suspects import Resolution
from cloud_hub.registry.schemas import FromAttributes, Instant


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class IntervalsOut(BaseModel):
    """Equally long columns, oldest first."""

    point_id: int
    unit: str
    start: list[int]
    """UTC milliseconds since 1970, as in `end` and `known_at`."""
    end: list[int]
    amount: list[str | None]
    """Null where nothing is known."""
    registered: list[str | None]
    quality: list[str]
    completeness: list[float]
    causes: list[list[str]]
    method: list[str]
    known_at: list[int]


class VersionOut(BaseModel):
    """What an interval was known to be for some time."""

    start: Instant
    end: Instant
    amount: str | None
    registered: str | None
    quality: str
    completeness: float
    causes: list[str]
    method: str
    calculation: int
    known_from: Instant
    known_until: Instant | None
    """Null for what is known now."""


class VersionsOut(BaseModel):
    """All that an interval was known to be, oldest first."""

    point_id: int
    unit: str
    items: list[VersionOut]


class TotalOut(BaseModel):
    """A local day, month or year."""

    first_day: date
    amount: str
    estimated: str
    edited: str
    completeness: float
    parts: int
    """Intervals of a day; days of a month or a year that the ledger has."""


class TotalsOut(BaseModel):
    """Days, months or years of a register, oldest first."""

    point_id: int
    unit: str
    items: list[TotalOut]


class RegisterOut(FromAttributes):
    """How a register is read, for a period of time."""

    id: int
    valid_from: Instant | None
    valid_until: Instant | None
    unit: str
    scale: Decimal
    direction: str
    is_total: bool
    rollover: Decimal | None
    max_rate_per_h: Decimal | None
    recorded_at: Instant
    recorded_by: str
    why: str


class RegistersOut(BaseModel):
    """The records of a register that hold."""

    items: list[RegisterOut]


class RegisterIn(_In):
    """A correction. What is left out stays; `rollover` and `max_rate_per_h` may be null, for not known."""

    valid_from: AwareDatetime | None
    valid_until: AwareDatetime | None = None
    why: str
    unit: str = ""
    scale: Decimal = Decimal(1)
    direction: Direction = Direction.IMPORT
    is_total: bool = False
    rollover: Decimal | None = None
    max_rate_per_h: Decimal | None = None


class ExchangeOut(FromAttributes):
    """A meter that was exchanged."""

    id: int
    at: Instant
    closing: Decimal
    opening: Decimal
    recorded_at: Instant
    recorded_by: str
    why: str
    withdrawn_at: Instant | None
    withdrawn_by: str | None


class ExchangesOut(BaseModel):
    """The exchanges of a register in order of time, the withdrawn ones among them."""

    items: list[ExchangeOut]


class ExchangeIn(_In):
    """An exchange: what the old register ended with and the new one began with, as read."""

    at: AwareDatetime
    closing: Decimal
    opening: Decimal
    why: str = ""


class FindingOut(FromAttributes):
    """Something that happened to a register."""

    kind: str
    start: Instant = Field(validation_alias="from_at", serialization_alias="from")
    end: Instant = Field(validation_alias="to_at", serialization_alias="to")
    detail: dict[str, Any]
    found_at: Instant


class FindingsOut(BaseModel):
    """What happened to a register, oldest first."""

    items: list[FindingOut]


class EditOut(BaseModel):
    """An amount that a person put in place of what was computed."""

    id: int
    start: Instant = Field(serialization_alias="from")
    end: Instant = Field(serialization_alias="to")
    amount: str
    made_at: Instant
    made_by: str
    why: str
    undone_at: Instant | None
    undone_by: str | None
    undone_why: str | None


class EditsOut(BaseModel):
    """All edits of a register in order of time, the undone ones among them."""

    items: list[EditOut]


class EditIn(_In):
    """An amount for `[from, to)`, both borders of intervals."""

    start: AwareDatetime = Field(alias="from")
    end: AwareDatetime = Field(alias="to")
    amount: Decimal
    why: str


class WhyIn(_In):
    """A reason."""

    why: str


class SuspectOut(FromAttributes):
    """Readings that wait for judgement."""

    id: int
    meter_id: int
    start: Instant = Field(validation_alias="from_at", serialization_alias="from")
    end: Instant = Field(validation_alias="to_at", serialization_alias="to")
    reason: str
    readings: int
    noted_at: Instant
    resolution: str | None
    resolved_at: Instant | None
    resolved_by: str | None


class ResolutionIn(_In):
    """Whether suspect readings count."""

    resolution: Resolution


class CommissionedIn(_In):
    """From when on a meter's readings count; null: all do."""

    at: AwareDatetime | None
