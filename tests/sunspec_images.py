"""Register images of SunSpec devices, built by hand from the standard's offsets, and a device that answers from one."""

import struct
from collections.abc import Mapping, Sequence
from typing import TypeVar

from protocol.profile import Profile
from protocol.registers import Value, apply_exponents, decoder_for
from protocol.sunspec.definitions import get_model, model_ids, place_points
from protocol.sunspec.device_profile import profile_from
from protocol.sunspec.walk import Steps, SunSpecDevice, Words, discover_steps, read_steps

_Result = TypeVar("_Result")

NOT_IMPLEMENTED = 0x8000
"""Of a signed number or a scale factor."""

SUNS = (0x5375, 0x6E53)
END = (0xFFFF, 0)

_BLANK = {
    **dict.fromkeys(("int16", "sunssf", "pad"), (0x8000,)),
    **dict.fromkeys(("uint16", "enum16", "bitfield16", "count"), (0xFFFF,)),
    **dict.fromkeys(("uint32", "enum32", "bitfield32"), (0xFFFF, 0xFFFF)),
    **dict.fromkeys(("uint64",), (0xFFFF,) * 4),
    "int32": (0x8000, 0),
    "float32": (0x7FC0, 0),
}
"""What a device sends for a point that it does not have; accumulators and texts send zeros."""


def float32(value: float) -> Words:
    """Write a number as the two words of a single."""
    return struct.unpack(">HH", struct.pack(">f", value))


def uint32(value: int) -> Words:
    """Write a number as two words."""
    return value >> 16, value & 0xFFFF


def text(value: str, words: int) -> Words:
    """Write a text, filled up with NUL."""
    return struct.unpack(f">{words}H", value.encode().ljust(2 * words, b"\0"))


def model(model_id: int, length: int, values: Mapping[int, int | Sequence[int]]) -> Words:
    """Write a model: `values` by their offset from the model's first word; all else is not implemented."""
    words = [0] * (2 + length)
    if model_id in model_ids():
        for placed in place_points(get_model(model_id), length):
            size = placed.definition.size
            words[placed.offset : placed.end] = _BLANK.get(placed.definition.type, (0,) * size)
    words[:2] = model_id, length
    for offset, value in values.items():
        given = (value,) if isinstance(value, int) else tuple(value)
        words[offset : offset + len(given)] = [word & 0xFFFF for word in given]
    return tuple(words)


def common(
    manufacturer: str = "Acme", name: str = "One", version: str = "1.2", serial: str = "S1", *, length: int = 66
) -> Words:
    """Write model 1."""
    return model(
        1, length, {2: text(manufacturer, 16), 18: text(name, 16), 42: text(version, 8), 50: text(serial, 16), 66: 1}
    )


def inverter_103(changes: Mapping[int, int | Sequence[int]] | None = None) -> Words:
    """Write model 103 of an inverter at work; `changes` by offset."""
    values: dict[int, int | Sequence[int]] = {
        2: (1206, 402, 402, 402, -2),
        7: (3994, 3988, 3978, 2306, 2296, 2304, -1),
        14: (2770, 0, 5001, -2, 2800, 0, -410, 0, 9893, -2),
        24: uint32(26_320_000),
        26: (0, 712, -2, 4012, -1, 2857, 0),
        33: 415,
        37: (-1, 4, 4, 0, 0),
    }
    return model(103, 50, {**values, **(changes or {})})


def meter_203(changes: Mapping[int, int | Sequence[int]] | None = None) -> Sequence[int]:
    """Write model 203 of a meter: 2,310 W into the site, 1,234,567 Wh counted in and 1,000 Wh out."""
    values: dict[int, int | Sequence[int]] = {
        2: (100, 40, 30, 30, -1),
        7: (2301, 2300, 2302, 2301, 3990, 3988, 3991, 3991, -1),
        16: (5002, -2),
        18: (231, 90, 71, 70, 1),
        23: (233, 91, 72, 70, 1),
        33: (9914, 9890, 9861, 10_000, -2),
        38: uint32(1000),
        46: uint32(1_234_567),
        54: 0,
        105: uint32(0),
    }
    return model(203, 105, {**values, **(changes or {})})


def strings_160(*inputs: tuple[str, int], declared: int | None = None) -> Sequence[int]:
    """Write model 160: for each input its text and its power in tenths of a watt, as a Fronius GEN24 scales it."""
    values: dict[int, int | Sequence[int]] = {2: (-4, -2, -1, -2), 8: len(inputs) if declared is None else declared}
    for index, (name, power) in enumerate(inputs):
        at = 10 + 20 * index
        values |= {at: index + 1, at + 1: text(name, 8), at + 9: (10_000, 42_723, power), at + 12: uint32(892_737_225)}
    return model(160, 8 + 20 * len(inputs), values)


def image(*models: Sequence[int], base: int = 40_000, end: Sequence[int] = END) -> dict[int, int]:
    """Lay the map out in holding registers: marker, models, end."""
    words = [*SUNS, *(word for words in models for word in words), *end]
    return {base + index: word for index, word in enumerate(words)}


class ImageDevice:
    """A device that answers from an image and keeps what it was asked."""

    def __init__(self, registers: Mapping[int, int], *, longest_read: int = 125) -> None:
        self._registers = registers
        self._longest_read = longest_read
        self.asked: list[tuple[int, int]] = []

    def read(self, address: int, count: int) -> list[int] | None:
        """Answer a read, or refuse one that is too long or leaves the image."""
        self.asked.append((address, count))
        wanted = range(address, address + count)
        if count > self._longest_read or any(register not in self._registers for register in wanted):
            return None
        return [self._registers[register] for register in wanted]

    def drive(self, steps: Steps[_Result]) -> _Result:
        """Answer step after step until there is a result."""
        words: list[int] | None = None  # sending None begins a generator
        while True:
            try:
                step = steps.send(words)
            except StopIteration as stop:
                result: _Result = stop.value
                return result
            words = self.read(*step)


def read_profile(registers: Mapping[int, int], *, with_words: bool = True) -> Profile:
    """Discover the one device of an image and make its profile."""
    device = ImageDevice(registers)
    (found,) = device.drive(discover_steps(1))
    return profile_from(found, device.drive(read_steps(found)).by_model if with_words else None)


def values_of(profile: Profile, registers: Mapping[int, int]) -> dict[str, Value]:
    """Decode all points of a profile from an image, scale factors applied."""
    assert profile.modbus is not None
    decoded = {}
    for point in profile.points:
        words = [registers[point.address + index] for index in range(point.words)]
        decoded[point.name] = decoder_for(point, profile.modbus)(words)
    return apply_exponents(profile.points, decoded)


def values_from(*models: Sequence[int], manufacturer: str = "Acme", with_words: bool = True) -> dict[str, Value]:
    """Read what a device of these models says, by our names."""
    registers = image(common(manufacturer), *models)
    return values_of(read_profile(registers, with_words=with_words), registers)


def discover(registers: Mapping[int, int]) -> tuple[SunSpecDevice, ...]:
    """Discover what an image holds, at unit id 1."""
    return ImageDevice(registers).drive(discover_steps(1))
