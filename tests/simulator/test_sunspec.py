"""The image of a SunSpec device has its words where the standard has them."""

import math
import struct

import pytest
from modbus_socket import Client

from simulator.server import serve
from simulator.sunspec import SUNS, SunSpecImage, encode, model_words, words_at

METER = {
    "A": 12.34, "A_SF": -2, "PhV": 230.1, "PhVphA": 230.2, "V_SF": -1, "Hz": 49.98, "Hz_SF": -2,
    "W": -1500, "W_SF": 1, "TotWhImp": 1_234_500, "TotWh_SF": 2,
}  # fmt: skip


def make_image() -> SunSpecImage:
    image = SunSpecImage().add_common(manufacturer="Fronius", model="Symo", serial="42", device_address=7)
    return image.add_model(203, model_words(203, METER))


def test_chain_begins_with_the_mark_and_ends_with_the_end_model() -> None:
    words = make_image().words()
    assert (words[40_000], words[40_001]) == SUNS
    assert (words[40_002], words[40_003]) == (1, 66)
    assert (words[40_070], words[40_071]) == (203, 105)
    assert (words[40_177], words[40_178]) == (0xFFFF, 0)
    assert len(words) == 179


def test_common_model_holds_the_texts_and_the_address() -> None:
    words = make_image().words()
    assert [words[40_002 + offset] for offset in (2, 3, 4, 5, 6)] == [*struct.unpack(">4H", b"Fronius\0"), 0]
    assert words[40_002 + 50] == 0x3432
    assert words[40_002 + 66] == 7


def test_meter_has_its_points_at_the_published_offsets() -> None:
    words = make_image().words()
    at = 40_070
    expected = {2: 1234, 6: 0x10000 - 2, 7: 2301, 8: 2302, 15: 0x10000 - 1, 16: 4998, 18: 0x10000 - 150, 22: 1}
    assert {offset: words[at + offset] for offset in expected} == expected
    assert words[at + 46] << 16 | words[at + 47] == 12_345
    assert words[at + 9] == 0x8000  # voltage of phase B: not implemented
    assert (words[at + 48], words[at + 49]) == (0, 0)  # import of phase A, an accumulator
    assert (words[at + 105], words[at + 106]) == (0xFFFF, 0xFFFF)  # events, a bit field
    assert words[at + 71] == 0x8000  # scale factor of the apparent energy


def test_definitions_and_offsets_give_the_same_inverter() -> None:
    by_name = model_words(103, {"W": 4500, "W_SF": 1, "WH": 123_456_000, "WH_SF": 3, "St": 4, "Evt1": 0})
    by_offset = words_at(
        50,
        {14: ("int16", 450), 15: ("sunssf", 1), 24: ("acc32", 123_456), 26: ("sunssf", 3), 38: ("enum16", 4),
         40: ("bitfield32", 0)},
    )  # fmt: skip
    for offset in (14, 15, 24, 25, 26, 38, 40, 41):
        assert by_name[offset - 2] == by_offset[offset - 2]
    assert len(by_name) == len(by_offset) == 50


def test_group_repeats_as_often_as_told() -> None:
    words = model_words(160, {"N": 2, "DCV_SF": -1, "module.DCV.1": 610.5, "module.DCV.2": 580}, repeats=2)
    assert len(words) == 48
    assert [words[offset - 2] for offset in (8, 10 + 10, 30 + 10)] == [2, 6105, 5800]


@pytest.mark.parametrize(
    ("kind", "size", "value", "expected"),
    [
        ("uint16", 1, None, (0xFFFF,)),
        ("int16", 1, None, (0x8000,)),
        ("int32", 2, None, (0x8000, 0)),
        ("acc64", 4, None, (0, 0, 0, 0)),
        ("enum16", 1, None, (0xFFFF,)),
        ("string", 2, None, (0, 0)),
        ("int16", 1, -2, (0xFFFE,)),
        ("uint32", 2, 70_000, (1, 4464)),
        ("float32", 2, 1.0, (0x3F80, 0)),
        ("string", 2, "AB", (0x4142, 0)),
    ],
)
def test_types_are_encoded_as_the_standard_says(
    kind: str, size: int, value: float | str | None, expected: tuple[int, ...]
) -> None:
    assert encode(kind, size, value) == expected


def test_float_that_is_not_implemented_is_no_number() -> None:
    assert math.isnan(struct.unpack(">f", struct.pack(">2H", *encode("float32", 2, None)))[0])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="70000 does not fit into the type uint16"):
        words_at(10, {2: ("uint16", 70_000)})
    with pytest.raises(ValueError, match="do not fit into a model of length 10"):
        words_at(10, {11: ("uint32", 1)})
    with pytest.raises(KeyError, match="model 103 has no point Wh"):
        model_words(103, {"Wh": 1})


def test_image_is_served_and_nothing_beside_it() -> None:
    with serve(SunSpecImage(50_000).add_common(manufacturer="SMA").unit(126)) as server:
        client = Client(server)
        assert client.ask(50_000, 4, function_code=3, unit_id=126) == struct.pack(">BB4H", 3, 8, *SUNS, 1, 66)
        assert client.ask(40_000, 2, function_code=3, unit_id=126) == b"\x83\x02"
        client.close()
