"""The ledger follows the readings, whenever and however they come."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import pytest
from ledger_factories import (
    HALF_HOUR,
    MONDAY,
    add_counted,
    amounts,
    climb,
    content,
    count_rows,
    quality_names,
    read,
    recompute,
    store,
)
from sqlalchemy import Engine, text

from cloud_hub.ledger import recompute as recompute_module
from cloud_hub.ledger.recompute import recompute_all, recompute_some
from cloud_hub.ledger.silent import mark_silent

TUESDAY = MONDAY + timedelta(days=1)


def test_readings_become_intervals_with_their_energy(engine: Engine) -> None:
    counted = add_counted(engine)
    store(engine, counted, climb(MONDAY, 49))

    recompute(engine, TUESDAY + timedelta(minutes=5))

    day = read(engine, counted, MONDAY.date())
    assert amounts(day) == [100] * 48
    assert quality_names(day) == ["measured"] * 48
    assert count_rows(engine, "ledger_dirty") == 0


def test_an_interval_enters_the_ledger_when_it_has_ended(engine: Engine) -> None:
    counted = add_counted(engine)
    store(engine, counted, climb(MONDAY, 4))

    recompute(engine, MONDAY + 3 * HALF_HOUR)

    assert len(read(engine, counted, MONDAY.date())) == 3


def test_nothing_changed_writes_nothing(engine: Engine) -> None:
    counted = add_counted(engine)
    store(engine, counted, climb(MONDAY, 49))
    recompute(engine, TUESDAY)
    before = read(engine, counted, MONDAY.date())
    store(engine, counted, climb(MONDAY, 49))  # the same readings once more

    done = recompute_all(engine, TUESDAY)

    assert (done.meters, done.intervals) == (1, 0)
    assert read(engine, counted, MONDAY.date()).known_us.tolist() == before.known_us.tolist()
    assert count_rows(engine, "ledger_superseded") == 0


def test_late_readings_replace_the_estimate_and_its_history_stays(engine: Engine) -> None:
    counted = add_counted(engine)
    readings = climb(MONDAY, 49)
    missed = readings[10:20]
    store(engine, counted, readings[:10] + readings[20:])
    recompute(engine, TUESDAY)
    guessed = read(engine, counted, MONDAY.date())
    assert "estimated" in quality_names(guessed)
    assert sum(amounts(guessed)) == 4800  # known in total all the same
    between = server_clock(engine)

    store(engine, counted, missed)
    recompute(engine, TUESDAY)

    assert quality_names(read(engine, counted, MONDAY.date())) == ["measured"] * 48
    as_then = read(engine, counted, MONDAY.date(), known=between)
    assert quality_names(as_then) == quality_names(guessed)
    assert amounts(as_then) == amounts(guessed)
    assert len(read(engine, counted, MONDAY.date(), known=between - timedelta(days=1))) == 0


def test_silence_is_noticed_and_made_good_when_the_register_comes_back(engine: Engine) -> None:
    counted = add_counted(engine)
    store(engine, counted, climb(MONDAY, 11))
    recompute(engine, MONDAY + timedelta(hours=5))
    evening = MONDAY + timedelta(hours=12)

    assert mark_silent(engine, evening) == 1
    recompute(engine, evening)

    day = read(engine, counted, MONDAY.date())
    assert quality_names(day) == ["measured"] * 10 + ["missing"] * 10  # until two hours before: readings may be late
    assert mark_silent(engine, evening) == 0

    store(engine, counted, [(MONDAY + timedelta(hours=12), 3400.0)])
    recompute(engine, evening)
    day = read(engine, counted, MONDAY.date())
    assert sum(amounts(day)) == 2400
    assert "missing" not in quality_names(day)


def test_days_and_months_follow_the_local_calendar(engine: Engine) -> None:
    counted = add_counted(engine, time_zone="America/Los_Angeles")
    start = datetime(2026, 2, 27, 8, tzinfo=UTC)  # midnight there
    store(engine, counted, climb(start, 3 * 48 + 1))

    recompute(engine, start + timedelta(days=3))

    with engine.connect() as connection:
        months = connection.execute(text("SELECT month, total_micro, days, completeness FROM ledger_months")).all()
    assert [tuple(month) for month in months] == [
        (date(2026, 2, 1), 9_600_000_000, 2, 1000),
        (date(2026, 3, 1), 4_800_000_000, 1, 1000),
    ]


@pytest.mark.parametrize(
    ("time_zone", "day", "interval_s", "intervals"),
    [
        pytest.param("Europe/London", date(2026, 3, 29), 1800, 46, id="spring"),
        pytest.param("Europe/London", date(2026, 10, 25), 1800, 50, id="autumn"),
        pytest.param("America/Los_Angeles", date(2026, 3, 8), 3600, 23, id="west of Greenwich, hours"),
        pytest.param("Asia/Kathmandu", date(2026, 3, 3), 900, 96, id="quarter-hour zone, quarter hours"),
        pytest.param("Asia/Kolkata", date(2026, 3, 3), 300, 288, id="half-hour zone, 5 minutes"),
        pytest.param("Australia/Lord_Howe", date(2026, 4, 5), 1800, 49, id="a clock that moves by half an hour"),
    ],
)
def test_every_local_day_has_all_of_its_intervals(
    engine: Engine, time_zone: str, day: date, interval_s: int, intervals: int
) -> None:
    counted = add_counted(engine, time_zone=time_zone, interval_s=interval_s, period_s=300)
    start = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(days=1)
    readings = climb(start, 3 * 288, step=timedelta(minutes=5), rise=10)
    store(engine, counted, readings)

    recompute(engine, readings[-1][0])

    columns = read(engine, counted, day)
    assert len(columns) == intervals
    assert sum(amounts(columns)) == 10 * int(columns.end_ms[-1] - columns.start_ms[0]) // 300_000
    assert quality_names(columns) == ["measured"] * intervals


def test_a_failure_in_the_middle_loses_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = add_counted(engine)
    store(engine, counted, climb(MONDAY, 49))

    def fall_over(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(recompute_module, "replace_findings", fall_over)  # after the rows, before the commit
        with pytest.raises(RuntimeError, match="killed"):
            recompute_some(engine, TUESDAY)
    assert count_rows(engine, "ledger_days") == 0
    assert count_rows(engine, "ledger_dirty") == 1

    recompute(engine, TUESDAY)
    assert amounts(read(engine, counted, MONDAY.date())) == [100] * 48


def test_two_workers_share_the_meters_and_do_none_twice(engine: Engine) -> None:
    fleet = [add_counted(engine, f"site-{number}") for number in range(6)]
    for counted in fleet:
        store(engine, counted, climb(MONDAY, 49))

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: [recompute_some(engine, TUESDAY, meters_max=1) for _ in range(6)], range(2)))

    recompute(engine, TUESDAY)  # one of the two may have found all others taken
    assert sum(done.meters for some in both for done in some) <= len(fleet)
    assert count_rows(engine, "ledger_superseded") == 0
    for counted in fleet:
        assert amounts(read(engine, counted, MONDAY.date())) == [100] * 48


def test_a_meter_that_another_worker_is_at_is_passed_over(engine: Engine) -> None:
    counted = add_counted(engine)
    store(engine, counted, climb(MONDAY, 49))
    with engine.begin() as other:
        other.execute(
            text("SELECT pg_advisory_xact_lock((CAST(27751 AS bigint) << 48) | :meter)"), {"meter": counted.meter_id}
        )

        assert recompute_some(engine, TUESDAY).meters == 0

    assert recompute_some(engine, TUESDAY).meters == 1


def test_months_of_changes_go_through_piece_by_piece_to_the_same_end(engine: Engine) -> None:
    counted = add_counted(engine, period_s=3600, interval_s=3600)
    readings = climb(MONDAY, 150 * 24, step=timedelta(hours=1))
    store(engine, counted, readings)

    done = recompute_all(engine, readings[-1][0])

    assert done.meters > 1  # the one meter, several times
    assert set(amounts(read(engine, counted, MONDAY.date(), date(2026, 7, 20)))) == {100}


def test_measured_days_that_come_late_shape_the_estimates_after_them(engine: Engine) -> None:
    counted = add_counted(engine)
    steep = [(MONDAY + n * HALF_HOUR, 1000.0 + 200 * (n // 48) * 24 + 200 * min(n % 48, 24)) for n in range(21 * 48)]
    gap_start, gap_end = 15 * 48 + 4, 15 * 48 + 40
    store(engine, counted, steep[14 * 48 : gap_start] + steep[gap_end:])
    end = steep[-1][0]
    recompute(engine, end)
    store(engine, counted, steep[: 14 * 48])
    recompute(engine, end)
    late = content(engine)

    with engine.begin() as connection:
        for table in ("scans", "ledger_days", "ledger_months", "ledger_findings", "ledger_superseded"):
            connection.execute(text(f"DELETE FROM {table}"))
    store(engine, counted, steep[:gap_start] + steep[gap_end:])
    recompute(engine, end)

    assert content(engine) == late


def server_clock(engine: Engine) -> datetime:
    with engine.connect() as connection:
        return connection.execute(text("SELECT clock_timestamp()")).scalar_one()  # type: ignore[no-any-return]  # text
