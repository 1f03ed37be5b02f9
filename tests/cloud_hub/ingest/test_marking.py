"""What is stored is marked for recomputing in the same transaction; what cannot be so yet is set aside."""

import time

from ingest_factories import START_MS, commit, make_entries, make_payload, register, stored_values
from sqlalchemy import Engine, text

from protocol.scans import Entry, Scan


def dirty_rows(engine: Engine) -> list[tuple[int, int]]:
    """Return the stretches that are to be recomputed, in seconds since the first scan of the factories."""
    query = text("SELECT extract(epoch FROM from_at), extract(epoch FROM to_at) FROM ledger_dirty ORDER BY id")
    with engine.connect() as connection:
        start = START_MS // 1000
        return [(int(first) - start, int(last) - start) for first, last in connection.execute(query)]


def test_what_is_stored_is_to_be_recomputed_by_the_same_transaction(engine: Engine) -> None:
    register(engine)
    commit(engine, make_payload(make_entries(3, 9)), make_payload(make_entries(10, 12)))
    assert dirty_rows(engine) == [(3, 12)]


def test_a_repetition_changes_nothing_and_asks_for_nothing(engine: Engine) -> None:
    register(engine)
    commit(engine, make_payload(make_entries(1, 5)))
    commit(engine, make_payload(make_entries(1, 5)))
    commit(engine, make_payload(make_entries(4, 8)))
    assert dirty_rows(engine) == [(1, 5), (6, 8)]


def test_scans_from_the_future_are_stored_and_set_aside(engine: Engine) -> None:
    register(engine)
    ahead_ms = time.time_ns() // 1_000_000 + 90 * 86_400_000
    scan = Scan(0, ahead_ms, (1.0, 2.0, 3.0))
    commit(engine, make_payload([Entry(1, scan)]))
    assert stored_values(engine) == [1.0]
    with engine.connect() as connection:
        row = connection.execute(text("SELECT reason, readings, resolved_at FROM suspect_spans")).one()
    assert tuple(row) == ("future", 1, None)
