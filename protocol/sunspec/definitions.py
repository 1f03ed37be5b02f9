"""SunSpec model definitions: which points a model holds, in which order. One JSON file per model in `models`."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from protocol.errors import UnknownSunSpecModel

HEADER_WORDS = 2
"""A model begins with its id and with the number of words that follow these two."""

COMMON_MODEL = 1
END_OF_CHAIN = 0xFFFF

_REPETITIONS_MAX = 100
"""No device has as many strings or ports: a length that asks for more is a fault of the device."""

_PREFIX, _SUFFIX = "model_", ".json"


class PointType(StrEnum):
    """The types of the standard; each has its own mark for "not implemented"."""

    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    RAW16 = "raw16"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"
    ACC16 = "acc16"
    ACC32 = "acc32"
    ACC64 = "acc64"
    BITFIELD16 = "bitfield16"
    BITFIELD32 = "bitfield32"
    BITFIELD64 = "bitfield64"
    ENUM16 = "enum16"
    ENUM32 = "enum32"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    STRING = "string"
    PAD = "pad"
    IPADDR = "ipaddr"
    IPV6ADDR = "ipv6addr"
    EUI48 = "eui48"
    SUNSSF = "sunssf"
    """A scale factor: other points are multiplied by ten to its power."""
    COUNT = "count"
    """How often a group repeats."""

    @property
    def is_accumulator(self) -> bool:
        """Say whether the value only grows, and 0 means that nothing was ever counted."""
        return self in (PointType.ACC16, PointType.ACC32, PointType.ACC64)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PointDefinition(_Frozen):
    """One point, by the standard's own name."""

    name: str
    type: PointType
    size: int = Field(ge=1)
    """In words."""
    sf: str | int | None = None
    """The scale-factor point, or a fixed power of ten."""
    units: str = ""
    label: str = ""
    access: Literal["R", "RW"] = "R"
    mandatory: bool = False
    symbols: dict[int, str] = {}
    """Names of codes (enumerations) or of bit numbers (bit fields)."""


class GroupDefinition(_Frozen):
    """A group of points that repeats."""

    name: str
    count: int | str
    """How often: a number, the point that says it, or 0 for as often as the model is long."""
    points: tuple[PointDefinition, ...] = Field(min_length=1)

    @property
    def words(self) -> int:
        """Words that one repetition takes."""
        return sum(point.size for point in self.points)


class ModelDefinition(_Frozen):
    """One model: points that stand once, then groups that repeat."""

    id: int = Field(ge=1, lt=END_OF_CHAIN)
    label: str = ""
    points: tuple[PointDefinition, ...] = Field(min_length=HEADER_WORDS)
    groups: tuple[GroupDefinition, ...] = ()

    @property
    def fixed_words(self) -> int:
        """Words before the first group, header included."""
        return sum(point.size for point in self.points)


@dataclass(frozen=True, slots=True)
class PlacedPoint:
    """A point and where it stands in one model of one device."""

    offset: int
    """Words after the first of the model's header."""
    definition: PointDefinition
    group: str = ""
    number: int = 0
    """Which repetition of its group, from 1; 0 outside groups."""

    @property
    def key(self) -> str:
        """The point's name, behind its group's."""
        return f"{self.group}.{self.definition.name}" if self.group else self.definition.name

    @property
    def end(self) -> int:
        """The offset behind the point's last word."""
        return self.offset + self.definition.size


@cache
def model_ids() -> tuple[int, ...]:
    """List the ids of all models that are known, in order."""
    names = (entry.name for entry in _folder().iterdir())
    return tuple(sorted(int(name[len(_PREFIX) : -len(_SUFFIX)]) for name in names if name.endswith(_SUFFIX)))


@cache
def get_model(model_id: int) -> ModelDefinition:
    """Load one model; only its file is read, and only once.

    Raises: UnknownSunSpecModel.
    """
    if model_id not in model_ids():
        message = f"SunSpec model {model_id} is not among those known here: its points cannot be read"
        raise UnknownSunSpecModel(message)
    return ModelDefinition.model_validate_json((_folder() / f"{_PREFIX}{model_id}{_SUFFIX}").read_bytes())


def place_points(model: ModelDefinition, length: int, repeats: int | None = None) -> Iterator[PlacedPoint]:
    """Lay a model's points out in the `length` words that the device announces behind the header.

    The device's length rules: what lies beyond it is left out, and a group without a fixed count
    repeats as often as it fits, at most `repeats` times.
    """
    end = HEADER_WORDS + length
    offset = 0
    for point in model.points:
        yield from _within(end, PlacedPoint(offset, point))
        offset += point.size
    for group in model.groups:
        fitting = max(0, end - offset) // group.words
        for number in range(1, _repetitions(group, fitting, repeats) + 1):
            for point in group.points:
                yield from _within(end, PlacedPoint(offset, point, group.name, number))
                offset += point.size


def count_point(model: ModelDefinition) -> str | None:
    """Name the point in which a device says how often the model's group repeats; None when there is none."""
    named = [group.count for group in model.groups if isinstance(group.count, str)]
    typed = [point.name for point in model.points if point.type is PointType.COUNT]
    return next(iter(named + typed), None)


def _repetitions(group: GroupDefinition, fitting: int, repeats: int | None) -> int:
    if isinstance(group.count, int) and group.count > 0:
        return group.count
    return min(fitting, _REPETITIONS_MAX if repeats is None else repeats)


def _within(end: int, placed: PlacedPoint) -> Iterator[PlacedPoint]:
    if placed.end <= end:
        yield placed


def _folder() -> Traversable:
    return files("protocol") / "sunspec" / "models"
