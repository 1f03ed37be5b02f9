"""What a controller shall do: its buses, the meters on them, what is read of each, and when it is sent.

The same schema is written by hand as TOML on a controller and compiled by the hub.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from protocol.identifiers import MeterId, PointName, ProfileId
from protocol.line_config import LineConfig
from protocol.profile import Profile
from protocol.report_policy import Report


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PointGroup(_Frozen):
    """Points of a meter that are read or reported in another way than the rest."""

    points: tuple[PointName, ...] = Field(min_length=1)
    period_s: float | None = Field(default=None, ge=0.05, le=86_400)
    """Sampling period; None = the meter's."""
    report: Report | None = None
    """None = the meter's."""


class PointFactor(_Frozen):
    """What this site knows of a point that its profile cannot: the weight of a pulse, a transformer's ratio."""

    point: PointName
    factor: Decimal = Field(gt=0)
    """Multiplies the value that the profile gives, and its rollover."""
    quantity: str | None = None
    """What the product measures, such as `volume`; None = what the profile says. Its unit is the quantity's."""


class WritablePoint(_Frozen):
    """A point that commands may write on this site."""

    point: PointName
    lowest: float
    highest: float

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.highest < self.lowest:
            message = f"'highest' {self.highest:g} is below 'lowest' {self.lowest:g}; exchange them"
            raise ValueError(message)
        return self


class MeterConfig(_Frozen):
    """One meter on a bus."""

    id: MeterId
    profile: ProfileId
    unit_id: int = Field(default=1, ge=0, le=255)
    label: str = Field(default="", max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
    period_s: float = Field(default=60, ge=0.05, le=86_400)
    """Seconds between samples; they fall on the wall-clock grid of this step."""
    points: tuple[PointName, ...] | None = Field(default=None, min_length=1)
    """Points to read; left out, all that the profile offers as measurements."""
    report: Report = Report()
    groups: tuple[PointGroup, ...] = ()
    """Exceptions from `period_s` and `report`; a point named here need not stand in `points`."""
    factors: tuple[PointFactor, ...] = ()
    writable: tuple[WritablePoint, ...] = ()
    """What commands may write; nothing unless named here."""
    timeout_s: float | None = Field(default=None, gt=0, le=60)
    """This and the next two: None = the bus's."""
    retries: int | None = Field(default=None, ge=0, le=5)
    pause_between_requests_s: float | None = Field(default=None, ge=0, le=10)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        _refuse_repeated("point", [name for group in self.groups for name in group.points])
        _refuse_repeated("point with a factor", [factor.point for factor in self.factors])
        _refuse_repeated("writable point", [writable.point for writable in self.writable])
        return self


class BusConfig(LineConfig):
    """One line and the meters on it, in the order in which they are asked."""

    meters: tuple[MeterConfig, ...] = Field(min_length=1)


class SendSchedule(StrEnum):
    """When live scans are sent."""

    AT_ONCE = "at_once"
    """Each poll cycle as soon as it is stored."""
    EVERY = "every"
    """Every `every_s`, counted from the last time."""
    HALF_HOUR = "half_hour"
    """After each half-hour boundary, spread over `spread_s` by the controller's identity."""


class UplinkPolicy(_Frozen):
    """What a site's line may cost. What is None is decided by the controller's own settings."""

    send: SendSchedule | None = None
    every_s: float | None = Field(default=None, ge=1, le=86_400)
    spread_s: float | None = Field(default=None, ge=0, le=1_500)
    monthly_budget_mb: float | None = Field(default=None, gt=0, le=1_000_000)
    """Millions of bytes per UTC month on the line, headers of TCP/IP included."""
    thin_gauges: bool | None = None
    """Whether gauges may be reported less often when the budget will not last."""


class SiteConfig(_Frozen):
    """A complete configuration of one controller."""

    version: int = Field(default=1, ge=1, le=1)
    revision: int = Field(default=0, ge=0)
    buses: tuple[BusConfig, ...] = Field(min_length=1)
    profiles: tuple[Profile, ...] = ()
    """Profiles of this site's own; one with a library profile's id takes its place."""
    uplink: UplinkPolicy = UplinkPolicy()

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        _refuse_repeated("bus id", [bus.id for bus in self.buses])
        _refuse_repeated("meter id", [meter.id for bus in self.buses for meter in bus.meters])
        self._refuse_shared_addresses()
        return self

    def _refuse_shared_addresses(self) -> None:
        """Two buses on one address would speak at once, or in two framings."""
        first: dict[str, BusConfig] = {}
        for bus in self.buses:
            other = first.setdefault(bus.address, bus)
            if other is bus:
                continue
            if other.transport is not bus.transport:
                message = (
                    f"the address {bus.address} is used as {other.transport.value} by bus {other.id!r} and as "
                    f"{bus.transport.value} by bus {bus.id!r}; a line speaks one of them"
                )
                raise ValueError(message)
            message = (
                f"the address {bus.address} is used by the buses {other.id!r} and {bus.id!r}; put their meters on one"
            )
            raise ValueError(message)


def _refuse_repeated(what: str, values: list[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            message = f"{what} {value!r} is used twice"
            raise ValueError(message)
        seen.add(value)
