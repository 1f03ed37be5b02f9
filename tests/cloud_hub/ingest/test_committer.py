"""Each scan is stored once, whatever comes twice, late, damaged or at odds; and the ack says what is held."""

import zlib
from collections.abc import Sequence

from factories import make_manifest
from ingest_factories import (
    CONTROLLER,
    MANIFEST,
    STREAM,
    commit,
    gap_rows,
    make_entries,
    make_gap,
    make_payload,
    make_scan,
    quarantine_rows,
    register,
    stored_values,
    stream_sets,
)
from sqlalchemy import Engine, text

from cloud_hub.ingest.committer import Committed, commit_group
from cloud_hub.ingest.prepare import ATTEMPTS_MAX, ReceivedBatch, begin_another_attempt, begin_attempts, put_aside
from protocol.codec import decode_envelope, decompress_body
from protocol.messages import StreamState
from protocol.ranges import RangeSet
from protocol.scans import Entry, GapReason, Scan


def state_of(committed: Sequence[Committed], stream: bytes = STREAM) -> StreamState:
    (state,) = (state for state in committed[-1].acks[CONTROLLER].streams if state.stream_id == stream)
    return state


def test_a_batch_is_stored_and_acknowledged(engine: Engine) -> None:
    register(engine)
    done = commit(engine, make_payload(make_entries(1, 5)))
    assert stored_values(engine) == [1, 2, 3, 4, 5]
    assert state_of(done).committed == RangeSet([(1, 5)])
    assert (done[0].stored, done[0].readings, done[0].acks[CONTROLLER].incarnation) == (5, 15, 1)


def test_a_batch_delivered_twice_is_stored_once_and_acknowledged_twice(engine: Engine) -> None:
    register(engine)
    payload = make_payload(make_entries(1, 5))
    commit(engine, payload, payload)
    done = commit(engine, payload)
    assert stored_values(engine) == [1, 2, 3, 4, 5]
    assert state_of(done).committed == RangeSet([(1, 5)])
    assert quarantine_rows(engine) == []


def test_overlapping_batches_in_any_order_store_each_number_once(engine: Engine) -> None:
    register(engine)
    commit(engine, make_payload(make_entries(4, 8)), make_payload(make_entries(1, 5)))
    commit(engine, make_payload(make_entries(1, 12)))
    assert stored_values(engine) == list(range(1, 13))
    assert stream_sets(engine)[0] == "{[1,13)}"


def test_streams_and_layouts_are_kept_apart(engine: Engine) -> None:
    register(engine)
    other = [Entry(1, make_scan(1, value=100.0, layout=1))]
    commit(engine, make_payload(make_entries(1, 2)), make_payload(other, stream=b"t" * 16))
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT m.slug, cardinality(s.values) FROM scans s JOIN meters m ON m.id = s.meter_id ORDER BY 1, 2")
        ).all()
    assert [tuple(row) for row in rows] == [("meter-0", 3), ("meter-0", 3), ("meter-1", 2)]


def test_the_view_shows_a_row_per_reading_and_no_value_where_there_is_none(engine: Engine) -> None:
    register(engine)
    commit(engine, make_payload([Entry(1, Scan(0, 1_790_000_000_000, (None, 5.5, None), (1, 0, 258)))]))
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT p.name, r.value, r.quality FROM readings r JOIN points p ON p.id = r.point_id ORDER BY 1")
        ).all()
    assert [tuple(row) for row in rows] == [("voltage_0", None, 1), ("voltage_1", 5.5, 0), ("voltage_2", None, 258)]


def test_the_newest_scan_is_the_one_to_show_however_late_others_come(engine: Engine) -> None:
    register(engine)
    for first in (5, 1, 9):
        commit(engine, make_payload(make_entries(first, first + 3)))
    commit(engine, make_payload([Entry(20, Scan(0, 1_790_000_000_000, (0.0, 0.0, 0.0)))]))
    with engine.connect() as connection:
        assert set(connection.scalars(text("SELECT value FROM point_latest"))) == {12.0}


