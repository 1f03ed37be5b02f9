"""What registers would say in another order or as another type, where what they say now looks wrong. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import NamedTuple

from edge_agent.commissioning.usual import is_credible, is_usual
from edge_agent.domain.plausibility import assess
from protocol.profile import WORDS, ModbusSettings, Order, Point, RegisterType
from protocol.quality import Quality
from protocol.registers import decode

_NUMBERS = (
    RegisterType.UINT16,
    RegisterType.INT16,
    RegisterType.UINT32,
    RegisterType.INT32,
    RegisterType.FLOAT32,
    RegisterType.UINT64,
    RegisterType.INT64,
    RegisterType.FLOAT64,
)
_SHOWN_MAX = 4


class Reading(NamedTuple):
    """One way to read the same registers."""

    type: RegisterType
    byte_order: Order
    word_order: Order
    value: float
    is_plausible: bool
    """The value is what is usual for the quantity."""


class Doubt(NamedTuple):
    """A point whose value looks wrong, and how else it could be read."""

    point: Point
    value: float | None
    readings: tuple[Reading, ...]
    """The plausible ones first; of those that are not, the credible ones."""


class Advice(NamedTuple):
    """A change of the profile that makes doubtful values plausible."""

    byte_order: Order
    word_order: Order
    points: int
    """How many of them."""


def find_doubt(point: Point, value: float | None, words: Sequence[int], settings: ModbusSettings) -> Doubt | None:
    """Say how else a point could be read when its value looks wrong; None when it does not."""
    if point.type not in _NUMBERS or len(words) != point.words or not _looks_wrong(point, value, words):
        return None
    readings = sorted(_readings(point, words, settings), key=lambda reading: _rank(point, reading, settings))
    return Doubt(point, value, tuple(readings[:_SHOWN_MAX]))


def find_advice(doubts: Iterable[Doubt], settings: ModbusSettings) -> Advice | None:
    """Find the order that makes most of the doubtful values plausible, in the types that the profile has."""
    fitting = Counter(
        (reading.byte_order, reading.word_order)
        for doubt in doubts
        for reading in doubt.readings
        if reading.is_plausible and reading.type is doubt.point.type
    )
    fitting.pop((settings.byte_order, settings.word_order), None)
    if not fitting:
        return None
    (byte_order, word_order), points = fitting.most_common(1)[0]
    return Advice(byte_order, word_order, points)


def advice_text(advice: Advice, settings: ModbusSettings) -> str:
    """Say what to set."""
    changes = []
    if advice.word_order is not settings.word_order:
        changes.append(f'modbus.word_order = "{advice.word_order.value}"')
    if advice.byte_order is not settings.byte_order:
        changes.append(f'modbus.byte_order = "{advice.byte_order.value}"')
    values = "1 value" if advice.points == 1 else f"{advice.points} values"
    return (
        f"{values} would be plausible with {' and '.join(changes)}: set it in a profile of your own (docs/profiles.md)"
    )


def reading_text(point: Point, reading: Reading, settings: ModbusSettings) -> str:
    """Write one way of reading: `231.2 V as float32 with little-endian words (plausible)`."""
    orders = []
    if reading.word_order is not settings.word_order:
        orders.append(f"{reading.word_order.value}-endian words")
    if reading.byte_order is not settings.byte_order:
        orders.append(f"{reading.byte_order.value}-endian bytes")
    how = f" with {' and '.join(orders)}" if orders else ""
    mark = " (plausible)" if reading.is_plausible else ""
    return f"{reading.value:.6g} {point.unit}".rstrip() + f" as {reading.type.value}{how}{mark}"


def reading_report(reading: Reading) -> Mapping[str, object]:
    """Report one way of reading."""
    return {
        "type": reading.type.value,
        "byte_order": reading.byte_order.value,
        "word_order": reading.word_order.value,
        "value": reading.value,
        "is_plausible": reading.is_plausible,
    }


def _looks_wrong(point: Point, value: float | None, words: Sequence[int]) -> bool:
    if value is None:
        # A marker for "no value" is no wrong reading; what is left is a float that is none.
        return point.type in (RegisterType.FLOAT32, RegisterType.FLOAT64) and len(set(words)) > 1 and words[0] != 0x7FC0
    if value == 0:
        return False
    return not is_credible(point, value) or assess(point, value) is not Quality.GOOD or is_usual(point, value) is False


def _readings(point: Point, words: Sequence[int], settings: ModbusSettings) -> Iterable[Reading]:
    seen: set[float] = set()
    types = [point.type, *(kind for kind in _NUMBERS if WORDS[kind] == point.words and kind is not point.type)]
    for kind, word_order, byte_order in product(types, Order, Order):
        if (kind, byte_order, word_order) == (point.type, settings.byte_order, settings.word_order):
            continue
        if point.words == 1 and word_order is not settings.word_order:
            continue  # one word has no order
        value = decode(point.model_copy(update={"type": kind}), words, byte_order, word_order)
        if not isinstance(value, float) or value in seen or not value or not is_credible(point, value):
            continue
        seen.add(value)
        if assess(point, value) is Quality.GOOD:
            yield Reading(kind, byte_order, word_order, value, is_usual(point, value) is True)


def _rank(point: Point, reading: Reading, settings: ModbusSettings) -> tuple[bool, bool, int]:
    changes = (reading.byte_order is not settings.byte_order) + (reading.word_order is not settings.word_order)
    return (not reading.is_plausible, reading.type is not point.type, changes)
