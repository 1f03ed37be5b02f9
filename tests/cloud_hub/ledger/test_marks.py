"""What is stored is marked, in the same transaction, in as few rows as tell where."""

from datetime import timedelta

import numpy as np
from ledger_factories import MONDAY, count_rows
from sqlalchemy import Engine, text

from cloud_hub.calendar.days import ms_of_instant
from cloud_hub.ledger.dirty import ScanSpan, mark, mark_scans

NOW_MS = ms_of_instant(MONDAY)
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def marks(engine: Engine) -> list[tuple[int, int, int]]:
    """Return the marks: meter, and first and last instant in milliseconds from now."""
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT meter_id, from_at, to_at FROM ledger_dirty ORDER BY 1, 2")).all()
    return [(row[0], ms_of_instant(row[1]) - NOW_MS, ms_of_instant(row[2]) - NOW_MS) for row in rows]


def span(meter_id: int, *offsets_ms: int) -> ScanSpan:
    return ScanSpan(meter_id, np.array([NOW_MS + offset for offset in offsets_ms], np.int64))


def test_stretches_of_a_meter_that_are_near_become_one_mark(engine: Engine) -> None:
    with engine.begin() as connection:
        mark_scans(connection, [span(7, -60_000, -120_000), span(7, -HOUR_MS), span(8, 0), span(9)], now=MONDAY)

    assert marks(engine) == [(7, -HOUR_MS, -60_000), (8, 0, 0)]


def test_a_backfill_beside_live_readings_keeps_a_mark_of_its_own(engine: Engine) -> None:
    with engine.begin() as connection:
        mark_scans(connection, [span(7, 0), span(7, -30 * DAY_MS, -29 * DAY_MS)], now=MONDAY)

    assert marks(engine) == [(7, -30 * DAY_MS, -29 * DAY_MS), (7, 0, 0)]


def test_a_rollback_takes_the_marks_back(engine: Engine) -> None:
    with engine.connect() as connection:
        mark(connection, [(7, NOW_MS, NOW_MS)])
        connection.rollback()

    assert count_rows(engine, "ledger_dirty") == 0


def test_readings_ahead_of_the_clock_and_from_before_2000_are_set_aside(engine: Engine) -> None:
    with engine.begin() as connection:
        mark_scans(connection, [span(7, 0, HOUR_MS, HOUR_MS + 1, -NOW_MS), span(7, 2 * DAY_MS)], now=MONDAY)
        mark_scans(connection, [span(7, 3 * DAY_MS)], now=MONDAY + timedelta(minutes=1))

    with engine.connect() as connection:
        rows = connection.execute(text("SELECT reason, readings, instants_ms FROM suspect_spans ORDER BY reason")).all()
    assert [tuple(row) for row in rows] == [
        ("future", 3, [NOW_MS + HOUR_MS + 1, NOW_MS + 2 * DAY_MS, NOW_MS + 3 * DAY_MS]),
        ("past", 1, [0]),
    ]
    assert (7, 0, HOUR_MS) in marks(engine)


def test_instants_beyond_the_calendar_do_no_harm(engine: Engine) -> None:
    with engine.begin() as connection:
        mark(connection, [(7, -(10**15), 10**18)])

    assert len(marks(engine)) == 1
