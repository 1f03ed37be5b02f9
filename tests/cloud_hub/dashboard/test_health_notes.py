"""What a controller reports of itself is said in words, and a strange report breaks no page."""

from typing import Any

import pytest

from cloud_hub.dashboard.health_notes import Note, list_notes


@pytest.mark.parametrize(
    ("health", "level", "text"),
    [
        pytest.param(
            {"clock": {"state": "untrusted"}, "buffer": {"held_for_clock": 1200}},
            "bad",
            "The controller does not know the time yet; 1,200 scans wait for it",
            id="clock not trusted",
        ),
        pytest.param(
            {"clock": {"state": "fault"}},
            "bad",
            "The controller's clock contradicts the hub's; its readings are dated by the hub's",
            id="clock fault",
        ),
        pytest.param(
            {"clock": {"state": "trusted", "offset_of_system_ms": -7_260_000}},
            "warn",
            "The controller's clock is 2 h behind; readings are dated right",
            id="clock off",
        ),
        pytest.param(
            {"buffer": {"is_storage_failing": True, "waiting_in_memory": 17}},
            "bad",
            "The controller's disk takes nothing; 17 scans are in its memory",
            id="disk",
        ),
        pytest.param(
            {"buffer": {"is_in_memory": True}},
            "bad",
            "The controller's disk takes nothing: its buffer is in memory, which a power cut loses",
            id="refuge",
        ),
        pytest.param(
            {"buffer": {"used_bytes": 95, "max_bytes": 100, "uncommitted": 4000}},
            "warn",
            "The controller's buffer is 95% full, with 4,000 scans to deliver",
            id="buffer",
        ),
        pytest.param(
            {"buses": {"cabinet": {"restarts": 2}, "roof": {"restarts": 0}}},
            "warn",
            "Bus cabinet stood still and was begun anew 2 times",
            id="bus",
        ),
        pytest.param(
            {"counts": {"meters": {"good": 5940, "unreachable": 60}, "buses": 1000}},
            "warn",
            "60 of 6,000 meters do not answer",
            id="collector",
        ),
        pytest.param(
            {"traffic": {"stage": "thin", "budget_bytes": 5_000_000, "forecast_bytes": 7_340_000}},
            "warn",
            "Data budget short: 7.3 MB expected of 5.0 MB; sends less often and reports gauges less often",
            id="budget",
        ),
        pytest.param(
            {"configuration": {"state": "applied", "revision": 4, "reason": "meter 'x' has no profile"}},
            "warn",
            "A configuration was not taken: meter 'x' has no profile",
            id="configuration",
        ),
        pytest.param(
            {"routers": {"router": {"signal": "poor", "operator": "Acme", "network_type": "LTE"}}},
            "warn",
            "Signal of router is poor (Acme, LTE)",
            id="signal",
        ),
    ],
)
def test_what_stands_out_is_said(health: dict[str, Any], level: str, text: str) -> None:
    assert list_notes(health) == (Note(level, text),)


def test_all_well_says_nothing() -> None:
    well = {
        "clock": {"state": "trusted", "offset_of_system_ms": 40},
        "buffer": {"used_bytes": 99, "max_bytes": 100, "uncommitted": 0, "is_storage_failing": False},
        "traffic": {"stage": "normal", "budget_bytes": 5, "forecast_bytes": 1},
        "configuration": {"state": "own_file", "reason": ""},
        "routers": {"router": {"signal": "good"}},
    }
    assert list_notes(well) == ()
    assert list_notes(None) == ()


def test_the_worst_comes_first() -> None:
    notes = list_notes(
        {
            "configuration": {"state": "trial", "revision": 2},
            "clock": {"state": "fault"},
            "traffic": {"stage": "wide", "budget_bytes": 1},
        }
    )
    assert [note.level for note in notes] == ["bad", "warn", "plain"]


@pytest.mark.parametrize("strange", [7, "text", None, [], {"state": 3, "used_bytes": "many", "restarts": True}])
def test_a_report_of_another_shape_breaks_nothing(strange: object) -> None:
    parts = ("clock", "buffer", "buses", "traffic", "configuration", "routers")
    assert list_notes(dict.fromkeys(parts, strange)) == ()
