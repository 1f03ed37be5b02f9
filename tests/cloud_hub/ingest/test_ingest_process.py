"""A real ingest process between a real broker and a real database."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ingest_factories import (
    MANIFEST,
    STREAM,
    make_entries,
    make_hello,
    make_payload,
    quarantine_rows,
    register,
    stored_values,
)
from mqtt_agent import MqttAgent
from sqlalchemy import Engine, text

from demo.mosquitto import PrivateMosquitto
from demo.processes import wait_until
from protocol.codec import decode_envelope
from protocol.messages import Presence, Status, encode_manifest, encode_status
from protocol.ranges import RangeSet
from protocol.topics import Up

Start = Callable[..., subprocess.Popen[str]]
ROOT = Path(__file__).parents[3]


@pytest.fixture
def start_ingest(database_url: str, own_broker: PrivateMosquitto, tmp_path: Path) -> Iterator[Start]:
    """Start ingest processes; what still runs at the end is ended."""
    running: list[subprocess.Popen[str]] = []

    def start(*, broker_url: str | None = None, database: str = database_url) -> subprocess.Popen[str]:
        environment = os.environ | {
            "METERHAUL_DATABASE_URL": database,
            "METERHAUL_BROKER_URL": broker_url or own_broker.hub_url,
        }
        with (tmp_path / f"ingest-{len(running)}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "meterhaul.cli", "hub", "ingest"],
                cwd=ROOT,
                env=environment,
                stderr=log,
                text=True,
            )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture
def agent(own_broker: PrivateMosquitto) -> Iterator[MqttAgent]:
    with MqttAgent(own_broker.add_controller("north-1")) as agent:
        yield agent


def errors_of(tmp_path: Path) -> str:
    return (tmp_path / "ingest-0.log").read_text()


def test_a_stream_from_hello_to_commit(engine: Engine, start_ingest: Start, agent: MqttAgent) -> None:
    register(engine, manifest=None)
    process = start_ingest()
    ack = agent.greet(make_hello({STREAM: 11}))
    assert ack.wanted_manifests == (MANIFEST.hash,)

    agent.say(Up.BATCH, make_payload(make_entries(1, 5)))
    ack = agent.hear()
    assert (ack.streams[0].quarantined, ack.wanted_manifests) == (RangeSet([(1, 5)]), (MANIFEST.hash,))

    agent.say(Up.MANIFEST, encode_manifest(MANIFEST.body))
    assert agent.hear().streams[0].committed == RangeSet([(1, 5)])

    agent.say(Up.BATCH, make_payload(make_entries(6, 10)))
    assert agent.hear().streams[0].committed == RangeSet([(1, 10)])
    assert stored_values(engine) == list(range(1, 11))
    assert quarantine_rows(engine) == [("unknown_manifest", True)]

    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0


def test_two_processes_share_the_work_and_store_each_scan_once(
    engine: Engine, start_ingest: Start, agent: MqttAgent
) -> None:
    register(engine)
    start_ingest()
    start_ingest()
    agent.greet(make_hello({STREAM: 1}))
    for _ in range(2):
        for first in range(1, 200, 4):
            agent.say(Up.BATCH, make_payload(make_entries(first, first + 5)))
    held = RangeSet()
    while not held.covers(RangeSet([(1, 202)])):
        held = held | agent.hear().streams[0].committed
    assert stored_values(engine) == list(range(1, 203))


def test_a_hostile_message_stops_nothing(engine: Engine, start_ingest: Start, agent: MqttAgent) -> None:
    register(engine)
    start_ingest()
    agent.greet(make_hello({STREAM: 1}))
    bomb = decode_envelope(make_payload(make_entries(1, 5)))
    bomb.body_size = 7
    for kind in (Up.HELLO, Up.MANIFEST, Up.STATUS, Up.HEALTH, Up.REPLY, Up.BATCH):
        agent.say(kind, b"\xff\x00 hostile")
    agent.say(Up.BATCH, bomb.SerializeToString())
    assert agent.hear().streams[0].quarantined == RangeSet([(1, 5)])
    agent.say(Up.BATCH, make_payload(make_entries(6, 8)))
    assert agent.hear().streams[0].committed == RangeSet([(6, 8)])


def test_the_broker_killed_and_emptied_costs_nothing(
    engine: Engine, start_ingest: Start, agent: MqttAgent, own_broker: PrivateMosquitto
) -> None:
    register(engine)
    start_ingest()
    agent.greet(make_hello({STREAM: 1}))
    own_broker.kill()
    own_broker.wipe()
    own_broker.start()
    agent.greet(make_hello({STREAM: 1}, nonce=8))
    agent.say(Up.BATCH, make_payload(make_entries(1, 5)))
    assert agent.hear().streams[0].committed == RangeSet([(1, 5)])


def test_a_locked_table_delays_and_loses_nothing(engine: Engine, start_ingest: Start, agent: MqttAgent) -> None:
    register(engine)
    start_ingest()
    agent.greet(make_hello({STREAM: 1}))
    with engine.connect() as connection:
        connection.execute(text("LOCK TABLE scans IN ACCESS EXCLUSIVE MODE"))
        agent.say(Up.BATCH, make_payload(make_entries(1, 5)))
        # The process waits for the lock; its connection is cut under it.
        cut = text(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE application_name = 'meterhaul-ingest' AND wait_event_type = 'Lock' AND datname = current_database()"
        )
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
            wait_until(lambda: other.execute(cut).scalar_one(), 20, "ingest to wait for the lock")
        connection.rollback()
    assert agent.hear().streams[0].committed == RangeSet([(1, 5)])
    assert stored_values(engine) == [1, 2, 3, 4, 5]


def test_who_is_there_is_known_after_a_restart_too(engine: Engine, start_ingest: Start, agent: MqttAgent) -> None:
    register(engine)
    agent.say(Up.STATUS, encode_status(Status(presence=Presence.ONLINE)), retain=True)
    start_ingest()

    def presence() -> bool:
        with engine.connect() as connection:
            return bool(connection.execute(text("SELECT presence = 'online' FROM controllers")).scalar_one())

    wait_until(presence, 20, "the retained status to be noted")


def test_a_refused_login_is_said_in_one_sentence(
    start_ingest: Start, own_broker: PrivateMosquitto, tmp_path: Path
) -> None:
    process = start_ingest(broker_url=f"mqtt://hub:wrong-password@127.0.0.1:{own_broker.hub_port}")
    assert process.wait(timeout=30) == 78
    last_line = errors_of(tmp_path).strip().splitlines()[-1]
    assert last_line.startswith(f"meterhaul hub ingest: the broker 127.0.0.1:{own_broker.hub_port} refuses the login")
    assert "METERHAUL_BROKER_URL" in last_line
    assert "wrong-password" not in errors_of(tmp_path)


def test_an_unmigrated_database_ends_the_start(start_ingest: Start, empty_database_url: str, tmp_path: Path) -> None:
    assert start_ingest(database=empty_database_url).wait(timeout=30) == 78
    assert "run 'meterhaul hub init'" in errors_of(tmp_path)
    assert "Traceback" not in errors_of(tmp_path)
