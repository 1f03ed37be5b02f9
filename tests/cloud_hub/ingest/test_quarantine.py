"""What is in quarantine is shown, and goes through by itself once its cause is gone."""

import pytest
from ingest_factories import (
    CONTROLLER,
    commit,
    gap_rows,
    make_entries,
    make_gap,
    make_payload,
    quarantine_rows,
    register,
    stored_values,
    stream_sets,
)
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cloud_hub.ingest.quarantine import UnknownQuarantinedBatch, list_quarantined, replay, replay_waiting
from protocol.ranges import RangeSet
from protocol.scans import GapReason


def test_what_waited_for_its_controller_goes_through_once_it_is_registered(engine: Engine) -> None:
    commit(engine, make_payload(make_entries(1, 5)), make_payload(make_entries(6, 9)))
    assert replay_waiting(engine).stored == 0
    register(engine)
    replayed = replay_waiting(engine, CONTROLLER)
    assert (replayed.stored, replayed.kept) == (2, 0)
    assert stored_values(engine) == list(range(1, 10))
    assert stream_sets(engine) == ("{[1,10)}", "{}", "{}")
    assert [is_replayed for _, is_replayed in quarantine_rows(engine)] == [True, True]
    assert replayed.acks[CONTROLLER].streams[0].committed == RangeSet([(1, 9)])


def test_a_batch_that_came_again_and_went_through_leaves_quarantine(engine: Engine) -> None:
    register(engine, manifest=None)
    payload = make_payload(make_entries(1, 5))
    commit(engine, payload)
    register(engine)
    commit(engine, payload)
    assert quarantine_rows(engine) == [("unknown_manifest", True)]
    assert replay(engine).stored == 0
    assert stored_values(engine) == [1, 2, 3, 4, 5]


def test_the_gap_records_of_a_replayed_batch_are_written_too(engine: Engine) -> None:
    register(engine, manifest=None)
    commit(engine, make_payload([*make_entries(1, 3), make_gap(4, 2)]))
    register(engine)
    assert replay_waiting(engine).stored == 1
    assert gap_rows(engine) == [("[4,6)", GapReason.THINNED)]
    assert stream_sets(engine) == ("{[1,4)}", "{[4,6)}", "{}")


def test_replaying_what_was_stored_meanwhile_in_other_batches_stores_nothing_twice(engine: Engine) -> None:
    register(engine, manifest=None)
    commit(engine, make_payload(make_entries(1, 5)))
    register(engine)
    commit(engine, make_payload(make_entries(3, 9)))
    assert replay(engine).stored == 1
    assert stored_values(engine) == list(range(1, 10))
    assert stream_sets(engine) == ("{[1,10)}", "{}", "{}")


def test_what_still_cannot_be_stored_stays(engine: Engine) -> None:
    register(engine)
    commit(engine, b"not a batch")
    commit(engine, make_payload(make_entries(1, 5)))
    commit(engine, make_payload(make_entries(1, 5, offset=0.5)))
    assert (replay(engine).stored, replay(engine).kept) == (0, 2)
    assert quarantine_rows(engine) == [("malformed", False), ("conflict", False)]
    assert stored_values(engine) == [1, 2, 3, 4, 5]


def test_the_list_shows_what_is_there_and_on_demand_what_was(engine: Engine) -> None:
    register(engine, manifest=None)
    commit(engine, make_payload(make_entries(1, 5)), b"not a batch")
    register(engine)
    replay(engine)
    with Session(engine) as session:
        (there,) = list_quarantined(session)
        everything = list_quarantined(session, include_replayed=True)
    assert (there.reason, there.first_sequence, there.size_bytes) == ("malformed", None, 11)
    assert [(entry.first_sequence, entry.last_sequence) for entry in everything] == [(1, 5), (None, None)]


def test_chosen_batches_are_replayed_and_unknown_ids_are_named(engine: Engine) -> None:
    commit(engine, make_payload(make_entries(1, 5)), make_payload(make_entries(6, 9)))
    register(engine)
    with Session(engine) as session:
        first = list_quarantined(session)[0].id
    assert replay(engine, [first]).stored == 1
    assert stored_values(engine) == [1, 2, 3, 4, 5]
    with pytest.raises(UnknownQuarantinedBatch, match="has the id 999999"):
        replay(engine, [999_999])
