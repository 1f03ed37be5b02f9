"""Words on the wire to values and back. Pure; the agent decodes, simulated meters encode.

Values leave here as the double nearest to the exact decimal `raw * scale`: 2312 x 0.1 is 231.2, and a
float32 is taken for the shortest decimal that names it. So readings are short decimals, as the meter
shows them, and the codec keeps them small without losing anything.
"""

import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from ipaddress import IPv4Address
from typing import Literal

from protocol.profile import ModbusSettings, Order, Point, RegisterType

Value = float | str | None
"""None where the meter says that it has no value."""

Decoder = Callable[[Sequence[int]], Value]
"""Takes a point's words (0..65535; 0 or 1 from the bit tables) in the order in which they were sent."""

# Wide enough for the 20 digits of a uint64 times any scale of a real profile without rounding.
_EXACT = Context(prec=60)
_FLOAT32 = struct.Struct(">f")
_FLOAT64 = struct.Struct(">d")
_SIGNED = frozenset({RegisterType.INT16, RegisterType.INT32, RegisterType.INT64})
_ISKRA_MANTISSA_BITS = 24
_ISKRA_RATIO_SCALE = Decimal("0.0001")
_FLOAT32_MAX = 3.4028234663852886e38
_EXPONENT_MAX = 10


def decoder_for(point: Point, modbus: ModbusSettings) -> Decoder:
    """Build the function that decodes this point; do it once, then call it for each answer."""
    return _decoder(point, modbus.byte_order, modbus.word_order)


def decode(point: Point, words: Sequence[int], byte_order: Order = Order.BIG, word_order: Order = Order.BIG) -> Value:
    """Decode a point's words once; `decoder_for` is the way to decode many.

    The value is in the point's unit, before any exponent point (see `apply_exponents`). An integer
    above 2**53 becomes the nearest double.
    Raises: ValueError if the number of words is not the point's.
    """
    if len(words) != point.words:
        message = f"point {point.name!r} takes {point.words} words, not {len(words)}"
        raise ValueError(message)
    return _decoder(point, byte_order, word_order)(words)


def apply_exponents(points: Iterable[Point], values: Mapping[str, Value]) -> dict[str, Value]:
    """Multiply by ten to the power of their exponent point those values that have one.

    `values` holds decoded values by point name. A value whose exponent is missing, or beyond -10 or 10 as
    only a faulty one is, is not known: None.
    """
    applied = dict(values)
    for point in points:
        if point.exponent_point is None or point.name not in values:
            continue
        value, exponent = values[point.name], values.get(point.exponent_point)
        if isinstance(value, float) and isinstance(exponent, float):
            applied[point.name] = _times_power_of_ten(value, exponent)
        else:
            applied[point.name] = None
    return applied


def encode(point: Point, value: Value, byte_order: Order = Order.BIG, word_order: Order = Order.BIG) -> tuple[int, ...]:
    """Encode a value as the words that decode to it, or to the nearest that the point can express.

    None becomes the point's first not-available pattern, or NaN.
    Raises: ValueError when the point cannot express the value.
    """
    if point.type is RegisterType.STRING:
        return _encode_text(point, value, byte_order)
    raw = _missing(point) if value is None else _encode_number(point, value)
    words = [raw >> shift & 0xFFFF for shift in range(16 * (point.words - 1), -1, -16)]
    if point.table.holds_bits:
        return tuple(words)
    if word_order is Order.LITTLE:
        words.reverse()
    return tuple(words) if byte_order is Order.BIG else tuple(_swap(word) for word in words)


def shortest_float32(value: float) -> str:
    """Write a float32 (held in a double) as the shortest decimal that gives the same float32."""
    # Six digits always survive a float32; nine always suffice.
    for digits in (6, 7, 8):
        text = f"{value:.{digits}g}"
        near = float(text)
        if near == value or (abs(near) <= _FLOAT32_MAX and _FLOAT32.unpack(_FLOAT32.pack(near))[0] == value):
            return text
    return f"{value:.9g}"


def _decoder(point: Point, byte_order: Order, word_order: Order) -> Decoder:
    if point.type is RegisterType.STRING:
        return _text_decoder(byte_order)
    gather = _gatherer(point.words, byte_order, word_order)
    convert = _converter(point)
    missing = frozenset(point.not_available)
    if missing:
        return lambda words: None if (raw := gather(words)) in missing else convert(raw)
    return lambda words: convert(gather(words))


def _gatherer(count: int, byte_order: Order, word_order: Order) -> Callable[[Sequence[int]], int]:
    """Build the function that joins words to one unsigned number."""
    if byte_order is Order.LITTLE:
        straight = _gatherer(count, Order.BIG, word_order)
        return lambda words: straight([_swap(word) for word in words])
    if count == 1:
        return lambda words: words[0]
    if count == 2 and word_order is Order.BIG:
        return lambda words: words[0] << 16 | words[1]
    if count == 2:
        return lambda words: words[1] << 16 | words[0]

    def join(words: Sequence[int]) -> int:
        raw = 0
        for word in words if word_order is Order.BIG else reversed(words):
            raw = raw << 16 | word
        return raw

    return join


