"""The register image of a SunSpec device: the mark, a chain of models, the end. Pure.

What lies at which offset comes from the model definitions, or, so that a reader of those definitions
can be tested against something else, from offsets that the caller takes out of a document.
"""

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from protocol.sunspec.definitions import COMMON_MODEL, END_OF_CHAIN, HEADER_WORDS, get_model, place_points
from simulator.register_unit import RegisterUnit

SUNS = (0x5375, 0x6E53)
_BASE = 40_000
_COMMON_TEXTS = {"manufacturer": (2, 16), "model": (18, 16), "options": (34, 8), "version": (42, 8), "serial": (50, 16)}
_DEVICE_ADDRESS_OFFSET, _COMMON_LENGTH = 66, 66
_SIGNED = frozenset({"int16", "int32", "int64", "sunssf"})
_FLOATS = {"float32": ">f", "float64": ">d"}
_ZERO_IS_NONE = frozenset({"acc16", "acc32", "acc64", "ipaddr", "ipv6addr", "string"})
"""Types that say "not implemented" with 0; signed ones with their lowest number, others with all ones."""
_WORDS = {
    **dict.fromkeys(("int16", "uint16", "acc16", "enum16", "bitfield16", "sunssf", "pad", "raw16", "count"), 1),
    **dict.fromkeys(("int32", "uint32", "acc32", "enum32", "bitfield32", "ipaddr", "float32"), 2),
    **dict.fromkeys(("int64", "uint64", "acc64", "bitfield64", "float64"), 4),
}

Given = float | str | None
"""A number or a text as it stands in the registers; None is "not implemented"."""


class SunSpecImage:
    """Builds the image model by model."""

    def __init__(self, base: int = _BASE) -> None:
        """Begin at one of the bases 40000, 50000 and 0, or anywhere else."""
        self.base = base
        self._words: list[int] = [*SUNS]

    def add_model(self, model_id: int, words: Sequence[int], *, length: int | None = None) -> Self:
        """Append a model: its header, then the words behind it. `length` lets the header lie."""
        self._words += [model_id, len(words) if length is None else length, *words]
        return self

    def add_common(self, *, device_address: int = 1, **texts: str) -> Self:
        """Append model 1, with texts among manufacturer, model, options, version and serial."""
        points: dict[int, tuple[str, Given]] = {_DEVICE_ADDRESS_OFFSET: ("uint16", device_address)}
        sizes = {}
        for name, text in texts.items():
            offset, sizes[offset] = _COMMON_TEXTS[name][0], _COMMON_TEXTS[name][1]
            points[offset] = ("string", text)
        return self.add_model(COMMON_MODEL, words_at(_COMMON_LENGTH, points, sizes=sizes))

    def words(self) -> dict[int, int]:
        """Return the image by address, the end of the chain included."""
        return dict(enumerate([*self._words, END_OF_CHAIN, 0], self.base))

    def unit(self, unit_id: int = 1, *, writable: Iterable[int] = (), meter_id: str | None = None) -> RegisterUnit:
        """Return a unit that serves the image as holding registers."""
        return RegisterUnit(unit_id, holding=self.words(), writable=writable, meter_id=meter_id)


def words_at(
    length: int, points: Mapping[int, tuple[str, Given]], *, sizes: Mapping[int, int] | None = None
) -> list[int]:
    """Lay points (type and value as it stands in the registers) out by offset from the model's id register.

    Returns the `length` words behind the header; what no point fills is 0x8000. `sizes` gives the words
    of strings by offset. Raises: ValueError when a point does not fit.
    """
    words = [0x8000] * length
    for offset, (kind, value) in points.items():
        size = (sizes or {}).get(offset) or _WORDS[kind]
        at = offset - HEADER_WORDS
        if not 0 <= at <= length - size:
            raise ValueError(f"{size} words at offset {offset} do not fit into a model of length {length}")
        words[at : at + size] = encode(kind, size, value)
    return words


def model_words(model_id: int, values: Mapping[str, float | str], *, repeats: int = 0) -> list[int]:
    """Fill a known model with values by the standard's names and in its units; return the words behind the header.

    A point of a group that repeats is named with group and number, such as `module.DCA.1`. A scale
    factor that a value needs and that is not given is 0; whatever else is not given is not implemented.
    Raises: KeyError for a name that the model does not have, and what `get_model` raises.
    """
    model = get_model(model_id)
    length = model.fixed_words - HEADER_WORDS + repeats * sum(group.words for group in model.groups)
    placed = {
        f"{point.key}.{point.number}" if point.number else point.key: point
        for point in place_points(model, length, repeats)
    }
    if unknown := sorted(set(values) - set(placed)):
        raise KeyError(f"SunSpec model {model_id} has no point {', '.join(unknown)}")
    factors = {sf: float(values.get(sf, 0)) for name in values if isinstance(sf := placed[name].definition.sf, str)}
    words = [0] * length
    for name, point in placed.items():
        if point.offset < HEADER_WORDS:
            continue
        definition = point.definition
        value: Given = values.get(name, factors.get(name))
        if isinstance(value, int | float) and definition.sf is not None:
            power = factors[definition.sf] if isinstance(definition.sf, str) else definition.sf
            value = value / math.pow(10, power)
        at = point.offset - HEADER_WORDS
        words[at : at + definition.size] = encode(definition.type, definition.size, value)
    return words


def encode(kind: str, size: int, value: Given) -> tuple[int, ...]:
    """Encode a value of a SunSpec type as `size` words, most significant first.

    Raises: ValueError when it does not fit.
    """
    if isinstance(value, str):
        data = value.encode("ascii", errors="replace")
        if len(data) > 2 * size:
            raise ValueError(f"{value!r} is longer than {2 * size} characters")
        data = data.ljust(2 * size, b"\0")
    elif kind in _FLOATS:
        data = struct.pack(_FLOATS[kind], math.nan if value is None else value)
    else:
        raw = _not_implemented(kind, size) if value is None else round(value)
        try:
            data = raw.to_bytes(2 * size, signed=raw < 0)
        except OverflowError as error:
            raise ValueError(f"{raw} does not fit into the type {kind}") from error
    return struct.unpack(f">{size}H", data)


def _not_implemented(kind: str, size: int) -> int:
    if kind in _ZERO_IS_NONE:
        return 0
    if kind in _SIGNED or kind == "pad":
        return 1 << 16 * size - 1
    return (1 << 16 * size) - 1
