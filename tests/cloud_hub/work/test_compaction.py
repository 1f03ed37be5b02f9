"""Closed days: nothing lost, nothing doubled, nobody waits."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest
from closing_factories import FIRST_DAY, NOW, ReadMeter, add_read_meter, count_rows, make_rows, series_of, view_of
from hub_factories import add_scans
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from cloud_hub.readings.service import Wanted, first_reading, read_around
from cloud_hub.registry.models import Meter, Point
from cloud_hub.work import compaction
from cloud_hub.work.compaction import Compacted, compact
from cloud_hub.work.partitions import make_closed_partitions, make_partitions
from demo.processes import wait_until

HOURLY_S = 3600.0
TWELVE_DAYS = 12 * 24


@pytest.fixture
def meter(engine: Engine) -> ReadMeter:
    return add_read_meter(engine, make_rows(TWELVE_DAYS), step_s=HOURLY_S)


def add_late(engine: Engine, meter: ReadMeter, rows: list[list[float]], *, hours: float, step_s: float = 60) -> None:
    with Session(engine) as session, session.begin():
        stored = session.get_one(Meter, meter.meter_id)
        points = [session.get_one(Point, point_id) for point_id in meter.point_ids]
        add_scans(session, stored, points, rows, start=FIRST_DAY + timedelta(hours=hours), step_s=step_s)


def test_readings_are_the_same_in_open_and_closed_days(engine: Engine, meter: ReadMeter) -> None:
    series, view = series_of(engine, meter), view_of(engine, meter)
    assert len(series[0]) == TWELVE_DAYS
    assert compact(engine, NOW) == Compacted(scans=9 * 24, days=9)
    assert series_of(engine, meter) == series
    assert view_of(engine, meter) == view
    assert count_rows(engine, "scans") == 3 * 24
    assert count_rows(engine, "point_days") == 9 * 4


@pytest.mark.usefixtures("meter")
def test_all_four_forms_are_used_by_what_is_tested_here(engine: Engine) -> None:
    compact(engine, NOW)
    query = "SELECT count(int2s), count(int4s), count(float4s), count(float8s), count(quality) FROM point_days"
    with engine.connect() as connection:
        assert all(connection.execute(text(query)).one())


def test_a_second_round_finds_nothing_to_do(engine: Engine, meter: ReadMeter) -> None:
    compact(engine, NOW)
    assert compact(engine, NOW) == Compacted()
    assert len(series_of(engine, meter)[0]) == TWELVE_DAYS


def test_late_scans_reopen_their_day_and_stand_where_they_were_observed(engine: Engine, meter: ReadMeter) -> None:
    compact(engine, NOW)
    add_late(engine, meter, [[1.5, 2.5, 3.5, 4.5]] * 3, hours=30.5)
    series, view = series_of(engine, meter), view_of(engine, meter)
    assert len(series[0]) == TWELVE_DAYS + 3
    assert compact(engine, NOW) == Compacted(scans=3, days=1)
    assert series_of(engine, meter) == series
    assert view_of(engine, meter) == view
    assert count_rows(engine, "point_days") == 9 * 4


def test_a_scan_that_came_twice_stays_twice_and_one_that_contradicts_it_too(engine: Engine, meter: ReadMeter) -> None:
    for value in (7.0, 7.0, 8.0):
        add_late(engine, meter, [[value] * 4], hours=30.5)
    series = series_of(engine, meter)
    compact(engine, NOW)
    for value in (6.0, 8.0):
        add_late(engine, meter, [[value] * 4], hours=30.5)
    compact(engine, NOW)
    assert len(series[0]) == TWELVE_DAYS + 3
    at = series[0][31][0]
    assert [value for ms, value, _ in series_of(engine, meter)[0] if ms == at] == [6.0, 7.0, 7.0, 8.0, 8.0]


def test_a_changed_configuration_gives_a_day_two_layouts_and_the_points_one_course(
    engine: Engine, meter: ReadMeter
) -> None:
    with Session(engine) as session, session.begin():
        stored = session.get_one(Meter, meter.meter_id)
        points = [session.get_one(Point, point_id) for point_id in reversed(meter.point_ids)]
        start = FIRST_DAY + timedelta(minutes=30)
        add_scans(session, stored, points, [[4.0, 3.0, 2.0, 1.0]] * 48, start=start, step_s=HOURLY_S)
    series, view = series_of(engine, meter), view_of(engine, meter)
    assert compact(engine, NOW).days == 11
    assert series_of(engine, meter) == series
    assert view_of(engine, meter) == view


def test_evenly_spaced_scans_need_no_column_of_times(engine: Engine, meter: ReadMeter) -> None:
    add_late(engine, meter, [[1.0] * 4], hours=30.5)
    compact(engine, NOW)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT step_ms, cardinality(offsets_ms) FROM scan_days ORDER BY day")).all()
    assert [tuple(row) for row in rows[:3]] == [(3_600_000, None), (None, 25), (3_600_000, None)]


def test_what_does_not_fit_its_layout_stays_as_it_is(engine: Engine, meter: ReadMeter) -> None:
    with engine.begin() as connection:
        for layout, values in ((9_999, "{1,2,3,4}"), (1, "{1,2,3}"), (1, "{1,2,3,NULL}")):
            connection.execute(
                text("INSERT INTO scans VALUES (:at, :meter, :layout, CAST(:values AS float8[]), NULL)"),
                {"at": FIRST_DAY, "meter": meter.meter_id, "layout": layout, "values": values},
            )
    compact(engine, NOW)
    assert compact(engine, NOW) == Compacted()
    assert count_rows(engine, "scans") == 3 * 24 + 3


def test_many_readings_are_closed_in_several_transactions(
    engine: Engine, meter: ReadMeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "VALUES_AT_ONCE", 4 * 40)  # less than two days
    series = series_of(engine, meter)
    assert compact(engine, NOW) == Compacted(scans=9 * 24, days=9)
    assert series_of(engine, meter) == series


def test_space_comes_back_when_a_month_is_closed(engine: Engine) -> None:
    make_partitions(engine, FIRST_DAY)
    meter = add_read_meter(engine, make_rows(3_000), step_s=300)
    size = text("SELECT pg_relation_size('scans_2026_02') + pg_indexes_size('scans_2026_02')")
    with engine.connect() as connection:
        before = connection.execute(size).scalar_one()
    compact(engine, NOW + timedelta(days=60))
    with engine.connect() as connection:
        assert connection.execute(size).scalar_one() < before / 10
    assert len(series_of(engine, meter)[0]) == 3_000


def test_readings_beside_a_stretch_are_found_in_open_and_closed_days(engine: Engine, meter: ReadMeter) -> None:
    hour_ms, start_ms = 3_600_000, int(FIRST_DAY.timestamp() * 1000)
    wanted = [
        [Wanted(meter.meter_id, meter.point_ids, start_ms + first * hour_ms, start_ms + end * hour_ms)]
        for first, end in ((0, 1), (24, 48), (9 * 24 - 2, 9 * 24 + 2), (9 * 24, 9 * 24 + 1), (500, 600), (-50, -49))
    ]

    def read() -> list[list[list[float]]]:
        with Session(engine) as session:
            found = [read_around(session, [one], beside=beside) for [one] in wanted for beside in (0, 1, 2, 30)]
        return [
            [*series.observed_at_ms.tolist(), *series.value.astype(str).tolist(), *series.quality.tolist()]
            for answer in found
            for series in answer.values()
        ]

    before = read()
    assert any(before)
    compact(engine, NOW)
    assert read() == before
    with Session(engine) as session:
        assert first_reading(session, meter.point_ids) == dict.fromkeys(meter.point_ids, FIRST_DAY)


def test_several_processes_close_each_day_once(engine: Engine) -> None:
    meters = [add_read_meter(engine, make_rows(TWELVE_DAYS), slug=f"m{n}", step_s=HOURLY_S) for n in range(4)]
    series = [series_of(engine, meter) for meter in meters]
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: compact(engine, NOW), range(4)))
    assert sum(one.scans for one in done) == 4 * 9 * 24
    assert [series_of(engine, meter) for meter in meters] == series


@contextmanager
def stalled(engine: Engine) -> Iterator[Future[Compacted]]:
    """Start a round and hold it where it has taken the scans and has not written them yet."""
    make_closed_partitions(engine, compaction.months_between(FIRST_DAY, NOW))
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'scan_days'::regclass")
    with ThreadPoolExecutor(1) as pool, engine.connect() as holder, engine.connect() as observer:
        holder.execute(text("LOCK TABLE scan_days IN SHARE MODE"))
        future = pool.submit(compact, engine, NOW)
        try:
            wait_until(lambda: observer.execute(waiting).scalar_one() == 1, 30, "compaction to wait")
            yield future
        finally:
            holder.rollback()
            future.exception()


def test_while_it_works_nobody_waits_and_readings_are_there_once(engine: Engine, meter: ReadMeter) -> None:
    series = series_of(engine, meter)
    with stalled(engine) as future:
        assert series_of(engine, meter) == series
        with engine.begin() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '1s'"))
            connection.execute(
                text("INSERT INTO scans SELECT :at, :meter, id, '{1,2,3,4}', NULL FROM layouts"),
                {"at": FIRST_DAY + timedelta(minutes=5), "meter": meter.meter_id},
            )
    assert future.result().scans == 9 * 24
    assert len(series_of(engine, meter)[0]) == TWELVE_DAYS + 1
    assert compact(engine, NOW) == Compacted(scans=1, days=1)
    assert len(series_of(engine, meter)[0]) == TWELVE_DAYS + 1


def test_killed_in_the_middle_it_has_changed_nothing_and_goes_on_next_time(engine: Engine, meter: ReadMeter) -> None:
    series = series_of(engine, meter)
    with stalled(engine) as future:
        with engine.connect() as connection:
            query = (
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted AND relation = 'scan_days'::regclass"
            )
            connection.execute(text(query))
        with pytest.raises(DBAPIError):
            future.result(30)
    assert series_of(engine, meter) == series
    assert count_rows(engine, "scans") == TWELVE_DAYS
    assert compact(engine, NOW).scans == 9 * 24
    assert series_of(engine, meter) == series


def test_readers_meet_compaction_at_any_moment_and_always_see_each_reading_once(
    engine: Engine, meter: ReadMeter
) -> None:
    series, stop, wrong = series_of(engine, meter), threading.Event(), []

    def read_again_and_again() -> None:
        while not stop.is_set():
            if series_of(engine, meter) != series:
                wrong.append(True)

    reader = threading.Thread(target=read_again_and_again, name="reader")
    reader.start()
    for open_days in range(10, 1, -1):
        compact(engine, NOW, open_days=open_days)
    stop.set()
    reader.join()
    assert not wrong
    assert count_rows(engine, "scans") == 3 * 24
