"""What of a meter's samples is reported: each one, changes, or a summary."""

from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

HALF_HOUR_S = 1_800


class Policy(StrEnum):
    """Which samples become scans."""

    EVERY = "every"
    """Each sample."""
    ON_CHANGE = "on_change"
    """A sample in which some point left its deadband or changed its quality, and one each heartbeat."""
    AGGREGATE = "aggregate"
    """One scan each report period, with statistics of the samples in it."""


class Statistic(StrEnum):
    """What a report period is summed up as."""

    MEAN = "mean"
    MIN = "min"
    MAX = "max"
    LAST = "last"


class Report(BaseModel):
    """The policy and its numbers. Numbers that belong to another policy are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy: Policy = Policy.EVERY
    deadband: float = Field(default=0, ge=0)
    """on_change: a value is news when it differs from the last reported one by more than this, in the point's unit."""
    deadband_percent: float = Field(default=0, ge=0, le=100)
    """on_change: likewise, in percent of the last reported value; the larger of the two counts."""
    heartbeat_s: float = Field(default=HALF_HOUR_S, ge=1, le=86_400)
    """on_change: the longest time without a report, on the wall-clock grid."""
    every_s: float = Field(default=HALF_HOUR_S, ge=1, le=86_400)
    """aggregate: the report period, on the wall-clock grid."""
    statistics: tuple[Statistic, ...] = Field(default=tuple(Statistic), min_length=1)
    """aggregate: what is reported of each gauge. Counters and states report their last value."""

    @model_validator(mode="after")
    def _fits_its_policy(self) -> Self:
        for key, policy in _POLICY_OF.items():
            is_set = getattr(self, key) != type(self).model_fields[key].default
            if is_set and policy is not self.policy:
                message = f"{key!r} belongs to the policy {policy.value!r}, not {self.policy.value!r}; remove it"
                raise ValueError(message)
        if len(set(self.statistics)) < len(self.statistics):
            message = "'statistics' names one twice; name it once"
            raise ValueError(message)
        return self


_POLICY_OF = {
    "deadband": Policy.ON_CHANGE,
    "deadband_percent": Policy.ON_CHANGE,
    "heartbeat_s": Policy.ON_CHANGE,
    "every_s": Policy.AGGREGATE,
    "statistics": Policy.AGGREGATE,
}
