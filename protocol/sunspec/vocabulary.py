"""What the points of SunSpec models are called here, and in which quantity: the typed face of `vocabulary.toml`."""

import tomllib
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from protocol.manifest import PointKind
from protocol.sunspec.definitions import PointDefinition, PointType

Role = Literal["common", "inverter", "meter", "strings", "storage", "status", "ratings", "settings", "controls"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Meaning(_Frozen):
    """What one SunSpec point is to us."""

    name: str
    quantity: str | None = None
    """Left out where type and units tell."""
    scale: Decimal | None = None
    kind: PointKind | None = None
    sign: str | None = None
    note: str | None = None
    verify: str | None = None
    storage: str | None = None
    """The name where this repetition of a group is a battery rather than a string of panels."""

    def quantity_of(self, definition: PointDefinition) -> str:
        """Name the quantity: the stated one, or what type and units mean.

        Raises: ValueError when neither tells.
        """
        usual = self.quantity or _BY_TYPE.get(definition.type) or _BY_UNITS.get(definition.units)
        if usual is None:
            message = f"SunSpec point {definition.name!r} in {definition.units!r} needs a quantity in vocabulary.toml"
            raise ValueError(message)
        return usual

    def scale_of(self, definition: PointDefinition) -> Decimal:
        """Return the factor into the canonical unit, before any scale-factor point."""
        if self.scale is not None:
            return self.scale
        percent = definition.units == "Pct" and self.quantity == "power_factor"
        power = definition.sf if isinstance(definition.sf, int) else 0
        return Decimal(1).scaleb(power - 2 if percent else power)


class Producing(_Frozen):
    """The point, and its codes, that say of an inverter that it is at work rather than asleep."""

    point: str
    codes: tuple[int, ...]


class Sign(_Frozen):
    """What a positive value means, where the standard does not define it."""

    text: str | None = None
    note: str
    makers: Mapping[str, str] = {}
    """By the beginning of the manufacturer's name, in lower case."""

    def text_for(self, manufacturer: str) -> str | None:
        """Say what a positive value means on this maker's devices; None when nobody knows."""
        for maker, text in self.makers.items():
            if manufacturer.lower().startswith(maker):
                return text
        return self.text


class Family(_Frozen):
    """Models whose points are named alike."""

    models: tuple[int, ...]
    role: Role
    points: Mapping[str, Meaning]
    left_out: frozenset[str] = frozenset()
    producing: Producing | None = None

    @field_validator("points", mode="before")
    @classmethod
    def _lift_plain_names(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        return {key: {"name": value} if isinstance(value, str) else value for key, value in given.items()}


class Vocabulary(_Frozen):
    """The whole file."""

    families: tuple[Family, ...]
    signs: Mapping[str, Sign]

    def family_of(self, model_id: int) -> Family | None:
        """Return the family that a model belongs to; None when we have no names for it."""
        return next((family for family in self.families if model_id in family.models), None)

    def preference(self, model_id: int) -> int:
        """Rank a model among those that may offer the same name: lower goes first."""
        return [known for family in self.families for known in family.models].index(model_id)


@cache
def get_vocabulary() -> Vocabulary:
    """Load the vocabulary; once."""
    text = (files("protocol") / "sunspec" / "vocabulary.toml").read_text(encoding="utf-8")
    return Vocabulary.model_validate(tomllib.loads(text, parse_float=Decimal))


_BY_TYPE = MappingProxyType(
    {
        PointType.STRING: "text",
        PointType.IPADDR: "text",
        PointType.ENUM16: "state",
        PointType.ENUM32: "state",
        PointType.BITFIELD16: "bits",
        PointType.BITFIELD32: "bits",
        PointType.SUNSSF: "exponent",
    }
)

_BY_UNITS = MappingProxyType(
    {
        "V": "voltage",
        "A": "current",
        "W": "active_power",
        "VA": "apparent_power",
        "var": "reactive_power",
        "Var": "reactive_power",
        "Wh": "active_energy",
        "WH": "active_energy",
        "VAh": "apparent_energy",
        "varh": "reactive_energy",
        "Varh": "reactive_energy",
        "Ah": "charge",
        "AH": "charge",
        "Hz": "frequency",
        "C": "temperature",
        "Secs": "duration",
        "cos()": "power_factor",
    }
)
"""Quantities whose canonical unit is the definition's own, so that no factor is needed."""
