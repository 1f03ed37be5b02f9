import math
import struct
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from factories import make_point
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocol.profile import WORDS, ModbusSettings, Order, Point, RegisterType
from protocol.registers import apply_exponents, decode, decoder_for, encode, shortest_float32

ORDERS = pytest.mark.parametrize(
    ("byte_order", "word_order"), [pytest.param(*orders, id="-".join(orders)) for orders in product(Order, Order)]
)
QUANTITIES = {
    RegisterType.BOOL: "flag",
    RegisterType.ENUM16: "state",
    RegisterType.BITFIELD16: "bits",
    RegisterType.BITFIELD32: "bits",
    RegisterType.IPV4: "text",
    RegisterType.STRING: "text",
}
INTEGERS = {
    RegisterType.UINT16: (0, 2**16 - 1),
    RegisterType.INT16: (-(2**15), 2**15 - 1),
    RegisterType.UINT32: (0, 2**32 - 1),
    RegisterType.INT32: (-(2**31), 2**31 - 1),
    RegisterType.BITFIELD16: (0, 2**16 - 1),
    RegisterType.BITFIELD32: (0, 2**32 - 1),
    RegisterType.ENUM16: (0, 2**16 - 1),
    # Above 2**53 neighbours share a double, so the raw number does not come back.
    RegisterType.UINT64: (0, 2**53),
    RegisterType.INT64: (-(2**53), 2**53),
}
SCALES = ["1", "0.1", "0.01", "0.001", "10", "1000", "0.015625", "6553.6", "-1"]


def make(kind: RegisterType, **changes: Any) -> Point:
    return make_point(**{"type": kind, "quantity": QUANTITIES.get(kind, "voltage"), **changes})


def words_of(raw: int, count: int) -> tuple[int, ...]:
    return tuple(raw >> 16 * at & 0xFFFF for at in reversed(range(count)))


@pytest.mark.parametrize(
    ("kind", "words", "expected"),
    [
        ("uint16", (2312,), 2312.0),
        ("int16", (0xFFFE,), -2.0),
        ("uint32", (0x0001, 0x0000), 65536.0),
        ("int32", (0xFFFF, 0xFFFF), -1.0),
        ("uint64", (0, 0, 1, 2), 65538.0),
        ("uint64", (0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF), 2.0**64),
        ("int64", (0x8000, 0, 0, 0), -(2.0**63)),
        ("float32", (0x4367, 0x3333), 231.2),
        ("float32", (0x8000, 0x0000), 0.0),
        ("float32", (0x7FC0, 0x0000), None),
        ("float32", (0xFF80, 0x0000), None),
        ("float64", (0x406C, 0xE666, 0x6666, 0x6666), 231.2),
        ("float64", (0x7FF0, 0, 0, 0), None),
        ("bitfield16", (0x8001,), 32769.0),
        ("enum16", (0x00AA,), 170.0),
        ("bool", (2,), 1.0),
        ("ipv4", (0xC0A8, 0x0101), "192.168.1.1"),
        # Iskra: mantissa 23012 with exponent -2, mantissa -15 with exponent 1, 0.9876 exporting and capacitive.
        ("iskra_t5", (0xFE00, 0x59E4), 230.12),
        ("iskra_t6", (0x01FF, 0xFFF1), -150.0),
        ("iskra_t7", (0x00FF, 0x2694), 0.9876),
        ("iskra_t7", (0xFFFF, 0x2694), -0.9876),
    ],
)
def test_known_words_decode_to_known_values(kind: str, words: tuple[int, ...], expected: float | str | None) -> None:
    assert decode(make(RegisterType(kind)), words) == expected


@pytest.mark.parametrize(
    ("raw", "scale", "expected"),
    [(2312, "0.1", 231.2), (3, "0.1", 0.3), (4999, "0.01", 49.99), (65535, "0.001", 65.535), (3, "0.015625", 0.046875)],
)
def test_scaled_integer_is_the_double_nearest_to_the_exact_decimal(raw: int, scale: str, expected: float) -> None:
    assert decode(make(RegisterType.UINT16, scale=scale), (raw,)) == expected


def test_float32_is_scaled_as_the_decimal_that_the_meter_meant() -> None:
    words = words_of(int.from_bytes(struct.pack(">f", 1234.567)), 2)
    assert decode(make(RegisterType.FLOAT32, scale=1000), words) == 1234567.0
    assert decode(make(RegisterType.FLOAT32, scale="0.1"), words) == 123.4567


@pytest.mark.parametrize(
    ("kind", "words"), [("uint16", (23124,)), ("float32", (0x4513, 0x6E3D)), ("int64", (0, 0, 0, 23124))]
)
def test_resolution_rounds_to_the_stated_step(kind: str, words: tuple[int, ...]) -> None:
    point = make(RegisterType(kind), scale="0.1" if kind == "float32" else "0.01", resolution="0.05")
    value = decode(point, words)
    assert isinstance(value, float)
    assert Decimal(repr(value)) % Decimal("0.05") == 0


