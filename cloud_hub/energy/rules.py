"""The rules of validation and estimation with their thresholds, per kind of meter. Pure.

The usual thresholds are in `rules.toml`, beside their sources; an organisation may set others. Thresholds are
numbers of people: they decide which intervals are doubted, and never enter an amount.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, lru_cache
from importlib.resources import files
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cloud_hub.errors import Invalid
from protocol.quantities import QUANTITIES

EVERY_KIND = "*"

Flag = Literal["flag", "off"]
"""The register knows better than any check how much was counted: most checks only ask for a look."""
FlagOrEstimate = Literal["flag", "estimate", "off"]
Ratio = Annotated[float, Field(gt=0, le=1000)]


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Gap(_Rule):
    """When readings are too far apart to say in which interval the energy was used."""

    intervals: int = Field(ge=1, le=48)


class MaxDemand(_Rule):
    """An interval above `ratio` times the register's highest rate."""

    action: Flag
    ratio: Ratio


class Negative(_Rule):
    """An interval below zero on a register of one direction."""

    action: Flag


class Stuck(_Rule):
    """A register that stood still and then caught up at once."""

    action: FlagOrEstimate
    run_min_h: float = Field(ge=1, le=24)
    run_max_h: float = Field(ge=1, le=24)
    """No more than a day: `cloud_hub.energy.validation.REACH_MS` counts on it."""
    catch_up_ratio: Ratio
    idle_share_max: float = Field(ge=0, le=1)
    likeness: float = Field(ge=1, le=1000)


class Spike(_Rule):
    """The highest interval of a day so far above the third highest: (first - third) / third."""

    action: Flag
    ratio: Ratio
    floor_per_h: Mapping[str, Annotated[float, Field(ge=0)]]
    """By quantity. A day whose third highest interval is below is not judged."""


class DayUse(_Rule):
    """A day's use as a multiple of the mean of the same weekdays before, and far from what these differ by."""

    action: Flag
    ratio: Ratio
    deviations: float = Field(ge=0, le=100)
    """Standard deviations of the days before."""
    weeks: int = Field(ge=1, le=8)
    """No more than `cloud_hub.energy.reference.REFERENCE_DAYS`."""
    weeks_min: int = Field(ge=2, le=8)


class ZeroUse(_Rule):
    """Nothing for so long on a register that counted before."""

    action: Flag
    hours: float = Field(ge=1, le=48)
    """No more than two days: `cloud_hub.energy.validation.REACH_MS` counts on it."""


class SumCheck(_Rule):
    """The sum of the intervals beside the difference of the registers."""

    action: Flag


class Estimation(_Rule):
    """How energy is spread that the readings do not place in time."""

    linear_h: float = Field(ge=0, le=24)
    forward_days: int = Field(ge=0, le=31)
    """0: nothing is ever estimated before a register tells."""
    references_min: int = Field(ge=1, le=10)
    references_max: int = Field(ge=1, le=10)


MaxRate = Mapping[str, Annotated[float, Field(gt=0)]]
"""By quantity, in the register's unit per hour."""


class Ruleset(BaseModel):
    """All rules that hold for one register, in the order in which they run."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    quantity: str
    max_rate: MaxRate
    gap: Gap
    negative: Negative
    max_demand: MaxDemand
    stuck: Stuck
    zero_use: ZeroUse
    spike: Spike
    estimation: Estimation
    high_use: DayUse
    low_use: DayUse
    sum_check: SumCheck

    @property
    def max_rate_per_h(self) -> Decimal | None:
        """The highest rate of a register that names none itself; None where any is possible."""
        rate = self.max_rate.get(self.quantity)
        return None if rate is None else Decimal(str(rate))

    @property
    def spike_floor_per_h(self) -> float:
        """The third highest interval of a day has to be above, for the spike check to judge it."""
        return self.spike.floor_per_h.get(self.quantity, 0.0)


@dataclass(frozen=True, slots=True)
class Override:
    """What an organisation wants of one rule for one kind of meter (`*` for all): a row of `validation_settings`."""

    meter_kind: str
    rule: str
    parameters: Mapping[str, Any]


def load_ruleset(meter_kind: str, quantity: str, overrides: Sequence[Override] = ()) -> Ruleset:
    """Return the rules for a kind of meter (its profile's category) and the quantity that its register counts.

    Later layers win: the defaults for all, those of the kind, overrides for `*`, overrides for the kind.
    Cached: equal arguments give the same object.

    Raises: Invalid, in one sentence that names rule, key and what is allowed.
    """
    wanted = [one for one in overrides if one.meter_kind in (EVERY_KIND, meter_kind)]
    wanted.sort(key=lambda one: (one.meter_kind != EVERY_KIND, one.rule))
    layers = tuple((one.rule, json.dumps(dict(one.parameters), sort_keys=True)) for one in wanted)
    return _build(meter_kind, quantity, layers)


def check_override(override: Override) -> None:
    """Refuse an override that no ruleset could be made with.

    Raises: Invalid, in one sentence that names rule, key and what is allowed.
    """
    load_ruleset(override.meter_kind, "", [override])


def rule_names() -> list[str]:
    """Return the names that an override may speak of, in the order in which the rules run."""
    return list(_defaults()["all"])


@cache
def _defaults() -> dict[str, dict[str, Any]]:
    return tomllib.loads(files("cloud_hub.energy").joinpath("rules.toml").read_text(encoding="utf-8"))


@lru_cache(maxsize=1024)
def _build(meter_kind: str, quantity: str, layers: tuple[tuple[str, str], ...]) -> Ruleset:
    defaults = _defaults()
    merged = {rule: dict(parameters) for rule, parameters in defaults["all"].items()}
    for rule, parameters in defaults.get(meter_kind, {}).items():
        merged[rule] = _over(merged[rule], parameters)
    for rule, text in layers:
        _check_keys(rule, json.loads(text))
        merged[rule] = _over(merged[rule], json.loads(text))
        _validate(meter_kind, rule, merged[rule])
    return Ruleset.model_validate({"quantity": quantity, **merged})


def _over(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one mapping over another; a mapping inside is laid over, too."""
    merged = dict(below)
    for key, value in above.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = {**merged[key], **value} if nested else value
    return merged


def _check_keys(rule: str, parameters: Mapping[str, Any]) -> None:
    if rule not in rule_names():
        raise Invalid(f"there is no validation rule {rule!r}: the rules are {', '.join(rule_names())}")
    allowed = sorted(QUANTITIES) if rule == "max_rate" else list(_model(rule).model_fields)
    unknown = [key for key in parameters if key not in allowed]
    if unknown:
        raise Invalid(f"validation rule {rule!r} has no key {unknown[0]!r}: it takes {', '.join(allowed)}")


def _validate(meter_kind: str, rule: str, parameters: Mapping[str, Any]) -> None:
    try:
        if rule == "max_rate":
            _MaxRates.model_validate({"rates": parameters})
        else:
            _model(rule).model_validate(parameters)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if part != "rates")
        said = first["msg"][:1].lower() + first["msg"][1:]
        raise Invalid(
            f"validation rule {rule!r} for {meter_kind!r} cannot have {key} = {first['input']!r}: {said}"
        ) from None


class _MaxRates(_Rule):
    rates: MaxRate


def _model(rule: str) -> type[_Rule]:
    annotation = Ruleset.model_fields[rule].annotation
    if isinstance(annotation, type) and issubclass(annotation, _Rule):
        return annotation
    raise TypeError(f"rule {rule!r} has no model of its own: {get_args(annotation)}")