def test_gap_records_are_acknowledged_like_data_and_give_way_to_it(engine: Engine) -> None:
    register(engine)
    done = commit(engine, make_payload([make_gap(1, 10)]))
    assert state_of(done).committed == RangeSet([(1, 10)])
    commit(engine, make_payload(make_entries(4, 5)))
    assert stream_sets(engine) == ("{[4,6)}", "{[1,4),[6,11)}", "{}")
    assert gap_rows(engine) == [("[1,4)", GapReason.THINNED), ("[6,11)", GapReason.THINNED)]
    assert stored_values(engine) == [4, 5]


def test_a_gap_record_never_takes_the_place_of_data(engine: Engine) -> None:
    register(engine)
    commit(engine, make_payload(make_entries(1, 5)))
    commit(engine, make_payload([make_gap(1, 7)]))
    assert stream_sets(engine) == ("{[1,6)}", "{[6,8)}", "{}")
    assert gap_rows(engine) == [("[6,8)", GapReason.THINNED)]


def test_a_contradiction_is_kept_apart_and_the_first_commit_stands(engine: Engine) -> None:
    register(engine)
    commit(engine, make_payload(make_entries(1, 5)))
    done = commit(engine, make_payload(make_entries(1, 5, offset=0.5)))
    assert stored_values(engine) == [1, 2, 3, 4, 5]
    assert quarantine_rows(engine) == [("conflict", False)]
    assert state_of(done).committed == RangeSet([(1, 5)])


def test_the_same_content_compressed_otherwise_is_a_repetition(engine: Engine) -> None:
    register(engine)
    payload = make_payload(make_entries(1, 3))
    envelope = decode_envelope(payload)
    envelope.body = zlib.compress(decompress_body(envelope), 1)
    assert envelope.SerializeToString() != payload
    commit(engine, payload)
    commit(engine, envelope.SerializeToString())
    assert quarantine_rows(engine) == []
    assert stored_values(engine) == [1, 2, 3]


def test_a_contradiction_inside_one_group_is_found_too(engine: Engine) -> None:
    register(engine)
    commit(engine, make_payload(make_entries(1, 5)), make_payload(make_entries(1, 5, offset=0.5)))
    assert stored_values(engine) == [1, 2, 3, 4, 5]
    assert quarantine_rows(engine) == [("conflict", False)]


def test_thinning_is_no_contradiction(engine: Engine) -> None:
    register(engine)
    commit(engine, make_payload(make_entries(1, 3)))
    commit(engine, make_payload([*make_entries(1, 2), make_gap(3)]))
    assert quarantine_rows(engine) == []
    assert stored_values(engine) == [1, 2, 3]


def test_a_damaged_body_is_kept_and_its_numbers_count_as_held(engine: Engine) -> None:
    register(engine)
    envelope = decode_envelope(make_payload(make_entries(1, 5)))
    envelope.body = b"\0" + envelope.body[1:]
    done = commit(engine, envelope.SerializeToString(), make_payload(make_entries(6, 8)))
    assert stored_values(engine) == [6, 7, 8]
    assert quarantine_rows(engine) == [("malformed", False)]
    assert state_of(done).quarantined == RangeSet([(1, 5)])
    assert state_of(done).committed == RangeSet([(6, 8)])


def test_bytes_that_are_no_batch_are_kept_once_and_not_acknowledged(engine: Engine) -> None:
    register(engine)
    commit(engine, b"not a batch")
    assert commit(engine, b"not a batch")[0].acks == {}
    assert quarantine_rows(engine) == [("malformed", False)]


def test_a_version_from_the_future_is_kept(engine: Engine) -> None:
    register(engine)
    envelope = decode_envelope(make_payload(make_entries(1, 5)))
    envelope.version = 99
    commit(engine, envelope.SerializeToString())
    assert quarantine_rows(engine) == [("unsupported_version", False)]


def test_too_many_bytes_are_kept_as_what_they_are(engine: Engine) -> None:
    register(engine)
    commit(engine, b"x" * (64 * 1024 + 1))
    assert quarantine_rows(engine) == [("limit_exceeded", False)]


