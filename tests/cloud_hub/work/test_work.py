"""What the hub does by the clock: partitions ahead and for late data, and the end of what is no longer asked for."""

import threading
from datetime import UTC, datetime

from ingest_factories import commit, make_entries, make_payload, register, stored_values
from sqlalchemy import Engine, text
from structlog.testing import capture_logs

from cloud_hub.work.partitions import Month, make_partitions
from cloud_hub.work.worker import MORE, Duty, purge, run

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def scans_per_table(engine: Engine) -> dict[str, int]:
    query = text("SELECT tableoid::regclass::text, count(*) FROM scans GROUP BY 1")
    with engine.connect() as connection:
        return {str(table): int(count) for table, count in connection.execute(query)}


def test_months_count_across_the_year() -> None:
    assert Month(2026, 11).plus(3) == Month(2027, 2)
    assert Month(2026, 12).plus(1).start == datetime(2027, 1, 1, tzinfo=UTC)
    assert Month.of(NOW).partition_of("scans") == "scans_2026_11"


def test_partitions_are_made_ahead_once(engine: Engine) -> None:
    assert make_partitions(engine, NOW) == ["scans_2026_11", "scans_2026_12", "scans_2027_01", "scans_2027_02"]
    assert make_partitions(engine, NOW) == []


def test_late_scans_move_into_a_partition_of_their_own_and_none_is_lost(engine: Engine) -> None:
    register(engine)
    commit(engine, make_payload(make_entries(1, 5)))
    assert scans_per_table(engine) == {"scans_default": 5}
    assert "scans_2026_09" in make_partitions(engine, NOW)
    assert scans_per_table(engine) == {"scans_2026_09": 5}
    commit(engine, make_payload(make_entries(6, 7)))
    assert scans_per_table(engine) == {"scans_2026_09": 7}
    assert stored_values(engine) == [1, 2, 3, 4, 5, 6, 7]


def test_scans_of_an_impossible_time_get_no_partition(engine: Engine) -> None:
    with engine.begin() as connection:
        for instant in ("2001-01-01", "2099-01-01"):
            connection.execute(
                text("INSERT INTO scans VALUES (CAST(:at AS timestamptz), 1, 1, '{1}', NULL)"), {"at": instant}
            )
    make_partitions(engine, NOW)
    assert scans_per_table(engine) == {"scans_default": 2}


def test_a_new_partition_has_the_index_of_the_others(engine: Engine) -> None:
    make_partitions(engine, NOW)
    with engine.connect() as connection:
        query = text("SELECT indexdef FROM pg_indexes WHERE tablename = 'scans_2026_11'")
        assert "(meter_id, observed_at)" in connection.execute(query).scalar_one()


def test_digests_that_nobody_can_ask_for_are_purged(engine: Engine) -> None:
    register(engine)
    commit(engine, make_payload(make_entries(1, 5)), make_payload(make_entries(6, 7)))
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE batch_digests SET received_at = now() - interval '121 days' WHERE last_sequence = 5")
        )
    purge(engine)
    with engine.connect() as connection:
        assert connection.scalars(text("SELECT last_sequence FROM batch_digests")).all() == [7]


def test_a_duty_that_fails_hinders_no_other(engine: Engine) -> None:
    stopping, failed = threading.Event(), threading.Event()

    def fail(_engine: Engine) -> None:
        failed.set()
        raise ValueError("a fault of ours")

    def succeed(_engine: Engine) -> None:
        if failed.wait(30):
            stopping.set()

    with capture_logs() as logs:
        run(engine, stopping, [Duty("first", 60, fail), Duty("second", 60, succeed)])
    assert failed.is_set()
    assert [entry["duty"] for entry in logs if entry["event"] == "duty_failed"] == ["first"]


def test_a_duty_that_takes_long_keeps_no_other_waiting(engine: Engine) -> None:
    stopping, is_over = threading.Event(), threading.Event()
    waited: list[bool] = []

    def finish(_engine: Engine) -> None:
        is_over.set()
        stopping.set()

    run(engine, stopping, [Duty("long", 60, lambda _: waited.append(is_over.wait(30))), Duty("short", 60, finish)])
    assert is_over.is_set()
    assert False not in waited


def test_a_duty_with_more_to_do_comes_again_at_once(engine: Engine) -> None:
    stopping = threading.Event()
    rounds: list[int] = []

    def do_a_part(_engine: Engine) -> object:
        rounds.append(len(rounds))
        if len(rounds) < 3:
            return MORE
        stopping.set()
        return None

    run(engine, stopping, [Duty("parts", 3600, do_a_part)])
    assert rounds == [0, 1, 2]