def test_not_available_pattern_is_no_value() -> None:
    point = make(RegisterType.INT32, not_available=[0x7FFF_FFFF, 0x8000_0000])
    assert decode(point, (0x7FFF, 0xFFFF)) is None
    assert decode(point, (0x8000, 0x0000)) is None
    assert decode(point, (0xFFFF, 0x7FFF), word_order=Order.LITTLE) is None
    assert decode(point, (0x7FFF, 0xFFFE)) == 2147483646.0


@pytest.mark.parametrize(
    ("byte_order", "words"), [(Order.BIG, (0x5344, 0x4D31, 0x3200)), (Order.LITTLE, (0x4453, 0x314D, 0x0032))]
)
def test_text_ends_at_its_padding(byte_order: Order, words: tuple[int, ...]) -> None:
    point = make(RegisterType.STRING, words=3)
    assert decode(point, words, byte_order, Order.LITTLE) == "SDM12"
    assert decode(make(RegisterType.STRING, words=2), (0x4142, 0x2020)) == "AB"


def test_odd_bytes_of_a_text_do_not_fail() -> None:
    assert decode(make(RegisterType.STRING, words=1), (0xFF41,)) == "\N{REPLACEMENT CHARACTER}A"


def test_bit_of_a_bit_table_has_no_byte_order() -> None:
    point = make(RegisterType.BOOL, table="coil")
    assert encode(point, 1.0, Order.LITTLE, Order.LITTLE) == (1,)
    assert decode(point, (True,), Order.LITTLE) == 1.0
    assert decode(point, (False,), Order.LITTLE) == 0.0


@ORDERS
@pytest.mark.parametrize("kind", INTEGERS)
@settings(max_examples=40)  # times each type and order
@given(data=st.data())
def test_decode_undoes_encode_for_whole_numbers(
    kind: RegisterType, byte_order: Order, word_order: Order, data: st.DataObject
) -> None:
    raw = data.draw(st.integers(*INTEGERS[kind]))
    scale = data.draw(st.sampled_from(SCALES if abs(raw) < 2**32 else ["1"]))
    point = make(kind, scale=scale)
    value = raw * point.scale
    words = encode(point, float(value), byte_order, word_order)
    assert decode(point, words, byte_order, word_order) == float(value)
    assert len(words) == point.words
    straight = [int.from_bytes(word.to_bytes(2), byte_order.value) for word in words]
    ordered = straight if word_order is Order.BIG else straight[::-1]
    assert tuple(ordered) == words_of(raw % (1 << 16 * point.words), point.words)


@ORDERS
@given(value=st.floats(width=32, allow_nan=False, allow_infinity=False))
@example(value=3.4028234663852886e38)
@example(value=1.1754943508222875e-38)
@example(value=1.401298464324817e-45)
def test_float32_keeps_its_bits(byte_order: Order, word_order: Order, value: float) -> None:
    point = make(RegisterType.FLOAT32)
    words = encode(point, value, byte_order, word_order)
    decoded = decode(point, words, byte_order, word_order)
    assert isinstance(decoded, float)
    assert struct.pack(">f", decoded + 0.0) == struct.pack(">f", value + 0.0)
    assert encode(point, decoded, byte_order, word_order) == encode(point, value + 0.0, byte_order, word_order)


@given(digits=st.integers(-999_999, 999_999), exponent=st.integers(-6, 6))
def test_float32_of_a_short_decimal_is_that_decimal(digits: int, exponent: int) -> None:
    meant = float(Decimal(digits).scaleb(exponent))
    (held,) = struct.unpack(">f", struct.pack(">f", meant))
    assert float(shortest_float32(held)) == meant


@given(value=st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False))
def test_no_shorter_decimal_names_the_same_float32(value: float) -> None:
    digits = len(Decimal(shortest_float32(value)).normalize().as_tuple().digits)
    shorter = float(f"{value:.{max(digits - 1, 1)}g}")
    assert digits == 1 or abs(shorter) > 3.4e38 or struct.pack(">f", shorter) != struct.pack(">f", value)


@ORDERS
@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_float64_comes_back_as_it_was(byte_order: Order, word_order: Order, value: float) -> None:
    point = make(RegisterType.FLOAT64)
    assert decode(point, encode(point, value, byte_order, word_order), byte_order, word_order) == value


