"""Rules in layers: the usual ones, those of a kind of meter, an organisation's own. A slip is refused in a sentence."""

from decimal import Decimal
from typing import Any

import pytest

from cloud_hub.energy.rules import Override, Ruleset, check_override, load_ruleset, rule_names
from cloud_hub.energy.validation import REACH_MS
from cloud_hub.errors import Invalid
from protocol.library import load_library

_KINDS = sorted({profile.category for profile in load_library().values()})
_H_MS = 3_600_000


@pytest.mark.parametrize("kind", _KINDS)
def test_every_kind_of_meter_has_its_rules(kind: str) -> None:
    assert load_ruleset(kind, "active_energy").max_rate_per_h is not None


def test_kinds_with_rules_of_their_own_are_kinds_that_profiles_have() -> None:
    stuck = {kind: load_ruleset(kind, "active_energy").stuck.action for kind in _KINDS}
    assert stuck["pv_inverter"] == "off"
    assert stuck["water_meter"] == "flag"
    assert stuck["electricity_meter"] == "estimate"


def test_rules_run_in_the_order_of_the_file() -> None:
    assert rule_names() == [name for name in Ruleset.model_fields if name != "quantity"]


def test_a_register_of_an_unknown_quantity_has_no_highest_rate() -> None:
    assert load_ruleset("electricity_meter", "unscaled").max_rate_per_h is None


def test_kind_lays_its_highest_rate_over_the_usual() -> None:
    assert load_ruleset("electricity_meter", "active_energy").max_rate_per_h == Decimal("10000000.0")
    assert load_ruleset("pv_inverter", "active_energy").max_rate_per_h == Decimal("2000000.0")
    assert load_ruleset("pv_inverter", "volume").max_rate_per_h == Decimal("2000.0")


def test_overrides_for_the_kind_win_over_those_for_all_whatever_their_order() -> None:
    for_kind = Override("electricity_meter", "stuck", {"run_min_h": 8})
    for_all = Override("*", "stuck", {"run_min_h": 10, "catch_up_ratio": 5.0})
    for overrides in ([for_kind, for_all], [for_all, for_kind]):
        stuck = load_ruleset("electricity_meter", "active_energy", overrides).stuck
        assert (stuck.run_min_h, stuck.catch_up_ratio, stuck.run_max_h) == (8, 5.0, 24.0)


def test_override_for_another_kind_is_not_looked_at() -> None:
    override = Override("water_meter", "gap", {"intervals": 7})
    assert load_ruleset("electricity_meter", "active_energy", [override]).gap.intervals == 2


def test_one_floor_can_be_set_and_the_others_stay() -> None:
    override = Override("*", "spike", {"floor_per_h": {"volume": 2.0}})
    floors = load_ruleset("water_meter", "volume", [override])
    assert floors.spike_floor_per_h == 2.0
    assert floors.spike.floor_per_h["pulse_count"] == 100


def test_equal_arguments_give_the_same_object() -> None:
    override = Override("*", "gap", {"intervals": 3})
    first = load_ruleset("electricity_meter", "active_energy", [override])
    assert load_ruleset("electricity_meter", "active_energy", [Override("*", "gap", {"intervals": 3})]) is first


@pytest.mark.parametrize(
    ("rule", "parameters", "said"),
    [
        pytest.param("stuk", {}, ["'stuk'", "stuck", "sum_check"], id="unknown rule"),
        pytest.param("quantity", {}, ["'quantity'", "stuck"], id="not a rule"),
        pytest.param("stuck", {"run": 8}, ["'stuck'", "'run'", "run_min_h"], id="unknown key"),
        pytest.param("stuck", {"run_min_h": 80}, ["'stuck'", "run_min_h = 80", "24"], id="too long for the reach"),
        pytest.param("zero_use", {"hours": 49}, ["'zero_use'", "hours = 49", "48"], id="zero use beyond the reach"),
        pytest.param("stuck", {"action": "sing"}, ["action = 'sing'", "'estimate'"], id="unknown action"),
        pytest.param("spike", {"action": "estimate"}, ["action", "'flag' or 'off'"], id="a register is not overruled"),
        pytest.param("gap", {"intervals": True}, ["intervals = True"], id="not a number"),
        pytest.param("max_rate", {"speed": 1}, ["'speed'", "active_energy"], id="unknown quantity"),
        pytest.param("max_rate", {"volume": -1}, ["volume = -1", "greater than 0"], id="negative rate"),
        pytest.param("high_use", {"weeks": 9}, ["weeks = 9", "8"], id="further back than references go"),
    ],
)
def test_refused_override_says_what_is_wrong_and_what_is_allowed(
    rule: str, parameters: dict[str, Any], said: list[str]
) -> None:
    with pytest.raises(Invalid) as refusal:
        check_override(Override("*", rule, parameters))
    assert all(part in str(refusal.value) for part in said)
    assert "\n" not in str(refusal.value)


def test_the_longest_look_that_can_be_set_is_within_the_reach() -> None:
    widest = load_ruleset(
        "*", "", [Override("*", "stuck", {"run_max_h": 24}), Override("*", "zero_use", {"hours": 48})]
    )
    longest_catch_up_h = 2
    assert (widest.stuck.run_max_h + longest_catch_up_h + 24) * _H_MS <= REACH_MS
    assert widest.zero_use.hours * _H_MS <= REACH_MS