def test_a_batch_of_an_unknown_controller_waits_for_its_registration(engine: Engine) -> None:
    done = commit(engine, make_payload(make_entries(1, 5)))
    assert quarantine_rows(engine) == [("unknown_controller", False)]
    assert state_of(done).quarantined == RangeSet([(1, 5)])


def test_an_unknown_manifest_is_asked_for(engine: Engine) -> None:
    register(engine, manifest=None)
    done = commit(engine, make_payload(make_entries(1, 5)))
    assert quarantine_rows(engine) == [("unknown_manifest", False)]
    assert done[0].acks[CONTROLLER].wanted_manifests == (MANIFEST.hash,)


def test_columns_that_are_not_the_manifests_are_refused(engine: Engine) -> None:
    register(engine)
    wider = make_manifest((4,))
    envelope = decode_envelope(make_payload([Entry(1, make_scan(1, manifest=wider))], manifest=wider))
    envelope.manifest_hash = MANIFEST.hash
    commit(engine, envelope.SerializeToString())
    assert quarantine_rows(engine) == [("malformed", False)]


def test_what_the_database_refuses_is_kept_and_takes_no_other_with_it(engine: Engine) -> None:
    register(engine)
    with engine.begin() as connection:
        connection.execute(text('ALTER TABLE scans ADD CHECK ("values"[1] < 100)'))
    done = commit(
        engine,
        make_payload(make_entries(1, 3)),
        make_payload([Entry(4, make_scan(4, value=1000.0))]),
        make_payload(make_entries(5, 6)),
    )
    assert stored_values(engine) == [1, 2, 3, 5, 6]
    assert quarantine_rows(engine) == [("database_refused", False)]
    assert stream_sets(engine) == ("{[1,4),[5,7)}", "{}", "{[4,5)}")
    assert state_of(done).committed == RangeSet([(5, 6)])


def test_a_batch_that_was_never_finished_is_put_aside_unseen_at_its_last_attempt(engine: Engine) -> None:
    register(engine)
    batch = ReceivedBatch.of(CONTROLLER, make_payload(make_entries(1, 5)))
    assert begin_attempts(engine, [batch, batch]) == {batch.digest}
    assert begin_attempts(engine, [batch]) == set()
    attempts = [begin_another_attempt(engine, batch) for _ in range(ATTEMPTS_MAX - 1)]
    assert attempts[-1] == ATTEMPTS_MAX
    done = commit_group(engine, [put_aside(batch, attempts[-1])])
    assert quarantine_rows(engine) == [("killed_process", False)]
    assert state_of(done).quarantined == RangeSet([(1, 5)])
    assert begin_attempts(engine, [batch]) == {batch.digest}


def test_an_innocent_batch_that_is_put_aside_though_all_is_stored_leaves_no_trace(engine: Engine) -> None:
    register(engine)
    payload = make_payload(make_entries(1, 5))
    commit(engine, payload)
    done = commit_group(engine, [put_aside(ReceivedBatch.of(CONTROLLER, payload), ATTEMPTS_MAX)])
    assert quarantine_rows(engine) == []
    assert state_of(done).committed == RangeSet([(1, 5)])


def test_finished_batches_leave_no_attempt_behind(engine: Engine) -> None:
    register(engine)
    batch = ReceivedBatch.of(CONTROLLER, make_payload(make_entries(1, 5)))
    begin_attempts(engine, [batch])
    commit(engine, batch.payload)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM ingest_attempts")).scalar_one() == 0


def test_an_ack_names_the_batch_even_below_what_the_agent_said_it_holds(engine: Engine) -> None:
    register(engine)
    commit(engine, make_payload(make_entries(1, 10)))
    with engine.begin() as connection:
        connection.execute(text("UPDATE streams SET lowest_held = 8"))
    done = commit(engine, make_payload(make_entries(2, 3)))
    assert state_of(done).committed == RangeSet([(2, 3), (8, 10)])
