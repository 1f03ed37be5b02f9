import pytest

from cloud_hub.analysis.counting import (
    MeterFact,
    RegisterFact,
    count_group,
    count_meter,
    count_site,
    measures_of,
    without_heat_volumes,
)
from cloud_hub.analysis.model import Counted, Flow, Measure
from cloud_hub.energy.model import Direction

ENERGY, WATER, HEAT = Measure("active_energy", "Wh"), Measure("volume", "m3"), Measure("thermal_energy", "Wh")


def meter(id_: int, role: str = "other", parent: int | None = None) -> MeterFact:
    return MeterFact(id_, 1, role, parent)


def register(
    meter_id: int, direction: Direction = Direction.IMPORT, point_id: int | None = None, measure: Measure = ENERGY
) -> RegisterFact:
    return RegisterFact(meter_id, meter_id * 10 if point_id is None else point_id, measure, direction)


def by_flow(counted: tuple[Counted, ...]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for each in counted:
        found.setdefault(each.flow.value, []).append(each.meter_id)
    return found


def test_the_grid_meter_alone_is_the_import_of_its_site() -> None:
    meters = [meter(1, "grid"), meter(2, "heater"), meter(3, "lighting", parent=1)]
    counted = count_site(meters, [register(1), register(2), register(3)])
    assert by_flow(counted) == {"import": [1], "parents": [1], "subs": [2, 3]}


def test_without_a_grid_meter_those_without_a_parent_count() -> None:
    meters = [meter(1), meter(2, parent=1), meter(3, parent=2), meter(4)]
    counted = count_site(meters, [register(id_) for id_ in (1, 2, 3, 4)])
    assert by_flow(counted) == {"import": [1, 4], "parents": [1], "subs": [2]}


def test_a_parent_without_a_register_of_the_measure_hides_no_one() -> None:
    meters = [meter(1), meter(2, parent=1)]
    assert by_flow(count_site(meters, [register(2)])) == {"import": [2]}


def test_generation_and_batteries_stand_apart() -> None:
    meters = [meter(1, "grid"), meter(2, "pv"), meter(3, "battery"), meter(4, "pv")]
    registers = [
        register(1),
        register(1, Direction.EXPORT, 11),
        register(2),
        register(2, Direction.EXPORT, 21),
        register(3),
        register(3, Direction.EXPORT, 31),
        register(4),
    ]
    counted = count_site(meters, registers)
    assert by_flow(counted) == {
        "import": [1],
        "export": [1],
        "generation": [2, 4],
        "charge": [3],
        "discharge": [3],
    }
    assert [each.point_id for each in counted if each.flow is Flow.GENERATION] == [21, 40]


def test_two_grid_connections_add_up_and_one_below_the_other_does_not() -> None:
    meters = [meter(1, "grid"), meter(2, "grid"), meter(3, "grid", parent=2)]
    counted = count_site(meters, [register(id_) for id_ in (1, 2, 3)])
    assert by_flow(counted) == {"import": [1, 2], "parents": [1, 2], "subs": [3]}


def test_a_ring_of_parents_counts_one_of_them() -> None:
    meters = [meter(1, parent=2), meter(2, parent=1)]
    assert by_flow(count_site(meters, [register(1), register(2)]))["import"] == [1]


def test_a_meter_counts_by_itself_whatever_its_role_and_knows_its_subs() -> None:
    meters = [meter(1, "pv"), meter(2, parent=1), meter(3, parent=2)]
    counted = count_meter(1, meters, [register(1), register(1, Direction.EXPORT, 11), register(2), register(3)])
    assert by_flow(counted) == {"import": [1], "export": [1], "parents": [1], "subs": [2]}


def test_members_of_a_group_below_each_other_count_once() -> None:
    meters = [meter(1, "grid"), meter(2, "heater"), meter(3, parent=2), meter(4)]
    counted = count_group({2, 3, 4}, meters, [register(id_) for id_ in (1, 2, 3, 4)])
    assert by_flow(counted) == {"import": [2, 4], "parents": [2], "subs": [3]}


def test_a_register_that_runs_both_ways_is_no_import() -> None:
    assert by_flow(count_site([meter(1)], [register(1, Direction.NET)])) == {"net": [1]}


def test_the_volume_through_a_heat_meter_is_no_use_of_water() -> None:
    registers = [register(1, measure=HEAT), register(1, point_id=11, measure=WATER), register(2, measure=WATER)]
    kept = without_heat_volumes(registers)
    assert [(each.meter_id, each.measure) for each in kept] == [(1, HEAT), (2, WATER)]
    assert measures_of(kept) == (HEAT, WATER)


@pytest.mark.parametrize("count", [count_site, lambda meters, registers: count_group({1}, meters, registers)])
def test_without_registers_nothing_counts(count: object) -> None:
    assert callable(count)
    assert count([meter(1)], []) == ()
