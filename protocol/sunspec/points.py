"""From one model of a device to points of a profile: addresses, names, types, scale factors."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NamedTuple

from protocol.manifest import PointKind
from protocol.profile import Access, Point, RegisterType, Table
from protocol.quantities import get_quantity
from protocol.sunspec.definitions import PlacedPoint, PointDefinition, PointType, count_point, get_model, place_points
from protocol.sunspec.vocabulary import Family, Meaning, Sign
from protocol.sunspec.walk import FoundModel, Words, text_of

_ALL_ONES_16, _ALL_ONES_32, _ALL_ONES_64 = 2**16 - 1, 2**32 - 1, 2**64 - 1

_TYPES: Mapping[PointType, tuple[RegisterType, tuple[int, ...]]] = MappingProxyType(
    {
        PointType.INT16: (RegisterType.INT16, (2**15,)),
        PointType.INT32: (RegisterType.INT32, (2**31,)),
        PointType.INT64: (RegisterType.INT64, (2**63,)),
        PointType.RAW16: (RegisterType.UINT16, ()),
        PointType.UINT16: (RegisterType.UINT16, (_ALL_ONES_16,)),
        PointType.UINT32: (RegisterType.UINT32, (_ALL_ONES_32,)),
        PointType.UINT64: (RegisterType.UINT64, (_ALL_ONES_64,)),
        PointType.ACC16: (RegisterType.UINT16, (0,)),
        PointType.ACC32: (RegisterType.UINT32, (0,)),
        PointType.ACC64: (RegisterType.UINT64, (0,)),
        PointType.BITFIELD16: (RegisterType.BITFIELD16, (_ALL_ONES_16,)),
        PointType.BITFIELD32: (RegisterType.BITFIELD32, (_ALL_ONES_32,)),
        PointType.ENUM16: (RegisterType.ENUM16, (_ALL_ONES_16,)),
        PointType.ENUM32: (RegisterType.UINT32, (_ALL_ONES_32,)),
        PointType.FLOAT32: (RegisterType.FLOAT32, ()),  # every NaN is "not implemented"
        PointType.FLOAT64: (RegisterType.FLOAT64, ()),
        PointType.STRING: (RegisterType.STRING, ()),
        PointType.IPADDR: (RegisterType.IPV4, (0,)),
        PointType.SUNSSF: (RegisterType.INT16, (2**15,)),
        PointType.COUNT: (RegisterType.UINT16, (_ALL_ONES_16,)),
    }
)
"""How each type is read, and the raw patterns that mean "not implemented". Other types are not read."""

_BITS = frozenset({PointType.BITFIELD16, PointType.BITFIELD32})
_STORAGE_BY_TEXT = MappingProxyType({"stcha": "charge", "stdischa": "discharge"})
_STRINGS_OF_A_HYBRID_MIN = 3


class DevicePoint(NamedTuple):
    """A point of a profile and the SunSpec point that it is."""

    point: Point
    definition: PointDefinition


@dataclass(frozen=True, slots=True)
class ModelPoints:
    """What one model of a device offers."""

    found: FoundModel
    family: Family
    points: tuple[DevicePoint, ...]
    exponents: tuple[Point, ...]
    """The scale factors that the points need."""
    words: Words | None
    """What the model held at discovery; None when it was not read."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What naming a model's points needs to know of the rest of its device."""

    manufacturer: str
    signs: Mapping[str, Sign]
    has_inverter: bool
    has_storage_control: bool
    """Model 124 is there: on Fronius the last two strings are then the battery."""


def points_of(found: FoundModel, family: Family, setting: Setting, ordinal: int, words: Words | None) -> ModelPoints:
    """Make the points of one model.

    `ordinal` counts models of the same id in one device, from 1: the second one's names end in `_2`.
    """
    maker = _Maker(found, family, setting, ordinal, words)
    points = tuple(DevicePoint(maker.point(placed, meaning), placed.definition) for placed, meaning in maker.named())
    needed = {device_point.point.exponent_point for device_point in points}
    exponents = tuple(exponent for exponent in maker.exponents.values() if exponent.name in needed)
    return ModelPoints(found, family, points, exponents, words)


