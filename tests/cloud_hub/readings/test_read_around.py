"""Readings in a stretch of time and beside it, of many points at once."""

from datetime import timedelta

import numpy as np
import pytest
from hub_factories import START, Reading, add_controller, add_meter, add_point, add_scans, add_site
from sqlalchemy.orm import Session

from cloud_hub.readings.service import Wanted, first_reading, read_around
from cloud_hub.registry.models import Meter, Point
from protocol.quality import Quality

START_MS = int(START.timestamp() * 1000)


@pytest.fixture
def meter(session: Session) -> Meter:
    return add_meter(session, add_controller(session, add_site(session)), period_s=1.0)


@pytest.fixture
def point(session: Session, meter: Meter) -> Point:
    return add_point(session, meter)


def around(
    session: Session, meter: Meter, points: list[Point], *, first: int, end: int, beside: int = 1
) -> dict[int, list[tuple[int, float]]]:
    """Read; instants are in seconds since START."""
    wanted = Wanted(meter.id, [point.id for point in points], START_MS + first * 1000, START_MS + end * 1000)
    answer = read_around(session, [wanted], beside=beside)
    return {
        point_id: list(zip(((series.observed_at_ms - START_MS) // 1000).tolist(), series.value.tolist(), strict=True))
        for point_id, series in answer.items()
    }


def test_a_stretch_comes_with_the_nearest_readings_beside_it(session: Session, meter: Meter, point: Point) -> None:
    add_scans(session, meter, [point], [[float(n)] for n in range(10)])
    assert around(session, meter, [point], first=4, end=6)[point.id] == [(3, 3.0), (4, 4.0), (5, 5.0), (6, 6.0)]
    assert [at for at, _ in around(session, meter, [point], first=4, end=6, beside=3)[point.id]] == list(range(1, 9))
    assert [at for at, _ in around(session, meter, [point], first=4, end=6, beside=0)[point.id]] == [4, 5]


def test_the_readings_beside_it_may_be_months_away(session: Session, meter: Meter, point: Point) -> None:
    add_scans(session, meter, [point], [[1.0]], start=START - timedelta(days=400))
    add_scans(session, meter, [point], [[2.0]], start=START + timedelta(days=100))
    far = [(-400 * 86_400, 1.0), (100 * 86_400, 2.0)]
    assert around(session, meter, [point], first=0, end=60)[point.id] == far


def test_beside_the_stretch_only_a_value_counts_and_within_it_everything(
    session: Session, meter: Meter, point: Point
) -> None:
    missing: Reading = (None, Quality.TIMEOUT)
    add_scans(session, meter, [point], [[1.0], [missing], [missing], [4.0], [missing], [6.0]])
    found = around(session, meter, [point], first=2, end=4)[point.id]
    assert [at for at, _ in found] == [0, 2, 3, 5]
    assert np.isnan(found[1][1])


def test_each_meter_has_a_stretch_of_its_own(session: Session, meter: Meter, point: Point) -> None:
    other = add_meter(session, add_controller(session, add_site(session, "south"), "south-1"), period_s=1.0)
    theirs = [add_point(session, other, "a"), add_point(session, other, "b"), add_point(session, other, "never_read")]
    add_scans(session, meter, [point], [[float(n)] for n in range(5)])
    add_scans(session, other, theirs[:2], [[float(n), -float(n)] for n in range(5)])
    answer = read_around(
        session,
        [
            Wanted(meter.id, [point.id], START_MS, START_MS + 1000),
            Wanted(other.id, [one.id for one in theirs], START_MS + 3000, START_MS + 4000),
        ],
        beside=1,
    )
    assert {point_id: series.value.tolist() for point_id, series in answer.items()} == {
        point.id: [0.0, 1.0],
        theirs[0].id: [2.0, 3.0, 4.0],
        theirs[1].id: [-2.0, -3.0, -4.0],
        theirs[2].id: [],
    }


def test_a_changed_configuration_never_shifts_a_column(session: Session, meter: Meter, point: Point) -> None:
    other = add_point(session, meter, "voltage_l1_n")
    add_scans(session, meter, [point, other], [[1.0, 230.0]])
    add_scans(session, meter, [other, point], [[231.0, 2.0]], start=START + timedelta(seconds=1))
    add_scans(session, meter, [other], [[232.0]], start=START + timedelta(seconds=2))
    add_scans(session, meter, [point, other], [[4.0, 233.0]], start=START + timedelta(seconds=3))
    found = around(session, meter, [point, other], first=1, end=2)
    assert found == {point.id: [(0, 1.0), (1, 2.0), (3, 4.0)], other.id: [(0, 230.0), (1, 231.0), (2, 232.0)]}


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_contradicting_readings_of_one_instant_all_come_in_an_order_of_their_own(
    session: Session, meter: Meter, point: Point, order: list[int]
) -> None:
    for n in order:
        add_scans(session, meter, [point], [[[7.0, 5.0, 6.0][n]]])
    assert around(session, meter, [point], first=0, end=1)[point.id] == [(0, 5.0), (0, 6.0), (0, 7.0)]
    assert around(session, meter, [point], first=1, end=2)[point.id] == [(0, 5.0), (0, 6.0), (0, 7.0)]


def test_nothing_wanted_is_nothing_read(session: Session) -> None:
    assert read_around(session, [], beside=2) == {}


def test_the_first_reading_is_the_first_with_a_value(session: Session, meter: Meter, point: Point) -> None:
    never = add_point(session, meter, "never_read")
    add_scans(session, meter, [point], [[(None, Quality.TIMEOUT)], [2.0], [3.0]])
    assert first_reading(session, [point.id, never.id]) == {point.id: START + timedelta(seconds=1)}
