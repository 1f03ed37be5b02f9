from decimal import Decimal
from typing import Any

import pytest
from factories import make_point, make_profile
from pydantic import ValidationError

from protocol.manifest import PointKind
from protocol.profile import WORDS, Point, Profile, RegisterType, Table


def test_unit_kind_and_words_are_filled_in() -> None:
    point = make_point(type="uint32", quantity="active_energy")
    assert (point.unit, point.kind, point.words) == ("Wh", PointKind.COUNTER, 2)


def test_stated_kind_goes_before_the_usual_one() -> None:
    assert make_point(quantity="active_energy", kind="gauge").kind is PointKind.GAUGE


def test_every_type_but_string_has_a_length_of_its_own() -> None:
    assert set(RegisterType) - set(WORDS) == {RegisterType.STRING}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"quantity": "voltage_rms"}, "quantity 'voltage_rms' is unknown"),
        ({"unit": "kV"}, "has the unit 'V', not 'kV'"),
        ({"type": "float32", "words": 1}, "type float32 takes 2 words, not 1"),
        ({"type": "string", "quantity": "text"}, "greater than or equal to 1"),
        ({"type": "uint64", "address": 65_533}, "end beyond 65535"),
        ({"address": 65_536}, "less than or equal to 65535"),
        ({"table": "coil"}, "holds bits"),
        ({"scale": 0}, "'scale' is 0"),
        ({"type": "ipv4"}, "'text' or 'identity'"),
        ({"type": "enum16", "quantity": "state", "kind": "counter"}, "of kind state, not counter"),
        ({"rollover": 65_536}, "only a counter"),
        ({"resettable": True}, "only a counter"),
        ({"not_available": [0x10000]}, "does not fit 1 words"),
        ({"name": "Voltage"}, "not a valid point name"),
        ({"adress": 1}, "Extra inputs are not permitted"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_slip_in_a_point_is_refused(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        make_point(**({"name": "voltage_l1_n"} | changes))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"points": [make_point(), make_point(address=1)]}, "point 'voltage_l1_n' is named 2 times"),
        ({"modbus": None}, "set exactly one of 'modbus' and 'snmp'"),
        ({"modbus": None, "snmp": {"versions": ["v2c"]}}, "'points' belong to 'modbus'"),
        ({"points": [make_point(exponent_point="exponent")]}, "unknown exponent_point 'exponent'"),
        (
            {"points": [make_point(exponent_point="current_l1"), make_point("current_l1", quantity="current")]},
            "no readable point of quantity 'exponent'",
        ),
        ({"sources": []}, "at least 1 item"),
    ],
    ids=["name twice", "no protocol", "points of another protocol", "exponent unknown", "exponent a current", "source"],
)
def test_slip_in_a_profile_is_refused(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        make_profile(**changes)


def test_profile_survives_json() -> None:
    profile = make_profile(
        make_point(scale=Decimal("0.1"), not_available=[0xFFFF]), make_point("energy", quantity="active_energy")
    )
    assert Profile.model_validate_json(profile.model_dump_json()) == profile


def test_point_is_found_by_name() -> None:
    profile = make_profile()
    assert profile.get_point("voltage_l1_n") is profile.points[0]
    with pytest.raises(KeyError):
        profile.get_point("voltage_l2_n")


def test_exponent_points_are_added_once() -> None:
    exponent = make_point("exponent", quantity="exponent", type="int16")
    first, second = (make_point(name, exponent_point="exponent") for name in ("voltage_l1_n", "voltage_l2_n"))
    profile = make_profile(first, second, exponent)
    assert profile.with_exponents([first, second]) == (first, second, exponent)
    assert profile.with_exponents([exponent, first]) == (exponent, first)


def test_tables_name_their_function_code() -> None:
    assert [table.read_function_code for table in Table] == [1, 2, 3, 4]
    assert [table.holds_bits for table in Table] == [True, True, False, False]


def test_scale_from_a_binary_float_keeps_its_decimal_meaning() -> None:
    # A site's own TOML may be read without Decimal support.
    assert Point.model_validate(make_point().model_dump() | {"scale": 0.1}).scale == Decimal("0.1")
