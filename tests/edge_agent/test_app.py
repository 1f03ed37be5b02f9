"""The real agent as a process: it polls, stores and delivers, and ends in good order."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from acking_hub import AckingHub
from site_factories import make_energy_point, make_meter_config, make_point, make_profile, make_site_config

from demo.mosquitto import PrivateMosquitto
from demo.processes import Process, free_port, wait_until
from edge_agent.buffer_inspect import BufferReport, inspect_buffer
from edge_agent.errors import AgentError
from protocol.messages import Presence
from protocol.quality import Quality
from protocol.scans import Scan
from simulator.faults import Fault, FaultKind
from simulator.meter import FixedSource, SimulatedMeter
from simulator.server import MeterServer, serve

DEADLINE_S = 60
PROFILE = make_profile([make_point(), make_energy_point()])
VOLTAGE, ENERGY = 231.2, 123_456.0


class Agent:
    """A `meterhaul edge run` with two meters behind a gateway, in a directory of its own."""

    def __init__(
        self, directory: Path, controller_id: str, broker_port: int, password: str, meters: MeterServer
    ) -> None:
        self.directory, self.controller_id = directory, controller_id
        config = make_site_config(
            [make_meter_config("a", unit_id=1), make_meter_config("b", unit_id=2)],
            [PROFILE],
            port=meters.port,
            timeout_s=0.3,
        )
        (directory / "site.json").write_text(config.model_dump_json(), encoding="utf-8")
        (directory / "password").write_text(password, encoding="utf-8")
        self.config = directory / "agent.toml"
        self.config.write_text(
            f'controller_id = "{controller_id}"\ndata_dir = "data"\nsite = "site.json"\n'
            f'[broker]\nhost = "127.0.0.1"\nport = {broker_port}\npassword_file = "password"\n'
            "[uplink]\nsend_every_s = 0.2\nhealth_every_s = 1\n",
            encoding="utf-8",
        )
        self.process = self.another("agent")

    def another(self, name: str) -> Process:
        """Describe a process with the same settings."""
        command = [sys.executable, "-m", "meterhaul.cli", "edge", "run", "--config", self.config]
        return Process(name, [str(part) for part in command], log_file=self.directory / f"{name}.log")

    @property
    def buffer(self) -> BufferReport:
        """What is stored."""
        return inspect_buffer(self.directory / "data" / "buffer.sqlite3")

    @property
    def has_stored(self) -> bool:
        """Whether some scans are on disk."""
        self.process.require_running()
        try:
            return self.buffer.recorded >= 10
        except AgentError:
            return False

    @property
    def log(self) -> list[dict[str, Any]]:
        """What the agent logged so far."""
        lines = self.process.log_file.read_text(encoding="utf-8").splitlines() if self.process.log_file.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log lines of one event."""
        return [entry for entry in self.log if entry["event"] == name]


@pytest.fixture
def meters() -> Iterator[MeterServer]:
    sources = [FixedSource({"voltage": VOLTAGE, "energy": ENERGY}) for _ in range(2)]
    with serve(
        *(
            SimulatedMeter(meter_id=name, profile=PROFILE, source=source, unit_id=unit_id)
            for unit_id, (name, source) in enumerate(zip("ab", sources, strict=True), 1)
        )
    ) as server:
        yield server


@pytest.fixture
def hub(own_broker: PrivateMosquitto) -> Iterator[AckingHub]:
    with AckingHub(own_broker.hub) as hub:
        yield hub


@pytest.fixture
def agent(tmp_path: Path, own_broker: PrivateMosquitto, meters: MeterServer) -> Iterator[Agent]:
    login = own_broker.add_controller("hut-1")
    agent = Agent(tmp_path, "hut-1", login.port, login.password, meters)
    with ExitStack() as stack:
        stack.callback(agent.process.kill)
        yield agent


def test_values_of_the_meters_arrive_at_the_hub_and_none_is_left_at_the_end(agent: Agent, hub: AckingHub) -> None:
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
def test_signal_ends_it_without_a_hub_and_everything_stays_stored(agent: Agent, number: signal.Signals) -> None:
    agent.process.start()
    wait_until(lambda: agent.has_stored, DEADLINE_S, "scans in the buffer")
    os.kill(agent.process.pid, number)
    assert agent.process.wait(DEADLINE_S) == 0
    assert agent.buffer.outstanding == agent.buffer.recorded


def test_silent_meter_shows_in_scans_log_and_health_while_the_other_goes_on(
    agent: Agent, hub: AckingHub, meters: MeterServer
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


def test_refused_login_is_said_once_and_polling_goes_on(agent: Agent) -> None:
    (agent.directory / "password").write_text("wrong", encoding="utf-8")
    agent.process.start()
    wait_until(lambda: agent.events("broker_refused") and agent.has_stored, DEADLINE_S, "the refusal and the scans")
    agent.process.stop(DEADLINE_S)
    [refused] = agent.events("broker_refused")
    assert "broker.password_file" in refused["reason"]
    assert agent.process.returncode == 0


def test_missing_broker_does_not_keep_it_from_polling(tmp_path: Path, meters: MeterServer) -> None:
    agent = Agent(tmp_path, "hut-1", free_port(), "secret", meters)
    agent.process.start()
    try:
        wait_until(lambda: agent.has_stored, DEADLINE_S, "scans in the buffer")
        assert len(agent.events("broker_unreachable")) == 1
    finally:
        agent.process.stop(DEADLINE_S)
    assert agent.process.returncode == 0


def test_second_agent_on_the_same_data_is_refused(agent: Agent) -> None:
    agent.process.start()
    wait_until(lambda: agent.has_stored, DEADLINE_S, "scans in the buffer")
    second = agent.another("second")
    second.start()
    assert second.wait(DEADLINE_S) == 1
    assert second.log_file.read_text(encoding="utf-8").startswith("meterhaul edge: another agent is using")
    agent.process.stop(DEADLINE_S)


def test_killed_agent_goes_on_in_a_new_stream_and_delivers_the_old_one(agent: Agent, hub: AckingHub) -> None:
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


def test_data_directory_that_cannot_be_written_is_a_fault_of_configuration(agent: Agent) -> None:
    (agent.directory / "data").write_text("a file where a directory belongs", encoding="utf-8")
    agent.process.start()
    assert agent.process.wait(DEADLINE_S) == 78
    assert "data_dir" in agent.process.last_words()
