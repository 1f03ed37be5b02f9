"""The walk along a device's chain of models, without input or output: see `Steps` for how to drive it."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from protocol.profile import Point, RegisterType, Table
from protocol.registers import decode
from protocol.sunspec.definitions import (
    COMMON_MODEL,
    END_OF_CHAIN,
    HEADER_WORDS,
    PointType,
    get_model,
    model_ids,
    place_points,
)

BASES = (40_000, 50_000, 0, 39_999, 40_001, 49_999, 50_001, 1)
"""Where the map may begin; the last five for devices whose addresses are documented from one."""

CANDIDATE_UNIT_IDS: Mapping[int, str] = MappingProxyType(
    {
        1: "most devices",
        126: "SMA",
        200: "Fronius Smart Meter behind a GEN24",
        240: "Fronius Smart Meter behind an older Datamanager",
    }
)
"""Unit ids worth trying on one TCP address, and whose they are. Devices on RS-485 behind one have 1, 2, 3 and so on."""

_MARKER = (0x5375, 0x6E53)  # "SunS"
_ADDRESSES = 0x10000
_MODELS_MAX = 200
_READ_SIZES = (125, 60, 30)
"""Registers to ask for at once: some devices refuse what the standard allows."""

Words = tuple[int, ...]
_Result = TypeVar("_Result")

ReadStep = tuple[int, int]
"""One read of holding registers (function code 3): the first address, and how many."""


Steps = Generator[ReadStep, Sequence[int] | None, _Result]
"""Reads that are asked for one after the other.

Begin with `steps.send(None)`. Each step that comes out is one read; hand its words back with `steps.send(words)`, or
`steps.send(None)` when the device refused. `StopIteration.value` is the result. When the device does not answer at
all, `steps.close()` rather than ask on: a silent device would cost a timeout for each step.
"""


class FoundModel(NamedTuple):
    """One model in a device's chain."""

    id: int
    address: int
    """Of its first header word, zero-based."""
    length: int
    """Words that follow the header, as the device says."""


@dataclass(frozen=True, slots=True)
class SunSpecDevice:
    """One logical device: a common model and all models up to the next one."""

    base: int
    """Where the map begins that the device stands in."""
    unit_id: int
    models: tuple[FoundModel, ...]
    manufacturer: str = ""
    model: str = ""
    version: str = ""
    serial: str = ""
    fault: str | None = None
    """Why the chain ended early, in words for people; None when it ended as it should."""


class ModelWords(NamedTuple):
    """What a device's models held when they were read."""

    by_model: Mapping[FoundModel, Words]
    """The words of each model that could be read, header included, up to the last point that is known here."""
    max_registers_per_read: int
    """How many registers the device gave at once."""


def discover_steps(unit_id: int, bases: Sequence[int] = BASES) -> Steps[tuple[SunSpecDevice, ...]]:
    """Look for a SunSpec map and walk along its models.

    Returns the logical devices in the order of their chain; none when the unit speaks no SunSpec.
    """
    for base in bases:
        if (yield from _read((base, 2))) == _MARKER:
            models, fault = yield from _walk(base + 2)
            if models and models[0].id == COMMON_MODEL:
                return (yield from _identify(unit_id, base, models, fault))
    return ()


def read_steps(device: SunSpecDevice) -> Steps[ModelWords]:
    """Read the models of a device that are known here, in slices that split no value.

    A device that refuses long reads is asked for shorter ones from then on. A model that it refuses
    altogether is missing in the result.
    """
    by_model = {}
    size = 0
    for found in device.models:
        if found.id in model_ids():
            words, size = yield from _read_model(found, size)
            if words is not None:
                by_model[found] = words
    return ModelWords(by_model, _READ_SIZES[size])


def text_of(words: Words) -> str:
    """Decode a string point: without its padding, and without what cannot be printed."""
    point = Point(
        name="text",
        address=0,
        table=Table.HOLDING_REGISTER,
        type=RegisterType.STRING,
        words=len(words),
        quantity="text",
    )
    text = str(decode(point, words) or "")
    return "".join(character for character in text if character.isprintable()).strip()


def _read(step: ReadStep) -> Steps[Words | None]:
    words = yield step
    return tuple(words) if words is not None and len(words) == step[1] else None


def _walk(address: int) -> Steps[tuple[list[FoundModel], str | None]]:
    """Follow the chain from the first header; returns what was found, and what broke it."""
    models: list[FoundModel] = []
    while True:
        if address + HEADER_WORDS > _ADDRESSES:
            return models, "the chain of models runs beyond address 65535"
        header = yield from _read((address, HEADER_WORDS))
        if header is None:
            return models, f"the device does not let the model header at address {address} be read"
        found = FoundModel(header[0], address, header[1])
        if found.id == END_OF_CHAIN:
            return models, None
        if fault := _fault(found, len(models)):
            return models, fault
        models.append(found)
        address += HEADER_WORDS + found.length


def _fault(found: FoundModel, before: int) -> str | None:
    if before >= _MODELS_MAX:
        return f"the chain does not end after {_MODELS_MAX} models"
    if found.length == 0:
        return f"model {found.id} at address {found.address} says that it is empty"
    if found.address + HEADER_WORDS + found.length > _ADDRESSES:
        return f"model {found.id} at address {found.address} runs beyond address 65535"
    return None


def _identify(unit_id: int, base: int, models: list[FoundModel], fault: str | None) -> Steps[tuple[SunSpecDevice, ...]]:
    starts = [index for index, found in enumerate(models) if found.id == COMMON_MODEL]
    devices = []
    size = 0
    for start, stop in pairwise([*starts, len(models)]):
        words, size = yield from _read_model(models[start], size)
        texts = {} if words is None else _texts(models[start], words)
        devices.append(
            SunSpecDevice(
                base=base,
                unit_id=unit_id,
                models=tuple(models[start:stop]),
                manufacturer=texts.get("Mn", ""),
                model=texts.get("Md", ""),
                version=texts.get("Vr", ""),
                serial=texts.get("SN", ""),
            )
        )
    return (*devices[:-1], replace(devices[-1], fault=fault))


def _texts(found: FoundModel, words: Words) -> dict[str, str]:
    texts = {}
    for placed in place_points(get_model(found.id), found.length):
        if placed.definition.type is PointType.STRING:
            texts[placed.definition.name] = text_of(words[placed.offset : placed.end])
    return texts


def _read_model(found: FoundModel, size: int) -> Steps[tuple[Words | None, int]]:
    """Read one model up to its last known point, header included.

    Returns its words, None when the device refuses, and the index of the read size that it bore.
    """
    tried: list[int] = []
    for attempt in range(size, len(_READ_SIZES)):
        cuts = _cuts(found, _READ_SIZES[attempt])
        if cuts == tried:
            continue
        tried = cuts
        words = yield from _read_slices(found, cuts)
        if words is not None:
            return words, attempt
    return None, size


def _read_slices(found: FoundModel, cuts: Sequence[int]) -> Steps[Words | None]:
    words: list[int] = []
    for start, stop in pairwise(cuts):
        part = yield from _read((found.address + start, stop - start))
        if part is None:
            return None
        words += part
    return tuple(words)


def _cuts(found: FoundModel, size: int) -> list[int]:
    """Choose where to cut a model's words: between points, so that no 32-bit value is torn by a change in between."""
    borders = [placed.end for placed in place_points(get_model(found.id), found.length)]
    cuts = [0]
    while cuts[-1] < borders[-1]:
        reachable = cuts[-1] + size
        cuts.append(max((border for border in borders if cuts[-1] < border <= reachable), default=reachable))
    return cuts