class _Maker:
    def __init__(self, found: FoundModel, family: Family, setting: Setting, ordinal: int, words: Words | None) -> None:
        self._found = found
        self._family = family
        self._setting = setting
        self._suffix = "" if ordinal == 1 else f"_{ordinal}"
        model = get_model(found.id)
        everywhere = tuple(place_points(model, found.length))
        self._placed = tuple(place_points(model, found.length, _repeats(everywhere, count_point(model), words)))
        self._ways = self._storage_ways(words)
        self.exponents: Mapping[str, Point] = {
            placed.definition.name: self._exponent(placed)
            for placed in self._placed
            if placed.definition.type is PointType.SUNSSF
        }

    def named(self) -> list[tuple[PlacedPoint, Meaning]]:
        """List the points that have a name, a type that can be read, and the scale factor that they need."""
        return [
            (placed, meaning)
            for placed in self._placed
            if (meaning := self._family.points.get(placed.key)) is not None
            and placed.definition.type in _TYPES
            and (not isinstance(placed.definition.sf, str) or placed.definition.sf in self.exponents)
        ]

    def point(self, placed: PlacedPoint, meaning: Meaning) -> Point:
        definition = placed.definition
        quantity = meaning.quantity_of(definition)
        scale = meaning.scale_of(definition)
        kind = meaning.kind or get_quantity(quantity).kind
        sign = self._setting.signs.get(meaning.sign or "")
        return self._plain(
            placed,
            name=self._name(placed, meaning),
            quantity=quantity,
            kind=kind,
            scale=scale,
            rollover=_rollover(definition, kind, scale),
            exponent_point=self.exponents[definition.sf].name if isinstance(definition.sf, str) else None,
            access=Access.READ_WRITE if definition.access == "RW" else Access.READ,
            sign=meaning.sign if sign is None else sign.text_for(self._setting.manufacturer),
            values=_values(definition),
            note=self._note(placed, meaning.note, None if sign is None else sign.note),
            verify=meaning.verify,
        )

    def _exponent(self, placed: PlacedPoint) -> Point:
        name = placed.definition.name.lower().removesuffix("_sf")
        return self._plain(placed, name=f"exponent_{self._found.id}_{name}{self._suffix}", quantity="exponent")

    def _plain(self, placed: PlacedPoint, **rest: Any) -> Point:  # noqa: ANN401 - keys of Point, checked by it
        kind, not_available = _TYPES[placed.definition.type]
        return Point(
            address=self._found.address + placed.offset,
            table=Table.HOLDING_REGISTER,
            type=kind,
            words=placed.definition.size,
            not_available=not_available,
            **rest,
        )

    def _name(self, placed: PlacedPoint, meaning: Meaning) -> str:
        way = self._ways.get(placed.number)
        if way is not None and meaning.storage is not None:
            return meaning.storage.format(way=way) + self._suffix
        name = meaning.name.format(n=placed.number)
        if self._family.role == "meter" and self._setting.has_inverter:
            name = "meter_" + name.replace("energy_active_", "energy_")
        return name + self._suffix

    def _note(self, placed: PlacedPoint, *more: str | None) -> str:
        said = f"SunSpec {self._found.id} {placed.key}"
        if placed.definition.label not in ("", placed.definition.name):
            said += f" ({placed.definition.label})"
        return "; ".join([said, *filter(None, more)])

    def _storage_ways(self, words: Words | None) -> Mapping[int, str]:
        """Tell which repetitions are a battery that is charged or discharged, rather than a string of panels."""
        if all(meaning.storage is None for meaning in self._family.points.values()):
            return {}
        if words is not None:
            return _ways_by_text(self._placed, words)
        last = self._placed[-1].number
        is_hybrid = self._setting.has_storage_control and self._setting.manufacturer.lower().startswith("fronius")
        if not is_hybrid or last < _STRINGS_OF_A_HYBRID_MIN:
            return {}
        return {last - 1: "charge", last: "discharge"}


def _ways_by_text(placed_points: tuple[PlacedPoint, ...], words: Words) -> Mapping[int, str]:
    """Read the ways off the texts that Fronius gives its inputs: "StCha 3", "StDisCha 4"."""
    ways = {}
    for placed in placed_points:
        if placed.definition.type is PointType.STRING:
            text = text_of(words[placed.offset : placed.end]).lower()
            for start, way in _STORAGE_BY_TEXT.items():
                if text.startswith(start):
                    ways[placed.number] = way
    return ways


def _repeats(placed_points: tuple[PlacedPoint, ...], count: str | None, words: Words | None) -> int | None:
    """Ask the model itself how often its group repeats; None when it does not say, and its length decides."""
    for placed in placed_points:
        if words is not None and placed.key == count:
            said = words[placed.offset]
            return said if 0 < said < _ALL_ONES_16 else None
    return None


def _rollover(definition: PointDefinition, kind: PointKind, scale: Decimal) -> Decimal | None:
    """Tell where an accumulator starts again; not known where a scale factor may move it."""
    if kind is not PointKind.COUNTER or not definition.type.is_accumulator or isinstance(definition.sf, str):
        return None
    return (1 << 16 * definition.size) * scale


def _values(definition: PointDefinition) -> str | None:
    before = "bit " if definition.type in _BITS else ""
    names = (f"{before}{code} {name.lower().replace('_', ' ')}" for code, name in sorted(definition.symbols.items()))
    return ", ".join(names) or None
