"""The real agent as a process: it polls, stores and delivers, and ends in good order."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from acking_hub import AckingHub
from agent_process import ENERGY, VOLTAGE, AgentProcess, two_meters

from demo.mosquitto import PrivateMosquitto
from demo.processes import free_port, wait_until
from protocol.messages import Presence
from protocol.quality import Quality
from protocol.scans import Scan
from simulator.faults import Fault, FaultKind
from simulator.server import MeterServer

DEADLINE_S = 60


@pytest.fixture
def meters() -> Iterator[MeterServer]:
    with two_meters() as server:
        yield server


@pytest.fixture
def hub(own_broker: PrivateMosquitto) -> Iterator[AckingHub]:
    with AckingHub(own_broker.hub) as hub:
        yield hub


@pytest.fixture
def agent(tmp_path: Path, own_broker: PrivateMosquitto, meters: MeterServer) -> Iterator[AgentProcess]:
    login = own_broker.add_controller("hut-1")
    agent = AgentProcess(tmp_path, "hut-1", login.port, login.password, meters)
    with ExitStack() as stack:
        stack.callback(agent.process.kill)
        yield agent


def test_values_of_the_meters_arrive_at_the_hub_and_none_is_left_at_the_end(
    agent: AgentProcess, hub: AckingHub
) -> None:
    agent.process.start()
    wait_until(lambda: agent.process.require_running() and hub.scans >= 20, DEADLINE_S, "scans at the hub")
    agent.process.stop(DEADLINE_S)
    assert agent.process.returncode == 0, agent.process.last_words()

    report = agent.buffer
    assert report.outstanding == 0
    assert hub.scans == report.recorded
    [entries] = hub.entries.values()
    assert sorted(entries) == list(range(1, report.recorded + 1))
    scans = [entry.content for entry in entries.values() if isinstance(entry.content, Scan)]
    assert {scan.values for scan in scans} == {(VOLTAGE, ENERGY)}
    assert {scan.layout for scan in scans} == {0, 1}
    assert hub.statuses[-1].presence is Presence.LEAVING
    assert [entry["event"] for entry in agent.log][-2:] == ["agent_stopping", "agent_stopped"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_without_a_hub_and_everything_stays_stored(agent: AgentProcess, number: signal.Signals) -> None:
    agent.process.start()
    wait_until(lambda: agent.has_stored, DEADLINE_S, "scans in the buffer")
    os.kill(agent.process.pid, number)
    assert agent.process.wait(DEADLINE_S) == 0
    assert agent.buffer.outstanding == agent.buffer.recorded


def test_silent_meter_shows_in_scans_log_and_health_while_the_other_goes_on(
    agent: AgentProcess, hub: AckingHub, meters: MeterServer
) -> None:
    meters.set_fault("b", Fault(FaultKind.DEAD))
    agent.process.start()
    wait_until(
        lambda: (
            agent.process.require_running()
            and any(health.meters["b"]["state"] == "unreachable" for health in list(hub.healths))
        ),
        DEADLINE_S,
        "the news of the silent meter",
    )
    [said] = agent.events("meter_unreachable")
    assert said["meter_id"] == "b"
    meters.set_fault("b", None)
    wait_until(lambda: agent.events("meter_recovered"), DEADLINE_S, "the meter's return")
    agent.process.stop(DEADLINE_S)
    [entries] = hub.entries.values()
    by_meter: dict[int, list[Scan]] = {0: [], 1: []}
    for entry in entries.values():
        assert isinstance(entry.content, Scan)
        by_meter[entry.content.layout].append(entry.content)
    assert all(scan.quality is None for scan in by_meter[0])
    assert by_meter[1][0].quality == (Quality.TIMEOUT, Quality.TIMEOUT)
    assert by_meter[1][-1].quality is None


def test_refused_login_is_said_once_and_polling_goes_on(agent: AgentProcess) -> None:
    (agent.directory / "password").write_text("wrong", encoding="utf-8")
    agent.process.start()
    wait_until(lambda: agent.events("broker_refused") and agent.has_stored, DEADLINE_S, "the refusal and the scans")
    agent.process.stop(DEADLINE_S)
    [refused] = agent.events("broker_refused")
    assert "broker.password_file" in refused["reason"]
    assert agent.process.returncode == 0


def test_missing_broker_does_not_keep_it_from_polling(tmp_path: Path, meters: MeterServer) -> None:
    agent = AgentProcess(tmp_path, "hut-1", free_port(), "secret", meters)
    agent.process.start()
    try:
        wait_until(lambda: agent.has_stored, DEADLINE_S, "scans in the buffer")
        assert len(agent.events("broker_unreachable")) == 1
    finally:
        agent.process.stop(DEADLINE_S)
    assert agent.process.returncode == 0


def test_second_agent_on_the_same_data_is_refused(agent: AgentProcess) -> None:
    agent.process.start()
    wait_until(lambda: agent.has_stored, DEADLINE_S, "scans in the buffer")
    second = agent.another("second")
    second.start()
    assert second.wait(DEADLINE_S) == 1
    assert second.log_file.read_text(encoding="utf-8").startswith("meterhaul edge: another agent is using")
    agent.process.stop(DEADLINE_S)


def test_killed_agent_goes_on_in_a_new_stream_and_delivers_the_old_one(agent: AgentProcess, hub: AckingHub) -> None:
    agent.process.start()
    wait_until(lambda: agent.has_stored, DEADLINE_S, "scans in the buffer")
    agent.process.kill()
    agent.process.start()
    wait_until(lambda: len(hub.entries) == 2, DEADLINE_S, "scans of both streams")
    agent.process.stop(DEADLINE_S)
    report = agent.buffer
    assert len(report.streams) == 2
    assert report.outstanding == 0
    for stream in report.streams:
        assert sorted(hub.entries[bytes.fromhex(stream.stream_id)]) == list(range(1, stream.recorded + 1))


def test_data_directory_that_cannot_be_written_is_a_fault_of_configuration(agent: AgentProcess) -> None:
    (agent.directory / "data").write_text("a file where a directory belongs", encoding="utf-8")
    agent.process.start()
    assert agent.process.wait(DEADLINE_S) == 78
    assert "data_dir" in agent.process.last_words()