def _swap(word: int) -> int:
    return (word & 0xFF) << 8 | word >> 8


def _converter(point: Point) -> Callable[[int], Value]:
    """Build the function that turns a point's unsigned raw number into its value."""
    finish = _finisher(point.scale, point.resolution)
    convert: Callable[[int], Value]
    match point.type:
        case RegisterType.IPV4:
            convert = _ipv4
        case RegisterType.BOOL:
            convert = _flag
        case RegisterType.FLOAT32:
            convert = _float32_converter(point)
        case RegisterType.FLOAT64:
            convert = _float64_converter(point)
        case RegisterType.ISKRA_T5 | RegisterType.ISKRA_T6:
            signed = point.type is RegisterType.ISKRA_T6
            convert = lambda raw: finish(_iskra_number(raw, signed=signed))  # noqa: E731 - as short as its siblings
        case RegisterType.ISKRA_T7:
            convert = lambda raw: finish(_iskra_power_factor(raw))  # noqa: E731 - as short as its siblings
        case _:
            convert = _integer_converter(point)
    return convert


def _ipv4(raw: int) -> str:
    return str(IPv4Address(raw))


def _flag(raw: int) -> float:
    return 1.0 if raw else 0.0


def _integer_converter(point: Point) -> Callable[[int], float]:
    finish = _integer_finisher(point)
    bits = 16 * point.words
    if point.type in _SIGNED:
        return lambda raw: finish(_signed(raw, bits))
    return finish


def _integer_finisher(point: Point) -> Callable[[int], float]:
    if point.resolution is not None:
        finish = _finisher(point.scale, point.resolution)
        return lambda raw: finish(Decimal(raw))
    numerator, denominator = point.scale.as_integer_ratio()
    if denominator == 1:
        return lambda raw: float(raw * numerator)
    # Division of two integers is rounded once, to the double nearest to the exact quotient.
    return lambda raw: raw * numerator / denominator


def _finisher(scale: Decimal, resolution: Decimal | None) -> Callable[[Decimal], float]:
    """Build the function that scales an exact number, rounds it when asked to, and makes it a double."""
    if resolution is None:
        return lambda exact: float(_EXACT.multiply(exact, scale)) + 0.0
    return lambda exact: _rounded(_EXACT.multiply(exact, scale), resolution)


def _rounded(exact: Decimal, resolution: Decimal) -> float:
    steps = _EXACT.divide(exact, resolution).to_integral_value(ROUND_HALF_EVEN)
    return float(_EXACT.multiply(steps, resolution)) + 0.0


def _float32_converter(point: Point) -> Callable[[int], float | None]:
    finish = _finisher(point.scale, point.resolution)
    as_sent = point.scale == 1 and point.resolution is None

    def convert(raw: int) -> float | None:
        value: float = _FLOAT32.unpack(raw.to_bytes(4, "big"))[0]
        if not math.isfinite(value):
            return None
        text = shortest_float32(value)
        # Adding zero makes a negative zero a plain one, which the codec keeps small.
        return float(text) + 0.0 if as_sent else finish(Decimal(text))

    return convert


def _float64_converter(point: Point) -> Callable[[int], float | None]:
    finish = _finisher(point.scale, point.resolution)
    as_sent = point.scale == 1 and point.resolution is None

    def convert(raw: int) -> float | None:
        value: float = _FLOAT64.unpack(raw.to_bytes(8, "big"))[0]
        if not math.isfinite(value):
            return None
        if as_sent:
            return value + 0.0
        scaled = finish(Decimal(repr(value)))
        return scaled if math.isfinite(scaled) else None

    return convert


def _signed(raw: int, bits: int) -> int:
    return raw - (1 << bits) if raw >> (bits - 1) else raw


def _iskra_number(raw: int, *, signed: bool) -> Decimal:
    mantissa = raw & (1 << _ISKRA_MANTISSA_BITS) - 1
    if signed:
        mantissa = _signed(mantissa, _ISKRA_MANTISSA_BITS)
    return Decimal(mantissa).scaleb(_signed(raw >> _ISKRA_MANTISSA_BITS, 8), _EXACT)


def _iskra_power_factor(raw: int) -> Decimal:
    """Negative when exporting; inductive or capacitive is what the sign of the reactive power says as well."""
    ratio = (raw & 0xFFFF) * _ISKRA_RATIO_SCALE
    return -ratio if raw >> 24 else ratio


