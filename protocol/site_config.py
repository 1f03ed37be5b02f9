"""What a controller shall do: its buses, the meters on them, what is read of each, and when.

The same schema is written by hand as TOML on a controller and compiled by the hub.
"""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from protocol.identifiers import BusId, MeterId, PointName, ProfileId
from protocol.profile import Profile


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MeterConfig(_Frozen):
    """One meter on a bus."""

    id: MeterId
    profile: ProfileId
    unit_id: int = Field(default=1, ge=0, le=255)
    label: str = Field(default="", max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
    period_s: float = Field(default=60, ge=0.05, le=86_400)
    """Seconds between polls; they fall on the wall-clock grid of this step."""
    points: tuple[PointName, ...] | None = Field(default=None, min_length=1)
    """Points to read; left out, all that the profile offers as measurements."""


class BusConfig(_Frozen):
    """One Modbus TCP address: a meter, a gateway or a serial server. One request at a time."""

    id: BusId
    host: str = Field(min_length=1, max_length=255)
    port: int = Field(default=502, ge=1, le=0xFFFF)
    timeout_s: float = Field(default=1.0, gt=0, le=60)
    pause_between_requests_s: float = Field(default=0, ge=0, le=10)
    meters: tuple[MeterConfig, ...] = Field(min_length=1)


class SiteConfig(_Frozen):
    """A complete configuration of one controller."""

    version: int = Field(default=1, ge=1, le=1)
    revision: int = Field(default=0, ge=0)
    buses: tuple[BusConfig, ...] = Field(min_length=1)
    profiles: tuple[Profile, ...] = ()
    """Profiles of this site's own; one with a library profile's id takes its place."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        _refuse_repeated("bus id", [bus.id for bus in self.buses])
        _refuse_repeated("meter id", [meter.id for bus in self.buses for meter in bus.meters])
        _refuse_repeated("address of bus", [f"{bus.host}:{bus.port}" for bus in self.buses])
        return self


def _refuse_repeated(what: str, values: list[str]) -> None:
    for value in values:
        if values.count(value) > 1:
            message = f"{what} {value!r} is used twice"
            raise ValueError(message)
