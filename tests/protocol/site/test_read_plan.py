from collections.abc import Iterable, Iterator

import pytest
from factories import make_point
from hypothesis import given
from hypothesis import strategies as st

from protocol.library import get_profile, profile_ids
from protocol.profile import ModbusSettings, Point, Table
from protocol.site.read_plan import ReadRequest, plan_reads

TCP = ModbusSettings(transports=("tcp",))
TYPES = {1: "uint16", 2: "uint32", 4: "uint64"}


def make_points(*spans: tuple[int, int]) -> list[Point]:
    return [
        make_point(f"point_{index}", address=address, type=TYPES[words]) for index, (address, words) in enumerate(spans)
    ]


def make_settings(
    *, longest: int = 125, max_hole: int = 16, forbidden: tuple[tuple[int, int], ...] = ()
) -> ModbusSettings:
    return ModbusSettings(
        transports=("tcp",), max_registers_per_read=longest, max_hole=max_hole, forbidden_ranges=forbidden
    )


def spans_of(plan: tuple[ReadRequest, ...]) -> list[tuple[int, int]]:
    return [(request.address, request.count) for request in plan]


def test_neighbours_share_a_request() -> None:
    assert spans_of(plan_reads(make_points((10, 2), (0, 2), (2, 2)), TCP, 1)) == [(0, 12)]


def test_words_are_cut_out_where_the_plan_says() -> None:
    (request,) = plan_reads(make_points((7, 2), (5, 1)), TCP, 1)
    answer = [55, 66, 77, 78]
    assert {planned.point.name: list(planned.words_of(answer)) for planned in request.points} == {
        "point_0": [77, 78],
        "point_1": [55],
    }


def test_hole_above_the_limit_is_asked_around() -> None:
    points = make_points((0, 2), (5, 2))
    assert spans_of(plan_reads(points, make_settings(max_hole=3), 1)) == [(0, 7)]
    assert spans_of(plan_reads(points, make_settings(max_hole=2), 1)) == [(0, 2), (5, 2)]


def test_value_is_never_split() -> None:
    assert spans_of(plan_reads(make_points((0, 2), (2, 2), (4, 2)), make_settings(longest=5), 1)) == [(0, 4), (4, 2)]


def test_forbidden_range_is_asked_around() -> None:
    plan = plan_reads(make_points((0, 2), (5, 2)), make_settings(forbidden=((3, 3),)), 1)
    assert spans_of(plan) == [(0, 2), (5, 2)]


def test_tables_and_unit_ids_are_asked_apart() -> None:
    points = [
        make_point("holding", address=0),
        make_point("input", address=1, table="input_register"),
        make_point("coil", address=2, table="coil", type="bool", quantity="flag"),
        make_point("other", address=3, unit_id=9),
        make_point("same", address=4, unit_id=7),
    ]
    plan = plan_reads(points, TCP, 7)
    assert [(request.unit_id, request.table) for request in plan] == [
        (7, Table.COIL),
        (7, Table.HOLDING_REGISTER),
        (7, Table.INPUT_REGISTER),
        (9, Table.HOLDING_REGISTER),
    ]
    assert [planned.point.name for planned in plan[1].points] == ["holding", "same"]


def test_bit_tables_have_a_limit_of_their_own() -> None:
    coils = [
        make_point(f"coil_{n}", address=n * 10, table="coil", type="bool", quantity="flag", unit="") for n in range(201)
    ]
    assert spans_of(plan_reads(coils, TCP, 1)) == [(0, 1991), (2000, 1)]


@pytest.mark.parametrize(
    ("point", "settings", "fault"),
    [
        (make_point(access="w"), TCP, "write-only"),
        (make_point(type="uint64"), make_settings(longest=2), "takes 4 words, and the device answers at most 2"),
        (make_point(address=5), make_settings(forbidden=((4, 6),)), "address 5 lies in a forbidden range"),
        (make_point(exponent_point="exponent"), TCP, "exponent point 'exponent' is not read along"),
    ],
    ids=["write-only", "too long", "forbidden", "no exponent"],
)
def test_point_that_cannot_be_read_is_refused_by_name(point: Point, settings: ModbusSettings, fault: str) -> None:
    with pytest.raises(ValueError, match=f"point 'voltage_l1_n' cannot be read: .*{fault}"):
        plan_reads([point], settings, 1)