def _text_decoder(byte_order: Order) -> Decoder:
    def convert(words: Sequence[int]) -> str:
        sent = b"".join(word.to_bytes(2, _name(byte_order)) for word in words)
        return sent.split(b"\0", 1)[0].decode("ascii", errors="replace").strip()

    return convert


def _name(order: Order) -> Literal["big", "little"]:
    return "big" if order is Order.BIG else "little"


def _times_power_of_ten(value: float, exponent: float) -> float | None:
    if abs(exponent) > _EXPONENT_MAX:
        return None
    scaled = float(Decimal(repr(value)).scaleb(int(exponent), _EXACT))
    return scaled if math.isfinite(scaled) else None


def _missing(point: Point) -> int:
    if point.not_available:
        return point.not_available[0]
    if point.type is RegisterType.FLOAT32:
        return int.from_bytes(_FLOAT32.pack(math.nan))
    if point.type is RegisterType.FLOAT64:
        return int.from_bytes(_FLOAT64.pack(math.nan))
    message = f"point {point.name!r} of type {point.type} has no pattern for a missing value"
    raise ValueError(message)


def _encode_text(point: Point, value: Value, byte_order: Order) -> tuple[int, ...]:
    sent = str(value or "").encode("ascii", errors="replace")
    room = 2 * point.words
    if len(sent) > room:
        message = f"point {point.name!r} holds {room} characters, not {len(sent)}"
        raise ValueError(message)
    sent = sent.ljust(room, b"\0")
    return tuple(int.from_bytes(sent[at : at + 2], _name(byte_order)) for at in range(0, room, 2))


def _encode_number(point: Point, value: float | str) -> int:
    if point.type is RegisterType.IPV4:
        return int(IPv4Address(value))
    unscaled = _EXACT.divide(Decimal(repr(float(value))), point.scale)
    match point.type:
        case RegisterType.BOOL:
            raw = int(value != 0)
        case RegisterType.FLOAT32:
            raw = _pack(point, _FLOAT32, float(unscaled))
        case RegisterType.FLOAT64:
            raw = _pack(point, _FLOAT64, float(unscaled))
        case RegisterType.ISKRA_T5 | RegisterType.ISKRA_T6:
            raw = _encode_iskra_number(point, unscaled)
        case RegisterType.ISKRA_T7:
            raw = _encode_iskra_power_factor(point, unscaled)
        case _:
            raw = _encode_integer(point, unscaled)
    return raw


def _encode_integer(point: Point, unscaled: Decimal) -> int:
    bits = 16 * point.words
    if point.type in _SIGNED:
        return _whole(point, unscaled, -(1 << bits - 1), (1 << bits - 1) - 1) & (1 << bits) - 1
    return _whole(point, unscaled, 0, (1 << bits) - 1)


def _encode_iskra_power_factor(point: Point, unscaled: Decimal) -> int:
    ratio = _whole(point, _EXACT.divide(abs(unscaled), _ISKRA_RATIO_SCALE), 0, 0xFFFF)
    return (0xFF << 24 if unscaled < 0 else 0) | ratio


def _pack(point: Point, form: struct.Struct, value: float) -> int:
    try:
        return int.from_bytes(form.pack(value))
    except OverflowError as error:
        message = f"point {point.name!r} of type {point.type} cannot express {value}"
        raise ValueError(message) from error


def _whole(point: Point, number: Decimal, lowest: int, highest: int) -> int:
    raw = int(number.to_integral_value(ROUND_HALF_EVEN))
    if not lowest <= raw <= highest:
        message = f"point {point.name!r} of type {point.type} cannot express raw {raw}: it takes {lowest}..{highest}"
        raise ValueError(message)
    return raw


def _encode_iskra_number(point: Point, unscaled: Decimal) -> int:
    """Use the smallest exponent whose mantissa has room, so that most digits are kept."""
    signed = point.type is RegisterType.ISKRA_T6
    highest = (1 << _ISKRA_MANTISSA_BITS - int(signed)) - 1
    lowest = -highest - 1 if signed else 0
    if unscaled < 0 and not signed:
        message = f"point {point.name!r} of type {point.type} cannot express the negative {unscaled}"
        raise ValueError(message)
    _, digits, exponent = unscaled.normalize().as_tuple()
    start = int(exponent) if len(digits) <= 8 else unscaled.adjusted() - 7
    for power in range(max(start, -128), 128):
        mantissa = int(unscaled.scaleb(-power, _EXACT).to_integral_value(ROUND_HALF_EVEN))
        if lowest <= mantissa <= highest:
            return (power & 0xFF) << _ISKRA_MANTISSA_BITS | mantissa & (1 << _ISKRA_MANTISSA_BITS) - 1
    message = f"point {point.name!r} of type {point.type} cannot express {unscaled}"
    raise ValueError(message)
