"""Shapes of tariffs, operating hours and emission factors in the API."""

from datetime import date, datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cloud_hub.access.permissions import Permission
from cloud_hub.access.references import Id, OrganisationName
from cloud_hub.access.subjects import Names
from cloud_hub.calendar.hours import OperatingHours
from cloud_hub.registry.schemas import FromAttributes, Instant
from cloud_hub.tariffs.document import Currency, Name, Slug, TariffDocument
from cloud_hub.tariffs.emission_series import Basis, FactorKind
from cloud_hub.tariffs.spans import Span
from cloud_hub.web.documents import Document, Exact
from cloud_hub.web.numbers import ExactOut
from cloud_hub.web.pagination import ListQuery
from cloud_hub.web.ranges import LATEST, DayIn, InstantIn, InstantRange

SPANS_MAX = 20_000
_YEAR_S = 366 * 86_400

Why = Annotated[str, Field(max_length=1000)]


class CatalogueQuery(ListQuery):
    """Which tariffs or series are wanted: one's own, and those of the organisations above."""

    organisation: OrganisationName | None = None
    slug: Slug | None = None


class CurrencyQuery(CatalogueQuery):
    """The same, by currency too."""

    currency: Currency | None = None


class EmissionSeriesQuery(CatalogueQuery):
    """The same, by what the factors stand for too."""

    basis: Basis | None = None
    kind: FactorKind | None = None


class ValuesQuery(InstantRange):
    """Which values of a series are wanted."""


class TariffIn(Document):
    """A tariff to be created."""

    slug: Slug
    name: Name
    currency: Currency
    organisation: OrganisationName | None = None
    """Left out: one's own, when that is one only."""


class VersionIn(Document):
    """What a tariff charges from an instant on."""

    valid_from: InstantIn
    valid_until: InstantIn | None = None
    tariff: TariffDocument
    why: Why = ""


class AssignmentIn(Document):
    """The tariff of a site from an instant on; null for none."""

    tariff_id: Annotated[Id, Names("tariff", Permission.TARIFFS_READ)] | None
    valid_from: InstantIn
    why: Why = ""


class HoursIn(Document):
    """A site's operating hours from a local date on; null for since ever."""

    first_day: DayIn | None = None
    hours: OperatingHours
    why: Why = ""


class PriceSeriesIn(Document):
    """A price series to be created."""

    slug: Slug
    name: Name
    currency: Currency
    organisation: OrganisationName | None = None
    """Left out: one's own, when that is one only."""


class EmissionSeriesIn(Document):
    """A series of emission factors to be created."""

    slug: Slug
    name: Name
    region: Name
    publisher: Name
    year: Annotated[int, Field(ge=1990, le=2200)] | None = None
    basis: Basis
    kind: FactorKind = FactorKind.AVERAGE
    life_cycle: bool = False
    with_losses: bool = False
    organisation: OrganisationName | None = None
    """Left out: one's own, when that is one only."""


class SpanIn(Document):
    """A value and when it holds."""

    start: InstantIn = Field(alias="from")
    until: InstantIn
    value: Exact


class SpansIn(Document):
    """Values by time: `values`, each `step_s` long, from `from` on (null for none), or `spans`, each with its ends.

    They replace what the series holds from the first's beginning to the last's end.
    """

    start: InstantIn | None = Field(default=None, alias="from")
    step_s: Annotated[int, Field(ge=60, le=_YEAR_S)] | None = None
    values: Annotated[tuple[Exact | None, ...], Field(max_length=SPANS_MAX)] = ()
    spans: Annotated[tuple[SpanIn, ...], Field(max_length=SPANS_MAX)] = ()

    @model_validator(mode="after")
    def _is_one_form(self) -> Self:
        if bool(self.values) == bool(self.spans):
            raise ValueError("send either values with from and step_s, or spans")
        if self.values and (self.start is None or self.step_s is None):
            raise ValueError("values need from, the first's beginning, and step_s, the length of each")
        if self.start is not None and (LATEST - self.start).total_seconds() < len(self.values) * (self.step_s or 0):
            raise ValueError("values go on beyond the year 2299: check step_s, the length of each in seconds")
        return self

    def listed(self) -> tuple[list[Span], datetime, datetime]:
        """Return the spans, and the range that they replace."""
        if self.spans:
            spans = [Span(each.start, each.until, each.value) for each in self.spans]
            return spans, min(span.from_at for span in spans), max(span.until_at for span in spans)
        start, step = self.start, timedelta(seconds=self.step_s or 0)
        assert start is not None  # noqa: S101 - `_is_one_form` saw to it
        placed = enumerate(self.values)
        spans = [Span(start + n * step, start + (n + 1) * step, value) for n, value in placed if value is not None]
        return spans, start, start + len(self.values) * step


class TariffOut(FromAttributes):
    """A tariff."""

    id: int
    organisation: str | None
    """Null for one above: its catalogue may be used, but nothing else of it be seen."""
    slug: str
    name: str
    currency: str
    created_at: Instant


class VersionOut(FromAttributes):
    """A version that holds from an instant until the next one, or its own end."""

    id: int
    valid_from: Instant
    valid_until: Instant | None
    tariff: dict[str, Any] = Field(validation_alias="document")
    recorded_at: Instant
    recorded_by: str
    why: str


class TariffWithVersionsOut(TariffOut):
    """A tariff and its versions, oldest first."""

    versions: list[VersionOut]


class AssignmentOut(FromAttributes):
    """The tariff of a site from an instant until the next assignment."""

    id: int
    tariff_id: int | None
    valid_from: Instant
    recorded_at: Instant
    recorded_by: str
    why: str


class AssignmentsOut(BaseModel):
    """A site's assignments, oldest first."""

    items: list[AssignmentOut]


class HoursOut(BaseModel):
    """Operating hours from a local date until the next record's."""

    id: int
    first_day: date | None
    hours: dict[str, Any]
    recorded_at: Instant
    recorded_by: str
    why: str


class HoursListOut(BaseModel):
    """A site's operating hours, oldest first."""

    items: list[HoursOut]


class PriceSeriesOut(FromAttributes):
    """A price series."""

    id: int
    organisation: str | None
    """Null for one above: its catalogue may be used, but nothing else of it be seen."""
    slug: str
    name: str
    currency: str
    created_at: Instant


class EmissionSeriesOut(FromAttributes):
    """A series of emission factors."""

    id: int
    organisation: str | None
    """Null for one above: its catalogue may be used, but nothing else of it be seen."""
    slug: str
    name: str
    region: str
    publisher: str
    year: int | None
    basis: Basis
    kind: FactorKind
    life_cycle: bool
    with_losses: bool
    created_at: Instant


class SpanOut(BaseModel):
    """A value and when it holds."""

    model_config = ConfigDict(populate_by_name=True)

    start: Instant = Field(alias="from")
    until: Instant
    value: ExactOut


class SpansOut(BaseModel):
    """Values by time, oldest first."""

    items: list[SpanOut]


class StoredOut(BaseModel):
    """How many values were stored, and the range in which they replaced what was there."""

    model_config = ConfigDict(populate_by_name=True)

    stored: int
    start: Instant = Field(alias="from")
    end: Instant = Field(alias="to")
