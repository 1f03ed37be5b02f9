import json

import pytest

from protocol.errors import UnknownSunSpecModel
from protocol.sunspec.compact import compact
from protocol.sunspec.definitions import PointType, count_point, get_model, model_ids, place_points
from protocol.sunspec.vocabulary import get_vocabulary

EVERY_MODEL = pytest.mark.parametrize("model_id", model_ids())

FIXED_LENGTHS = {
    model_id: length
    for length, model_ids_of_it in [
        (66, [1]),
        (50, [101, 102, 103, 702]),
        (60, [111, 112, 113]),
        (26, [120]),
        (30, [121]),
        (44, [122]),
        (24, [123, 124]),
        (8, [160]),
        (105, [201, 202, 203, 204]),
        (124, [211, 212, 213, 214]),
        (153, [701]),
        (7, [713]),
        (18, [714]),
        (62, [802]),
    ]
    for model_id in model_ids_of_it
}


def offsets(model_id: int, length: int = 1000) -> dict[str, int]:
    """Tell where points stand; in a group, its first repetition."""
    placed = place_points(get_model(model_id), length)
    return {point.key: point.offset for point in placed if point.number <= 1}


def test_the_models_are_those_whose_lengths_are_known() -> None:
    assert set(model_ids()) == set(FIXED_LENGTHS)


@EVERY_MODEL
def test_points_add_up_to_the_length_of_the_standard(model_id: int) -> None:
    assert get_model(model_id).fixed_words - 2 == FIXED_LENGTHS[model_id]


@EVERY_MODEL
def test_model_begins_with_its_id_and_length(model_id: int) -> None:
    model = get_model(model_id)
    assert model.id == model_id
    assert [point.name for point in model.points[:2]] == ["ID", "L"]


@EVERY_MODEL
def test_every_scale_factor_that_is_named_exists(model_id: int) -> None:
    model = get_model(model_id)
    factors = {point.name for point in model.points if point.type is PointType.SUNSSF}
    points = [*model.points, *(point for group in model.groups for point in group.points)]
    assert {point.sf for point in points if isinstance(point.sf, str)} <= factors


@EVERY_MODEL
def test_every_point_is_named_or_left_out_on_purpose(model_id: int) -> None:
    family = get_vocabulary().family_of(model_id)
    assert family is not None
    plumbing = {"ID", "L"}
    for placed in place_points(get_model(model_id), 1000):
        if placed.definition.type not in (PointType.SUNSSF, PointType.PAD) and placed.key not in plumbing:
            assert (placed.key in family.points) != (placed.key in family.left_out), placed.key


def test_vocabulary_names_no_point_that_no_model_has() -> None:
    for family in get_vocabulary().families:
        keys = {placed.key for model_id in family.models for placed in place_points(get_model(model_id), 1000)}
        assert set(family.points) | family.left_out <= keys


@pytest.mark.parametrize(
    ("model_id", "expected"),
    [
        (1, {"Mn": 2, "Md": 18, "Opt": 34, "Vr": 42, "SN": 50, "DA": 66}),
        (103, {"A": 2, "V_SF": 13, "W": 14, "W_SF": 15, "Hz": 16, "WH": 24, "DCW": 31, "St": 38, "EvtVnd4": 50}),
        (113, {"A": 2, "PhVphA": 16, "W": 22, "WH": 32, "TmpOt": 46, "St": 48, "EvtVnd4": 60}),
        (203, {"PPV": 11, "Hz": 16, "W": 18, "TotWhExp": 38, "TotWhImp": 46, "TotWh_SF": 54, "TotVArh_SF": 104}),
        (213, {"PhV": 10, "W": 28, "TotWhExp": 60, "TotWhImp": 68, "TotVArhExpQ4": 116, "Evt": 124}),
        (160, {"DCA_SF": 2, "Evt": 6, "N": 8, "module.ID": 10, "module.DCW": 21, "module.DCEvt": 28}),
        (124, {"WChaMax": 2, "ChaState": 8, "ChaSt": 11, "OutWRte": 12, "ChaGriSet": 17, "InOutWRte_SF": 25}),
        (713, {"WHRtg": 2, "SoC": 4, "Sta": 6, "WH_SF": 7, "Pct_SF": 8}),
        (802, {"SoC": 11, "NCyc": 14, "ChaSt": 16, "V": 34, "A": 44, "W": 47, "SoC_SF": 56, "W_SF": 63}),
        (701, {"W": 10, "Hz": 17, "TotWhInj": 19, "WL1": 41, "WL3": 87, "W_SF": 116, "MnAlrmInfo": 123}),
        (714, {"NPrt": 4, "DCA_SF": 15, "Prt.PrtTyp": 20, "Prt.DCV": 31, "Prt.DCAlrm": 43}),
    ],
)
def test_points_stand_where_the_standard_puts_them(model_id: int, expected: dict[str, int]) -> None:
    assert expected.items() <= offsets(model_id).items()


def test_group_repeats_as_often_as_the_model_is_long() -> None:
    placed = list(place_points(get_model(160), 8 + 2 * 20))
    powers = [(point.number, point.offset) for point in placed if point.key == "module.DCW"]
    assert powers == [(1, 21), (2, 41)]
    assert placed[-1].end == 2 + 8 + 2 * 20


def test_group_repeats_as_often_as_the_model_says() -> None:
    assert max(point.number for point in place_points(get_model(160), 8 + 4 * 20, repeats=3)) == 3
    assert max(point.number for point in place_points(get_model(160), 8 + 4 * 20, repeats=9)) == 4
    assert [count_point(get_model(model_id)) for model_id in (160, 714, 103)] == ["N", "NPrt", None]


def test_a_length_that_no_device_can_have_lays_out_no_thousands_of_points() -> None:
    assert sum(1 for _ in place_points(get_model(160), 65_000)) <= 1_100


def test_points_beyond_the_announced_length_are_left_out() -> None:
    assert "Pad" not in {point.key for point in place_points(get_model(1), 65)}
    assert [point.key for point in place_points(get_model(103), 0)] == ["ID", "L"]


def test_unknown_model_is_named() -> None:
    with pytest.raises(UnknownSunSpecModel, match="64001"):
        get_model(64_001)


def upstream(**group: object) -> str:
    head = [{"name": name, "type": "uint16", "size": 1, "mandatory": "M", "static": "S"} for name in ("ID", "L")]
    value = {
        "name": "St",
        "type": "enum16",
        "size": 1,
        "desc": "long story",
        "units": " x ",
        "symbols": [{"name": "OFF", "value": 1}, {"name": "RESERVED_2", "value": 2}],
    }
    return json.dumps({"id": 999, "group": {"name": "made", "label": "Made", "points": [*head, value], **group}})


def test_compacting_keeps_what_is_needed_to_read_a_model() -> None:
    inner = {"name": "part", "count": "L", "points": [{"name": "V", "type": "float32", "size": 2}]}
    made = json.loads(compact(upstream(groups=[inner])))
    assert made["points"][2] == {"name": "St", "type": "enum16", "size": 1, "units": "x", "symbols": {"1": "OFF"}}
    assert made["groups"] == [inner]


def test_compacting_refuses_groups_inside_groups() -> None:
    inner = {"name": "part", "points": [{"name": "V", "type": "float32", "size": 2}]}
    with pytest.raises(ValueError, match="model 999 has groups inside groups"):
        compact(upstream(groups=[{**inner, "groups": [inner]}]))
