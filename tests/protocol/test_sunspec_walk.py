from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sunspec_images import END, SUNS, ImageDevice, common, discover, float32, image, inverter_103, model, text

from protocol.sunspec.definitions import get_model, place_points
from protocol.sunspec.walk import CANDIDATE_UNIT_IDS, FoundModel, discover_steps, read_steps


@pytest.mark.parametrize("base", [40_000, 50_000, 0, 39_999, 40_001, 49_999, 50_001, 1])
def test_map_is_found_at_every_base_in_use(base: int) -> None:
    (device,) = discover(image(common(), inverter_103(), base=base))
    assert (device.base, device.fault) == (base, None)
    assert device.models == (FoundModel(1, base + 2, 66), FoundModel(103, base + 70, 50))


def test_device_says_who_it_is() -> None:
    (device,) = ImageDevice(image(common("Fronius", "Symo 8.2-3-M", "0.3.30.1", "31329509"))).drive(discover_steps(126))
    assert (device.unit_id, device.manufacturer, device.model) == (126, "Fronius", "Symo 8.2-3-M")
    assert (device.version, device.serial) == ("0.3.30.1", "31329509")


def test_texts_lose_their_padding_and_what_cannot_be_printed() -> None:
    words = model(1, 65, {2: text("KOSTAL     ", 16), 18: text("PLENTI\x07CORE", 16), 50: (0xFF41,)})
    (device,) = discover(image(words))
    assert (device.manufacturer, device.model, device.version) == ("KOSTAL", "PLENTICORE", "")
    assert device.serial == "\N{REPLACEMENT CHARACTER}A"


def test_common_model_of_either_length_is_read() -> None:
    assert discover(image(common(length=65)))[0].serial == discover(image(common(length=66)))[0].serial == "S1"


def test_models_without_a_definition_are_listed() -> None:
    (device,) = discover(image(common(), model(64_001, 7, {}), inverter_103()))
    assert [found.id for found in device.models] == [1, 64_001, 103]


def test_second_common_model_begins_another_device() -> None:
    meter = model(203, 105, {})
    first, second = discover(image(common("SolarEdge", "SE10K"), inverter_103(), common("SolarEdge", "Meter"), meter))
    assert [found.id for found in first.models] == [1, 103]
    assert [found.id for found in second.models] == [1, 203]
    assert (first.model, second.model) == ("SE10K", "Meter")


def test_unit_without_a_map_is_asked_once_for_each_base() -> None:
    device = ImageDevice({})
    assert device.drive(discover_steps(1)) == ()
    assert device.asked == [(base, 2) for base in (40_000, 50_000, 0, 39_999, 40_001, 49_999, 50_001, 1)]


def test_map_that_does_not_begin_with_the_common_model_is_none() -> None:
    assert discover(image(inverter_103())) == ()


@pytest.mark.parametrize(
    ("tail", "fault"),
    [
        ((), "does not let the model header at address 40122 be read"),
        ((113,), "does not let the model header at address 40122 be read"),
        ((113, 0), "model 113 at address 40122 says that it is empty"),
        ((113, 30_000), "model 113 at address 40122 runs beyond address 65535"),
    ],
)
def test_broken_chain_keeps_what_was_found_and_says_why_it_ended(tail: Sequence[int], fault: str) -> None:
    (device,) = discover(image(common(), inverter_103(), end=tail))
    assert [found.id for found in device.models] == [1, 103]
    assert device.fault is not None
    assert fault in device.fault


def test_chain_up_to_the_last_address_does_not_wrap_around() -> None:
    filling = 0x10000 - 40_000 - 2 - 68 - 2
    (device,) = discover(image(common(), model(64_001, filling, {}), end=()))
    assert device.models[-1] == FoundModel(64_001, 40_070, filling)
    assert device.fault == "the chain of models runs beyond address 65535"


def test_endless_chain_is_given_up() -> None:
    (device,) = discover(image(common(), *[model(64_001, 1, {})] * 250))
    assert len(device.models) == 200
    assert device.fault == "the chain does not end after 200 models"


def test_fault_of_a_chain_belongs_to_its_last_device() -> None:
    first, second = discover(image(common(), inverter_103(), common(), end=()))
    assert first.fault is None
    assert second.fault is not None


def test_answer_of_the_wrong_length_counts_as_a_refusal() -> None:
    steps = discover_steps(1, bases=(0,))
    assert next(steps) == (0, 2)
    with pytest.raises(StopIteration) as stop:
        steps.send(SUNS[:1])
    assert stop.value.value == ()


def test_long_model_is_read_in_slices_that_split_no_value() -> None:
    meter = model(213, 124, {28: float32(1234.5)})
    device = ImageDevice(image(common(), meter))
    (found,) = device.drive(discover_steps(1))
    device.asked.clear()
    words = device.drive(read_steps(found))
    assert [count for _, count in device.asked] == [68, 124, 2]
    assert words.by_model[found.models[1]] == meter
    assert words.max_registers_per_read == 125


@pytest.mark.parametrize(("bears", "size"), [(125, 125), (124, 125), (100, 60), (60, 60), (45, 30), (30, 30)])
def test_device_that_refuses_long_reads_is_asked_for_shorter_ones(bears: int, size: int) -> None:
    meter = model(203, 105, {18: -5})
    device = ImageDevice(image(common(), meter), longest_read=bears)
    (found,) = device.drive(discover_steps(1))
    device.asked.clear()
    words = device.drive(read_steps(found))
    assert words.by_model[found.models[1]] == meter
    assert words.max_registers_per_read == size
    borders = {found.models[1].address + placed.offset for placed in place_points(get_model(203), 105)}
    assert {address for address, _ in device.asked if address >= found.models[1].address} <= borders


def test_model_that_the_device_refuses_is_missing() -> None:
    device = ImageDevice(image(common(), inverter_103()), longest_read=25)
    (found,) = device.drive(discover_steps(1))
    assert found.manufacturer == ""
    assert device.drive(read_steps(found)).by_model == {}


def test_models_without_a_definition_are_not_read() -> None:
    device = ImageDevice(image(common(), model(64_001, 7, {})))
    (found,) = device.drive(discover_steps(1))
    assert set(device.drive(read_steps(found)).by_model) == {found.models[0]}


def test_usual_unit_ids_come_with_their_reason() -> None:
    assert list(CANDIDATE_UNIT_IDS) == [1, 126, 200, 240]
    assert all(CANDIDATE_UNIT_IDS.values())


@given(words=st.lists(st.sampled_from([0, 1, 2, 66, 103, 160, 0x5375, 0x6E53, 0xFFFF]), max_size=300))
def test_any_registers_come_to_an_end(words: list[int]) -> None:
    registers = dict(enumerate([*SUNS, *common(), *words, *END]))
    device = ImageDevice(registers)
    for found in device.drive(discover_steps(1)):
        device.drive(read_steps(found))
    assert len(device.asked) < 2_000
