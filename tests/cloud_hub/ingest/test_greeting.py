"""A hello is answered by what the database holds; a database that went back in time is noticed by itself."""

import time

import pytest
from ingest_factories import (
    CONTROLLER,
    MANIFEST,
    STREAM,
    commit,
    gap_rows,
    make_entries,
    make_gap,
    make_hello,
    make_payload,
    register,
    stored_values,
)
from sqlalchemy import Engine, text
from structlog.testing import capture_logs

from cloud_hub.ingest.greeting import answer_hello, note_health, note_status, take_manifest
from cloud_hub.registry.queries import UnknownController
from protocol.errors import MalformedMessage
from protocol.messages import Health, Presence, Status, encode_manifest
from protocol.ranges import RangeSet
from protocol.scans import GapReason

SECOND = b"t" * 16


def test_every_named_stream_is_answered_with_what_is_held(engine: Engine) -> None:
    register(engine)
    commit(engine, make_payload([*make_entries(1, 4), make_gap(5)]))
    ack = answer_hello(engine, CONTROLLER, make_hello({STREAM: 11, SECOND: 1}, lowest_held=3 - 2, nonce=42))
    assert ack.answers_hello == 42
    assert {state.stream_id: state.committed for state in ack.streams} == {
        STREAM: RangeSet([(1, 5)]),
        SECOND: RangeSet(),
    }
    assert ack.wanted_manifests == ()


def test_the_answer_says_what_time_it_is(engine: Engine) -> None:
    register(engine)
    before_ms = time.time_ns() // 1_000_000
    ack = answer_hello(engine, CONTROLLER, make_hello({}))
    assert before_ms <= ack.now_ms <= time.time_ns() // 1_000_000


def test_answers_are_clipped_to_what_the_agent_may_still_hold(engine: Engine) -> None:
    register(engine)
    commit(engine, make_payload(make_entries(1, 10)))
    ack = answer_hello(engine, CONTROLLER, make_hello({STREAM: 11}, lowest_held=6))
    assert ack.streams[0].committed == RangeSet([(6, 10)])


def test_an_agent_that_knows_more_than_the_database_raises_the_incarnation_once(engine: Engine) -> None:
    register(engine)
    hello = make_hello({STREAM: 11}, committed={STREAM: RangeSet([(1, 10)])})
    first = answer_hello(engine, CONTROLLER, hello)
    assert (first.incarnation, first.streams[0].committed) == (2, RangeSet())
    assert answer_hello(engine, CONTROLLER, hello).incarnation == 2


def test_an_agent_that_has_seen_a_higher_incarnation_raises_it_above(engine: Engine) -> None:
    register(engine)
    assert answer_hello(engine, CONTROLLER, make_hello({}, incarnation=7)).incarnation == 8


def test_an_agent_that_knows_as_much_or_less_raises_nothing(engine: Engine) -> None:
    register(engine)
    commit(engine, make_payload([*make_entries(1, 4), make_gap(5)]))
    hello = make_hello({STREAM: 11}, committed={STREAM: RangeSet([(1, 5)])})
    assert answer_hello(engine, CONTROLLER, hello).incarnation == 1


def test_what_is_quarantined_is_held_and_raises_nothing(engine: Engine) -> None:
    register(engine, manifest=None)
    commit(engine, make_payload(make_entries(1, 5)))
    ack = answer_hello(engine, CONTROLLER, make_hello({STREAM: 6}, committed={STREAM: RangeSet([(1, 5)])}))
    assert (ack.incarnation, ack.streams[0].quarantined) == (1, RangeSet([(1, 5)]))
    assert ack.wanted_manifests == (MANIFEST.hash,)


def test_what_was_announced_and_is_gone_is_recorded_until_it_arrives_after_all(engine: Engine) -> None:
    register(engine)
    answer_hello(engine, CONTROLLER, make_hello({STREAM: 11}))
    commit(engine, make_payload(make_entries(1, 4)))
    answer_hello(engine, CONTROLLER, make_hello({SECOND: 1}))
    assert gap_rows(engine) == [("[5,11)", GapReason.NEVER_ARRIVED)]
    done = commit(engine, make_payload([*make_entries(6, 7), make_gap(8)]))
    assert gap_rows(engine) == [
        ("[5,6)", GapReason.NEVER_ARRIVED),
        ("[8,9)", GapReason.THINNED),
        ("[9,11)", GapReason.NEVER_ARRIVED),
    ]
    assert done[0].acks[CONTROLLER].streams[0].committed == RangeSet([(6, 8)])
    assert stored_values(engine) == [1, 2, 3, 4, 6, 7]


