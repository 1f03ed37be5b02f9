"""Commands on the controller work beside the running agent: they see what it sees and disturb nothing."""

import csv
import json
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from acking_hub import AckingHub
from agent_process import ENERGY, VOLTAGE, AgentProcess, two_meters

from demo.mosquitto import PrivateMosquitto
from demo.processes import wait_until
from edge_agent.cli import main
from edge_agent.errors import AgentError
from edge_agent.local.client import NotRunning, ask_agent
from simulator.faults import Fault, FaultKind
from simulator.server import MeterServer

DEADLINE_S = 60


@pytest.fixture(scope="module")
def meters() -> Iterator[MeterServer]:
    with two_meters() as server:
        yield server


@pytest.fixture(scope="module")
def agent(
    tmp_path_factory: pytest.TempPathFactory, _session_broker: PrivateMosquitto, meters: MeterServer
) -> Iterator[AgentProcess]:
    """One agent for all tests here, which only look at it."""
    login = _session_broker.add_controller("hut-local")
    agent = AgentProcess(tmp_path_factory.mktemp("agent"), "hut-local", login.port, login.password, meters)
    with ExitStack() as stack:
        stack.enter_context(AckingHub(_session_broker.hub))
        agent.process.start()
        stack.callback(agent.process.kill)
        wait_until(lambda: agent.has_stored and agent.buffer.oldest_ms is not None, DEADLINE_S, "scans in the buffer")
        yield agent


@pytest.fixture
def command(agent: AgentProcess, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command with the agent's settings and return what it printed."""

    def run(*arguments: str) -> str:
        assert main([*arguments, "--config", str(agent.config)]) == 0
        return capsys.readouterr().out

    return run


def socket_of(agent: AgentProcess) -> Path:
    return agent.directory / "data" / "agent.sock"


def test_status_shows_meters_and_their_newest_values(command: Callable[..., str]) -> None:
    wait_until(lambda: f"{VOLTAGE} V" in command("status"), DEADLINE_S, "the newest values")
    out = command("status")
    assert out.startswith("hut-local  agent ")
    assert f"{ENERGY:,.0f} Wh" in out
    for part in ("bus bus-1: ", "buffer: ", "uplink: ", "traffic: ", "clock: ", "configuration: the site's own file"):
        assert part in out
    assert max(len(line) for line in out.splitlines()) <= 160


def test_status_prints_json(command: Callable[..., str]) -> None:
    status: dict[str, Any] = json.loads(command("status", "--json"))
    assert {"meters", "buses", "buffer", "uplink", "clock", "traffic", "configuration"} <= set(status["health"])
    assert status["newest"]["a"]["voltage"]["value"] == VOLTAGE
    assert status["newest"]["a"]["voltage"]["quality"] == "good"


def test_status_names_a_silent_meter_first(command: Callable[..., str], meters: MeterServer) -> None:
    meters.set_fault("b", Fault(FaultKind.DEAD))
    try:
        wait_until(lambda: "! b unreachable: unit 2" in command("status"), DEADLINE_S, "the silent meter")
    finally:
        meters.set_fault("b", None)
    wait_until(lambda: "! b " not in command("status"), DEADLINE_S, "its return")


def test_read_goes_over_the_line_that_the_agent_holds(command: Callable[..., str], meters: MeterServer) -> None:
    sessions = meters.counters.sessions
    report = json.loads(command("read", "a", "--json"))
    assert [(p["point"], p["value"], p["quality"]) for p in report["points"]] == [
        ("voltage", VOLTAGE, "good"),
        ("energy", ENERGY, "good"),
    ]
    assert report["points"][0]["registers"] == [2312]
    assert meters.counters.sessions == sessions
    assert "231.2  V" in command("read", "a")


def test_read_shows_what_the_agent_was_refused(
    agent: AgentProcess, meters: MeterServer, capsys: pytest.CaptureFixture[str]
) -> None:
    meters.set_fault("b", Fault(FaultKind.EXCEPTION, exception_code=4))
    try:
        assert main(["read", "b", "--json", "--config", str(agent.config)]) == 1
    finally:
        meters.set_fault("b", None)
    points = json.loads(capsys.readouterr().out)["points"]
    assert [(point["value"], point["quality"]) for point in points] == [(None, "exception(4)")] * 2


def test_read_of_a_meter_that_is_silent_to_the_agent_says_what_to_check(
    agent: AgentProcess, meters: MeterServer, capsys: pytest.CaptureFixture[str]
) -> None:
    meters.set_fault("b", Fault(FaultKind.DEAD))
    try:
        assert main(["read", "b", "--config", str(agent.config)]) == 1
    finally:
        meters.set_fault("b", None)
    err = capsys.readouterr().err
    assert "meter 'b' does not answer: unit 2 at 127.0.0.1:" in err
    assert "check that the meter is on" in err


def test_read_of_an_unknown_meter_names_the_nearest(agent: AgentProcess, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", "aa", "--config", str(agent.config)]) == 1
    assert "meter 'aa' is not in the site configuration (did you mean 'a'?)" in capsys.readouterr().err


def test_export_writes_a_row_per_reading(command: Callable[..., str], agent: AgentProcess, tmp_path: Path) -> None:
    assert main(["export", "--out", str(tmp_path / "all.csv"), "--config", str(agent.config)]) == 0
    with (tmp_path / "all.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["meter"], row["point"], row["unit"]) for row in rows} == {
        (meter, *point) for meter in "ab" for point in (("voltage", "V"), ("energy", "Wh"))
    }
    good = [row for row in rows if row["quality"] == "good"]
    assert {row["value"] for row in good if row["point"] == "voltage"} == {"231.2"}
    assert all(row["observed_at"].endswith("Z") for row in rows)

    only = list(csv.DictReader(command("export", "--meter", "a", "--point", "energy").splitlines()))
    assert {(row["meter"], row["point"]) for row in only} == {("a", "energy")}


def test_buffer_is_shown_while_it_is_written(command: Callable[..., str]) -> None:
    report = json.loads(command("buffer", "--json"))
    assert report["recorded"] >= 10
    assert report["gaps"] == []


def test_socket_is_for_the_owner_and_the_group(agent: AgentProcess) -> None:
    assert stat.S_IMODE(socket_of(agent).stat().st_mode) == 0o660


@pytest.mark.parametrize("question", [{"ask": "nothing"}, {"ask": "read"}, {}], ids=str)
def test_question_that_is_not_known_is_refused(agent: AgentProcess, question: dict[str, str]) -> None:
    with pytest.raises(AgentError, match="not known to this release"):
        ask_agent(socket_of(agent), **question)


def test_agent_outlives_guests_that_talk_nonsense(agent: AgentProcess) -> None:
    with pytest.raises(AgentError, match="not a line of JSON"):
        ask_agent(socket_of(agent), ask="x" * 100_000)
    assert ask_agent(socket_of(agent), ask="status")["health"]["agent_version"]


def test_no_agent_is_one_sentence_and_what_the_buffer_tells(
    agent: AgentProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "agent.toml"
    text = agent.config.read_text(encoding="utf-8").replace('site = "', f'site = "{agent.directory}/')
    config.write_text(text.replace('password_file = "', f'password_file = "{agent.directory}/'), encoding="utf-8")
    assert main(["status", "--config", str(config)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "start it: systemctl start meterhaul-edge" in err


def test_socket_of_an_agent_that_was_killed_is_no_agent(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "s"))
        with pytest.raises(NotRunning):
            ask_agent(tmp_path / "s", ask="status")