@ORDERS
@given(mantissa=st.integers(-(2**23), 2**23 - 1), exponent=st.integers(-9, 9))
def test_iskra_numbers_come_back(byte_order: Order, word_order: Order, mantissa: int, exponent: int) -> None:
    value = float(Decimal(mantissa).scaleb(exponent))
    signed, unsigned = make(RegisterType.ISKRA_T6), make(RegisterType.ISKRA_T5)
    assert decode(signed, encode(signed, value, byte_order, word_order), byte_order, word_order) == value
    assert decode(unsigned, encode(unsigned, abs(value), byte_order, word_order), byte_order, word_order) == abs(value)


@ORDERS
@given(ratio=st.integers(-10_000, 10_000))
def test_iskra_power_factor_comes_back(byte_order: Order, word_order: Order, ratio: int) -> None:
    point = make(RegisterType.ISKRA_T7)
    value = ratio / 10_000
    assert decode(point, encode(point, value, byte_order, word_order), byte_order, word_order) == value


@ORDERS
@given(flag=st.sampled_from([0.0, 1.0]), address=st.ip_addresses(v=4), text=st.text("ABCabc 019-", max_size=12))
def test_flags_addresses_and_texts_come_back(
    byte_order: Order, word_order: Order, flag: float, address: object, text: str
) -> None:
    for point, value in (
        (make(RegisterType.BOOL), flag),
        (make(RegisterType.IPV4), str(address)),
        (make(RegisterType.STRING, words=6), text.strip()),
    ):
        assert decode(point, encode(point, value, byte_order, word_order), byte_order, word_order) == value


@ORDERS
@pytest.mark.parametrize("kind", [kind for kind in RegisterType if kind in WORDS])
@settings(max_examples=40)  # times each type and order
@given(data=st.data())
def test_any_words_decode_to_a_finite_number_a_text_or_nothing(
    kind: RegisterType, byte_order: Order, word_order: Order, data: st.DataObject
) -> None:
    point = make(kind, scale=data.draw(st.sampled_from(SCALES)))
    words = data.draw(st.lists(st.integers(0, 0xFFFF), min_size=point.words, max_size=point.words))
    value = decoder_for(point, ModbusSettings(transports=("tcp",), byte_order=byte_order, word_order=word_order))(words)
    assert value is None or isinstance(value, str) or math.isfinite(value)
    assert value == decode(point, words, byte_order, word_order)


@pytest.mark.parametrize("byte_order", Order)
@pytest.mark.parametrize("kind", [RegisterType.FLOAT32, RegisterType.FLOAT64, RegisterType.INT16])
def test_missing_value_comes_back_as_missing(kind: RegisterType, byte_order: Order) -> None:
    point = make(kind, not_available=[0x8000] if kind is RegisterType.INT16 else [])
    assert decode(point, encode(point, None, byte_order), byte_order) is None


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (RegisterType.UINT16, -1.0),
        (RegisterType.UINT16, 65536.0),
        (RegisterType.INT32, 2.0**31),
        (RegisterType.FLOAT32, 1e39),
        (RegisterType.ISKRA_T5, -1.0),
        (RegisterType.ISKRA_T5, 1e150),
        (RegisterType.ISKRA_T7, 7.0),
        (RegisterType.IPV4, "no address"),
        (RegisterType.STRING, "too long for one"),
        (RegisterType.UINT16, None),
    ],
)
def test_value_that_a_point_cannot_express_is_refused(kind: RegisterType, value: float | str | None) -> None:
    point = make(kind, **({"words": 1} if kind is RegisterType.STRING else {}))
    with pytest.raises(ValueError, match=r"voltage_l1_n|no address"):
        encode(point, value)


def test_wrong_number_of_words_is_refused() -> None:
    with pytest.raises(ValueError, match="'voltage_l1_n' takes 2 words, not 1"):
        decode(make(RegisterType.UINT32), (1,))


def test_exponent_point_multiplies_exactly() -> None:
    energy = make_point("energy", type="int32", quantity="unscaled", exponent_point="exponent")
    exponent = make_point("exponent", type="int16", quantity="exponent")
    points = (energy, exponent)
    assert apply_exponents(points, {"energy": 1234567.0, "exponent": -3.0}) == {"energy": 1234.567, "exponent": -3.0}
    assert apply_exponents(points, {"energy": 12.0, "exponent": 2.0})["energy"] == 1200.0


@pytest.mark.parametrize("exponent", [None, 11.0, -11.0, 32767.0])
def test_value_without_a_usable_exponent_is_not_known(exponent: float | None) -> None:
    energy = make_point("energy", type="int32", quantity="unscaled", exponent_point="exponent")
    assert apply_exponents((energy,), {"energy": 12.0, "exponent": exponent})["energy"] is None
    assert apply_exponents((energy,), {"energy": None, "exponent": 1.0})["energy"] is None
    assert apply_exponents((energy,), {"energy": 12.0})["energy"] is None
