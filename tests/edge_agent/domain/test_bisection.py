"""Halves of a refused request are asked until the bad points are known; everything else keeps being read."""

from hypothesis import given
from hypothesis import strategies as st
from site_factories import make_point

from edge_agent.domain.bisection import Bisection
from protocol.profile import ModbusSettings, Point
from protocol.site.read_plan import ReadRequest, plan_requests

SETTINGS = ModbusSettings(transports=("tcp",))


def make_points(*addresses: int, words: int = 1) -> list[Point]:
    return [make_point(f"p{a}", address=a, type="uint16" if words == 1 else "uint32") for a in addresses]


def one_request(points: list[Point]) -> ReadRequest:
    [request] = plan_requests(points, SETTINGS.model_copy(update={"max_hole": 124}), 1)
    return request


def touches(request: ReadRequest, bad: set[int]) -> bool:
    return not bad.isdisjoint(range(request.address, request.address + request.count))


def find_out(points: list[Point], bad: set[int]) -> tuple[Bisection, int]:
    """Play a device that refuses whatever touches a bad address."""
    bisection, questions = Bisection(one_request(points)), 0
    while (request := bisection.next_request) is not None:
        questions += 1
        (bisection.was_refused if touches(request, bad) else bisection.answered)()
    return bisection, questions


def names(requests: tuple[ReadRequest, ...]) -> list[str]:
    return [planned.point.name for request in requests for planned in request.points]


def test_one_bad_point_is_found_in_few_questions() -> None:
    bisection, questions = find_out(make_points(*range(64)), {21})
    assert [point.name for point in bisection.bad] == ["p21"]
    assert questions == 12
    fewest = bisection.fewest_requests(SETTINGS)
    assert [(request.address, request.count) for request in fewest] == [(0, 21), (22, 42)]


def test_value_of_several_registers_is_never_split() -> None:
    bisection, _ = find_out(make_points(0, 2, 4, 6, words=2), {3})
    assert [point.name for point in bisection.bad] == ["p2"]
    assert {request.count % 2 for request in bisection.proven_requests()} == {0}


def test_hole_that_the_device_refuses_is_no_longer_read_along() -> None:
    bisection, _ = find_out(make_points(0, 1, 5, 6), {3})
    assert bisection.bad == []
    assert [(request.address, request.count) for request in bisection.fewest_requests(SETTINGS)] == [(0, 2), (5, 2)]


def test_refused_point_alone_is_bad_at_once() -> None:
    bisection = Bisection(one_request(make_points(7)))
    assert (bisection.next_request, [point.name for point in bisection.bad]) == (None, ["p7"])


def test_bad_points_and_what_was_lost_since_are_asked_again() -> None:
    bisection, _ = find_out(make_points(*range(8)), {3})
    bisection.reconsider({"p6"})
    while bisection.next_request is not None:
        bisection.answered()
    assert bisection.bad == []
    assert sorted(names(bisection.proven_requests())) == [f"p{n}" for n in range(8)]


@given(
    addresses=st.sets(st.integers(0, 60), min_size=1, max_size=40),
    bad=st.sets(st.integers(0, 61), max_size=12),
    words=st.sampled_from([1, 2]),
)
def test_what_is_asked_in_the_end_is_answered_and_misses_only_what_is_bad(
    addresses: set[int], bad: set[int], words: int
) -> None:
    points = make_points(*sorted(address * words for address in addresses), words=words)
    if not touches(one_request(points), bad):
        return
    bisection, questions = find_out(points, bad)
    refused = {point.name for point in points if not bad.isdisjoint(range(point.address, point.address + point.words))}
    assert {point.name for point in bisection.bad} == refused
    assert all(not touches(request, bad) for request in bisection.proven_requests())
    kept = sorted(point.name for point in points if point.name not in refused)
    assert sorted(names(bisection.proven_requests())) == kept
    assert sorted(names(bisection.fewest_requests(SETTINGS))) == kept
    assert questions <= 2 * len(points)
