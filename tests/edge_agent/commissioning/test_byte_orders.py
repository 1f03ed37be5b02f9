"""Values that look wrong are shown as what the same registers would be in another order or type."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from site_factories import make_point

from edge_agent.commissioning.byte_orders import Doubt, advice_text, find_advice, find_doubt, reading_text
from protocol.profile import ModbusSettings, Order, Point, RegisterType
from protocol.registers import decode, encode

BIG = ModbusSettings(transports=("tcp",))


def float_point(name: str = "voltage_l1_n", **changes: object) -> Point:
    return make_point(name, **{"type": "float32", "scale": "1", **changes})


def doubt_of(point: Point, words: tuple[int, ...], settings: ModbusSettings = BIG) -> Doubt | None:
    value = decode(point, words, settings.byte_order, settings.word_order)
    return find_doubt(point, value if isinstance(value, float) else None, words, settings)


@given(
    st.floats(95, 299, width=32),
    st.sampled_from([(b, w) for b in Order for w in Order if (b, w) != (Order.BIG, Order.BIG)]),
)
def test_order_of_the_device_is_among_the_readings_whenever_the_value_looks_wrong(
    volts: float, orders: tuple[Order, Order]
) -> None:
    point = float_point()
    words = encode(point, volts, *orders)
    doubt = doubt_of(point, words)
    if doubt is None:
        return  # by chance the wrong order gives a usual voltage as well
    plausible = [(r.byte_order, r.word_order) for r in doubt.readings if r.is_plausible and r.type is point.type]
    assert orders in plausible


def test_swapped_words_are_recognised_and_the_change_is_named() -> None:
    point = float_point()
    doubt = doubt_of(point, encode(point, 231.25, Order.BIG, Order.LITTLE))
    assert doubt is not None
    assert reading_text(point, doubt.readings[0], BIG) == "231.25 V as float32 with little-endian words (plausible)"
    advice = find_advice([doubt], BIG)
    assert advice is not None
    assert advice_text(advice, BIG) == (
        '1 value would be plausible with modbus.word_order = "little": '
        "set it in a profile of your own (docs/profiles.md)"
    )


def test_integer_in_the_place_of_a_float_is_recognised() -> None:
    point = float_point(scale="0.1")
    doubt = doubt_of(point, (0, 2312))
    assert doubt is not None
    assert next((r.type, r.value) for r in doubt.readings if r.is_plausible) == (RegisterType.UINT32, 231.2)


def test_float_that_is_none_is_tried_in_other_orders() -> None:
    point = float_point("frequency", quantity="frequency")
    words = struct.unpack(">HH", struct.pack(">f", 50.0))
    assert doubt_of(point, words) is None
    swapped = (0x7FFF, *words[:1])  # as big-endian words, no number
    assert doubt_of(point, swapped) is not None


@pytest.mark.parametrize(
    ("point", "words"),
    [
        (float_point(), (0x4367, 0x4000)),
        (float_point(), (0, 0)),
        (float_point(), (0x7FC0, 0)),
        (float_point(), (0xFFFF, 0xFFFF)),
        (make_point(quantity="state", scale="1"), (0xFFF0,)),
        (float_point("active_power_total", quantity="active_power"), (0xC461, 0x0000)),
    ],
    ids=["usual", "zero", "not a number", "marker", "state", "negative power"],
)
def test_values_that_may_be_right_raise_no_doubt(point: Point, words: tuple[int, ...]) -> None:
    assert doubt_of(point, words) is None


def test_value_beyond_all_sites_is_doubted_even_where_nothing_is_usual() -> None:
    point = float_point("active_power_total", quantity="active_power")
    doubt = doubt_of(point, encode(point, 1234.5, Order.BIG, Order.LITTLE))
    assert doubt is not None
    assert 1234.5 in [reading.value for reading in doubt.readings]


def test_one_register_has_bytes_but_no_words_to_swap() -> None:
    point = make_point("frequency", quantity="frequency", scale="0.01")
    doubt = doubt_of(point, (0x8813,))
    assert doubt is not None
    assert [(r.byte_order, r.value) for r in doubt.readings if r.is_plausible] == [(Order.LITTLE, 50.0)]