def test_what_an_older_copy_of_the_buffer_lacks_is_recorded_until_it_arrives_after_all(engine: Engine) -> None:
    register(engine)
    answer_hello(engine, CONTROLLER, make_hello({STREAM: 11}))
    commit(engine, make_payload(make_entries(1, 2)))
    for _ in range(2):
        answer_hello(engine, CONTROLLER, make_hello({STREAM: 5, SECOND: 1}))
        assert gap_rows(engine) == [("[5,11)", GapReason.NEVER_ARRIVED)]
    commit(engine, make_payload(make_entries(3, 6)))
    assert gap_rows(engine) == [("[7,11)", GapReason.NEVER_ARRIVED)]
    answer_hello(engine, CONTROLLER, make_hello({STREAM: 11, SECOND: 1}))
    assert gap_rows(engine) == []


def test_a_batch_that_comes_late_for_a_closed_stream_leaves_no_hole_unsaid(engine: Engine) -> None:
    register(engine)
    answer_hello(engine, CONTROLLER, make_hello({STREAM: 3}))
    commit(engine, make_payload(make_entries(1, 2)))
    answer_hello(engine, CONTROLLER, make_hello({SECOND: 1}))
    commit(engine, make_payload(make_entries(6, 7)))
    for _ in range(2):
        answer_hello(engine, CONTROLLER, make_hello({SECOND: 1}))
        assert gap_rows(engine) == [("[3,6)", GapReason.NEVER_ARRIVED)]


def test_what_never_arrived_is_not_acknowledged(engine: Engine) -> None:
    register(engine)
    answer_hello(engine, CONTROLLER, make_hello({STREAM: 11}))
    answer_hello(engine, CONTROLLER, make_hello({SECOND: 1}))
    ack = answer_hello(engine, CONTROLLER, make_hello({STREAM: 11, SECOND: 1}))
    assert ack.streams[0].held == RangeSet()
    assert gap_rows(engine) == []


def test_an_incomplete_hello_closes_nothing(engine: Engine) -> None:
    register(engine)
    answer_hello(engine, CONTROLLER, make_hello({STREAM: 11}))
    answer_hello(engine, CONTROLLER, make_hello({SECOND: 1}, complete=False))
    assert gap_rows(engine) == []


def test_another_controllers_streams_are_left_alone(engine: Engine) -> None:
    register(engine)
    register(engine, controller_id="north-2")
    answer_hello(engine, CONTROLLER, make_hello({STREAM: 11}))
    answer_hello(engine, "north-2", make_hello({SECOND: 1}))
    assert gap_rows(engine) == []


def test_a_boot_that_comes_back_is_a_clone_and_named(engine: Engine) -> None:
    register(engine)
    one, other = b"1" * 16, b"2" * 16
    with capture_logs() as logs:
        for stream, boot in ((STREAM, one), (SECOND, other)):
            answer_hello(engine, CONTROLLER, make_hello({stream: 2}, boot=boot, complete=False))
    assert "controller_cloned" not in {entry["event"] for entry in logs}
    with capture_logs() as logs:
        answer_hello(engine, CONTROLLER, make_hello({STREAM: 3}, boot=one, complete=False))
    (clone,) = (entry for entry in logs if entry["event"] == "controller_cloned")
    assert clone["boot_ids"] == [other.hex(), one.hex()]
    assert clone["is_security_event"]


def test_an_unknown_controller_is_answered_and_asked_for_nothing(engine: Engine) -> None:
    ack = answer_hello(engine, "stranger", make_hello({STREAM: 1}))
    assert (ack.streams[0].held, ack.wanted_manifests) == (RangeSet(), ())


def test_a_manifest_makes_meters_points_and_layouts(engine: Engine) -> None:
    register(engine, manifest=None)
    assert take_manifest(engine, CONTROLLER, encode_manifest(MANIFEST.body)) == MANIFEST.hash
    with engine.connect() as connection:
        meters = connection.scalars(text("SELECT slug FROM meters ORDER BY 1")).all()
        points = connection.execute(text("SELECT count(*) FROM points")).scalar_one()
    assert (meters, points) == (["meter-0", "meter-1"], 5)


def test_a_manifest_of_an_unknown_controller_is_refused(engine: Engine) -> None:
    with pytest.raises(UnknownController, match="register it first"):
        take_manifest(engine, "stranger", encode_manifest(MANIFEST.body))


def test_a_damaged_manifest_is_refused(engine: Engine) -> None:
    register(engine, manifest=None)
    with pytest.raises(MalformedMessage):
        take_manifest(engine, CONTROLLER, encode_manifest(b'{"version": 1'))


def test_status_and_health_are_kept_for_the_screen(engine: Engine) -> None:
    register(engine)
    note_status(engine, CONTROLLER, Status(presence=Presence.LEAVING, agent_version="0.1.0"))
    note_health(engine, CONTROLLER, Health(at_ms=5, buffer={"scans": 3}))
    with engine.connect() as connection:
        row = connection.execute(text("SELECT presence, agent_version, health->'buffer' FROM controllers")).one()
    assert tuple(row) == ("leaving", "0.1.0", {"scans": 3})
