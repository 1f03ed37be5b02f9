"""Shapes of the ledger, as the API takes and answers them. Amounts are decimals as texts: no digit is lost on the way."""

from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import BaseModel, Field

from cloud_hub.access.references import MeterId, OrganisationName, SiteName
from cloud_hub.energy.model import Direction, FindingKind
from cloud_hub.ledger.registers import RegisterChanges
from cloud_hub.ledger.suspects import Resolution
from cloud_hub.registry.schemas import FromAttributes, Instant
from cloud_hub.web.columns import Fields, Format
from cloud_hub.web.documents import Document, Exact
from cloud_hub.web.numbers import ExactOut
from cloud_hub.web.pagination import ListQuery
from cloud_hub.web.ranges import InstantIn, InstantRange

DAYS_MAX = 400
"""Of intervals that one request may ask for: a year, and some."""

IntervalQualityName = Literal["measured", "estimated", "edited", "partial", "missing"]
MethodName = Literal["none", "linear", "reference_days", "manual"]
Why = Annotated[str, Field(max_length=1000)]


class IntervalsField(StrEnum):
    """Columns of a register's intervals."""

    START = "start"
    END = "end"
    AMOUNT = "amount"
    REGISTERED = "registered"
    QUALITY = "quality"
    COMPLETENESS = "completeness"
    CAUSES = "causes"
    METHOD = "method"
    KNOWN_AT = "known_at"


class IntervalsQuery(InstantRange):
    """What is wanted of a register's intervals, and as what."""

    longest: ClassVar[timedelta] = timedelta(days=DAYS_MAX)

    as_known_at: InstantIn | None = None
    """As the ledger knew them at that instant; now, when left out."""
    fields: Fields[IntervalsField] | None = None
    """All columns, when left out."""
    format: Format | None = None
    """Before what `Accept` says."""


class VersionsQuery(Document):
    """Which interval is wanted."""

    at: InstantIn
    """An instant that it holds."""


class FindingsQuery(InstantRange):
    """Which findings are wanted."""

    kind: FindingKind | None = None


class SuspectsQuery(ListQuery):
    """Which suspect readings are wanted."""

    meter: MeterId | None = None
    site: SiteName | None = None
    organisation: OrganisationName | None = None
    """With all below it."""


class IntervalsOut(BaseModel):
    """Equally long columns, oldest first. A column that `fields` does not name is left out."""

    point_id: int
    unit: str
    start: list[int] = []
    """UTC milliseconds since 1970, as in `end` and `known_at`."""
    end: list[int] = []
    amount: list[str | None] = []
    """Null where nothing is known."""
    registered: list[str | None] = []
    quality: list[IntervalQualityName] = []
    completeness: list[float] = []
    causes: list[list[str]] = []
    method: list[MethodName] = []
    known_at: list[int] = []


class VersionOut(BaseModel):
    """What an interval was known to be for some time."""

    start: Instant
    end: Instant
    amount: str | None
    registered: str | None
    quality: IntervalQualityName
    completeness: float
    causes: list[str]
    method: MethodName
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
    scale: ExactOut
    direction: Direction
    is_total: bool
    rollover: ExactOut | None
    max_rate_per_h: ExactOut | None
    recorded_at: Instant
    recorded_by: str
    why: str


class RegistersOut(BaseModel):
    """The records of a register that hold."""

    items: list[RegisterOut]


class RegisterIn(Document):
    """A correction. What is left out stays; `rollover` and `max_rate_per_h` may be null, for not known."""

    valid_from: InstantIn | None
    """Null: since ever."""
    valid_until: InstantIn | None = None
    why: Why
    unit: Annotated[str, Field(max_length=20)] = ""
    scale: Exact = Decimal(1)
    direction: Direction = Direction.IMPORT
    is_total: bool = False
    rollover: Exact | None = None
    max_rate_per_h: Exact | None = None

    @property
    def changes(self) -> RegisterChanges:
        """What was sent beside validity and reason."""
        given = {name: getattr(self, name) for name in self.model_fields_set - {"valid_from", "valid_until", "why"}}
        return cast("RegisterChanges", given)  # the fields have its names and types


class ExchangeOut(FromAttributes):
    """A meter that was exchanged."""

    id: int
    at: Instant
    closing: ExactOut
    opening: ExactOut
    recorded_at: Instant
    recorded_by: str
    why: str
    withdrawn_at: Instant | None
    withdrawn_by: str | None


class ExchangesOut(BaseModel):
    """The exchanges of a register in order of time, the withdrawn ones among them."""

    items: list[ExchangeOut]


class ExchangeIn(Document):
    """An exchange: what the old register ended with and the new one began with, as read."""

    at: InstantIn
    closing: Exact
    opening: Exact
    why: Why = ""


class FindingOut(FromAttributes):
    """Something that happened to a register."""

    kind: FindingKind
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


class EditIn(Document):
    """An amount for `[from, to)`, both borders of intervals."""

    start: InstantIn = Field(alias="from")
    end: InstantIn = Field(alias="to")
    amount: Exact
    why: Why


class WhyIn(Document):
    """A reason."""

    why: Why


class SuspectOut(FromAttributes):
    """Readings that wait for judgement."""

    id: int
    meter_id: int
    start: Instant = Field(validation_alias="from_at", serialization_alias="from")
    end: Instant = Field(validation_alias="to_at", serialization_alias="to")
    reason: str
    readings: int
    noted_at: Instant
    resolution: Resolution | None
    resolved_at: Instant | None
    resolved_by: str | None


class ResolutionIn(Document):
    """Whether suspect readings count."""

    resolution: Resolution


class CommissionedIn(Document):
    """From when on a meter's readings count; null: all do."""

    at: InstantIn | None


class CommissionedOut(FromAttributes):
    """From when on a meter's readings count."""

    id: int
    commissioned_at: Instant | None