@pytest.mark.parametrize("profile_id", [name for name in profile_ids() if get_profile(name).modbus is not None])
def test_every_profile_of_the_library_plans(profile_id: str) -> None:
    profile = get_profile(profile_id)
    assert profile.modbus is not None
    readable = [point for point in profile.points if point.is_readable]
    plan = plan_reads(profile.with_exponents(readable), profile.modbus, 1)
    check_plan(plan, readable, profile.modbus)


def test_meter_that_refuses_holes_is_asked_block_by_block() -> None:
    # The SDM630's manual: a read across registers that do not exist fails on some firmware.
    profile = get_profile("eastron-sdm630")
    assert profile.modbus is not None
    for request in plan_reads(profile.points, profile.modbus, 1):
        assert sum(planned.point.words for planned in request.points) == request.count


def points_and_settings() -> st.SearchStrategy[tuple[list[Point], ModbusSettings]]:
    spans = st.lists(st.tuples(st.integers(0, 24), st.sampled_from([1, 2, 4])), max_size=7)
    settings = st.builds(
        make_settings,
        longest=st.integers(4, 12),
        max_hole=st.integers(0, 5),
        forbidden=st.lists(st.integers(0, 28).map(lambda address: (address, address)), max_size=2).map(tuple),
    )
    return st.tuples(spans, settings).map(lambda drawn: (allowed(make_points(*drawn[0]), drawn[1]), drawn[1]))


def allowed(points: Iterable[Point], settings: ModbusSettings) -> list[Point]:
    return [
        point
        for point in points
        if all(not point.address <= first < point.address + point.words for first, _ in settings.forbidden_ranges)
    ]


@given(points_and_settings())
def test_plan_is_legal_covers_each_point_once_and_has_no_request_too_many(
    drawn: tuple[list[Point], ModbusSettings],
) -> None:
    points, settings = drawn
    plan = plan_reads(points, settings, 1)
    check_plan(plan, points, settings)
    assert len(plan) == fewest_requests(points, settings)


@given(points_and_settings(), st.randoms(use_true_random=False))
def test_order_of_the_points_does_not_matter(drawn: tuple[list[Point], ModbusSettings], chance: object) -> None:
    points, settings = drawn
    shuffled = sorted(points, key=lambda _: chance.random())  # type: ignore[attr-defined] # hypothesis types it as object
    assert spans_of(plan_reads(shuffled, settings, 1)) == spans_of(plan_reads(points, settings, 1))


def check_plan(plan: tuple[ReadRequest, ...], points: list[Point], settings: ModbusSettings) -> None:
    planned = [planned.point.name for request in plan for planned in request.points]
    assert sorted(planned) == sorted(point.name for point in points)
    for request in plan:
        group = [planned.point for planned in request.points]
        assert is_legal(group, settings)
        assert (request.address, request.count) == span(group)
        assert all(planned.offset == planned.point.address - request.address for planned in request.points)


def span(group: list[Point]) -> tuple[int, int]:
    start = min(point.address for point in group)
    return start, max(point.address + point.words for point in group) - start


def is_legal(group: list[Point], settings: ModbusSettings) -> bool:
    """Judge a request register by register, the slow and obvious way."""
    start, count = span(group)
    bits = group[0].table.holds_bits
    if count > (settings.max_bits_per_read if bits else settings.max_registers_per_read):
        return False
    if any(
        first <= address <= last for first, last in settings.forbidden_ranges for address in range(start, start + count)
    ):
        return False
    wanted = {address for point in group for address in range(point.address, point.address + point.words)}
    hole = 0
    for address in range(start, start + count):
        hole = 0 if address in wanted else hole + 1
        if hole > settings.max_hole:
            return False
    return True


def fewest_requests(points: list[Point], settings: ModbusSettings) -> int:
    """Try every way to divide the points into requests."""
    return min(len(groups) for groups in partitions(points) if all(is_legal(group, settings) for group in groups))


def partitions(points: list[Point]) -> Iterator[list[list[Point]]]:
    if not points:
        yield []
        return
    first, *rest = points
    for groups in partitions(rest):
        yield [[first], *groups]
        for index, group in enumerate(groups):
            yield [*groups[:index], [first, *group], *groups[index + 1 :]]
