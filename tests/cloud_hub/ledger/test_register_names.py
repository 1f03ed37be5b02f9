"""Which register stands for its meter, and where it counts, as its name tells."""

import pytest

from cloud_hub.energy.model import Direction
from cloud_hub.ledger.register_names import Named, choose_totals, direction_of
from protocol.library import get_profile, profile_ids
from protocol.manifest import PointKind


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("energy_active_import_total", Direction.IMPORT),
        ("energy_active_export_l1", Direction.EXPORT),
        ("energy_active_net_total", Direction.NET),
        ("energy_active_total", Direction.IMPORT),
        ("volume_reverse", Direction.EXPORT),
        ("pv_energy_total", Direction.EXPORT),
        ("battery_energy_discharge_total", Direction.EXPORT),
        ("grid_energy_import_total", Direction.IMPORT),
    ],
)
def test_the_direction_is_in_the_name(name: str, direction: Direction) -> None:
    assert direction_of(name) is direction


def chosen(*names: str) -> set[str]:
    points = [Named(number, 1, name, "active_energy") for number, name in enumerate(names)]
    return {points[number].name for number in choose_totals(points)}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param(
            [
                "energy_active_total",
                "energy_active_import_l1",
                "energy_active_import_total",
                "energy_active_export_total",
            ],
            {"energy_active_import_total", "energy_active_export_total"},
            id="import before the sum of both directions, the whole before its phases",
        ),
        pytest.param(["energy_active_total", "energy_active_import_t1"], {"energy_active_total"}, id="a sum alone"),
        pytest.param(
            ["battery_energy_discharge_total", "pv_energy_total", "energy_active_export_total"],
            {"energy_active_export_total"},
            id="the device before its parts",
        ),
        pytest.param(["pulse_count_0", "pulse_count_1"], set(), id="channels count different things"),
        pytest.param(["pulse_count_1"], {"pulse_count_1"}, id="a channel alone"),
    ],
)
def test_one_register_stands_for_its_meter(names: list[str], expected: set[str]) -> None:
    assert chosen(*names) == expected


def test_a_register_that_stands_already_is_not_joined_by_another() -> None:
    points = [
        Named(1, 1, "energy_active_total", "active_energy"),
        Named(2, 1, "energy_active_import_total", "active_energy"),
    ]

    assert choose_totals(points, taken={1}) == set()


@pytest.mark.parametrize("profile_id", profile_ids())
def test_every_profile_of_the_library_has_at_most_one_total_per_quantity_and_direction(profile_id: str) -> None:
    counters = [point for point in get_profile(profile_id).points if point.kind is PointKind.COUNTER]
    points = [Named(number, 1, point.name, point.quantity) for number, point in enumerate(counters)]

    kinds = [(points[number].quantity, direction_of(points[number].name)) for number in choose_totals(points)]

    assert len(kinds) == len(set(kinds))
