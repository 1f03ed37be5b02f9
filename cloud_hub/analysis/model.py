"""The words of the analysis: which registers count, and figures with what is known about them. Pure.

Amounts are whole millionths of the register's unit (`_micro`), power is in whole millionths of that unit per
hour (`_micro_per_h`: microwatts for Wh). What is not known is None, never zero.
"""

from dataclasses import dataclass
from enum import StrEnum
from zoneinfo import ZoneInfo

from cloud_hub.energy.model import COMPLETE


class ScopeKind(StrEnum):
    """What is looked at."""

    METER = "meter"
    GROUP = "group"
    SITE = "site"
    ORGANISATION = "organisation"


class Flow(StrEnum):
    """Where an amount flows. Flows are reported beside each other and never netted, but for the residual."""

    IMPORT = "import"
    """Into the scope, by its main meters: a site's consumption from the grid, water, heat."""
    EXPORT = "export"
    """Out of the scope, by the same meters."""
    NET = "net"
    """Of main meters that count both ways in one register; may be negative."""
    GENERATION = "generation"
    """Of meters with the role pv."""
    CHARGE = "charge"
    """Into meters with the role battery."""
    DISCHARGE = "discharge"
    PARENTS = "parents"
    """The part of the import that meters with sub-meters count: what the sub-meters are compared with."""
    SUBS = "subs"
    """What the sub-meters next to the main ones count; contained in the import, not beside it."""


class Step(StrEnum):
    """The length of a series' buckets: an interval of the ledger, or a stretch of the local calendar."""

    INTERVAL = "interval"
    DAY = "day"
    WEEK = "week"
    """From Monday."""
    MONTH = "month"
    YEAR = "year"


class FigureQuality(StrEnum):
    """How far a figure may be trusted: the worst of what it is made of."""

    MEASURED = "measured"
    EDITED = "edited"
    ESTIMATED = "estimated"
    PARTIAL = "partial"
    """A lower bound: a part of it is not known."""
    MISSING = "missing"
    """Readings were due and nothing is known."""
    NOT_EXPECTED = "not_expected"
    """No register was there yet, or the time has not come."""


@dataclass(frozen=True, slots=True, order=True)
class Measure:
    """What is counted and in which unit; different ones are never added up."""

    quantity: str
    """A word of `protocol.quantities`, such as `active_energy`."""
    unit: str


@dataclass(frozen=True, slots=True)
class Counted:
    """A register that enters a flow, between two instants; None is without an end."""

    flow: Flow
    meter_id: int
    point_id: int
    from_ms: int | None = None
    until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class SitePart:
    """The part of a scope that lies in one site."""

    site_id: int
    organisation_id: int
    slug: str
    name: str
    zone: ZoneInfo
    interval_s: int
    counted: tuple[Counted, ...]


@dataclass(frozen=True, slots=True)
class Scope:
    """What is looked at, in one measure."""

    kind: ScopeKind
    key: str
    """The site's or organisation's slug, the meter's or group's id."""
    name: str
    measure: Measure
    measures: tuple[Measure, ...]
    """All that the scope has."""
    parts: tuple[SitePart, ...]

    @property
    def has_one_clock(self) -> bool:
        """True when all its sites share time zone and interval length, so that intervals can be added up."""
        return len({(part.zone.key, part.interval_s) for part in self.parts}) == 1

    @property
    def is_of_whole_sites(self) -> bool:
        """True when what is priced per site (standing and demand charges) belongs to it."""
        return self.kind in {ScopeKind.SITE, ScopeKind.ORGANISATION}


@dataclass(frozen=True, slots=True)
class Figure:
    """An amount over a stretch of time, with what is known about it.

    Times are summed over registers: one hour of three expected meters is three hours.
    """

    measured_micro: int = 0
    estimated_micro: int = 0
    edited_micro: int = 0
    partial_micro: int = 0
    """Lower bounds."""
    expected_ms: int = 0
    """Time in which registers were expected to count."""
    complete_ms: int = 0
    """The part of it that the ledger calls complete: its completeness, weighted by time."""
    estimated_ms: int = 0
    edited_ms: int = 0
    partial_ms: int = 0
    missing_ms: int = 0
    meters: int = 0
    """Registers expected at once, at most."""

    @property
    def amount_micro(self) -> int | None:
        """All that is known of the amount; None where nothing is."""
        if self.expected_ms == self.missing_ms:
            return None
        return self.measured_micro + self.estimated_micro + self.edited_micro + self.partial_micro

    @property
    def completeness(self) -> int | None:
        """In thousandths, rounded down: 1000 means that nothing is missing. None where nothing was expected."""
        return self.complete_ms * COMPLETE // self.expected_ms if self.expected_ms else None

    @property
    def quality(self) -> FigureQuality:
        """The worst of what the amount is made of."""
        if not self.expected_ms:
            return FigureQuality.NOT_EXPECTED
        if self.missing_ms == self.expected_ms:
            return FigureQuality.MISSING
        if self.missing_ms or self.partial_ms:
            return FigureQuality.PARTIAL
        if self.estimated_ms:
            return FigureQuality.ESTIMATED
        return FigureQuality.EDITED if self.edited_ms else FigureQuality.MEASURED


@dataclass(frozen=True, slots=True)
class Residual:
    """What no sub-meter counts: import less export, plus generation and discharge less charge, less sub-meters.

    Taken over the time in which all of these are known in full. Negative when sub-meters count more than the main.
    """

    amount_micro: int | None
    known_ms: int
    expected_ms: int
