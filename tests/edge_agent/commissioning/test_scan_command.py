"""The scan command: what it prints, writes and refuses."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.cli import main
from edge_agent.site.compile import load_site
from simulator.devices import make_device
from simulator.links import Gateway
from simulator.register_unit import RegisterUnit
from simulator.rtu import LineSettings
from simulator.serial_line import SimulatedLine, serial_line
from simulator.server import MeterServer, serve


@pytest.fixture
def server() -> Iterator[MeterServer]:
    with serve(make_device("eastron-sdm630"), link=Gateway(timeout_s=0.01)) as server:
        yield server


@pytest.fixture
def line() -> Iterator[SimulatedLine]:
    with serial_line(make_device("eastron-sdm630"), settings=LineSettings(115_200)) as line:
        yield line


def on(server: MeterServer, *more: str) -> list[str]:
    return ["scan", "--host", "127.0.0.1", "--port", str(server.port), "--units", "1-2", *more]


def test_scan_prints_what_it_found_and_progress_elsewhere(
    server: MeterServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(on(server)) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == f"127.0.0.1:{server.port}: Modbus TCP"
    assert "unit 1: eastron-sdm630" in out
    assert f"127.0.0.1:{server.port}: unit 1 answers" in err


def test_scan_prints_json(server: MeterServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(on(server, "--json")) == 0
    [found] = json.loads(capsys.readouterr().out)["lines"]
    [unit] = found["units"]
    assert (unit["unit_id"], unit["certainty"], unit["profiles"]) == (1, "sure", ["eastron-sdm630"])
    best = unit["candidates"][0]
    assert best["points_answered"] == best["points_asked"]
    assert {"point": "frequency", "verdict": "fits"}.items() <= {
        key: item[key] for item in best["evidence"] if item["point"] == "frequency" for key in ("point", "verdict")
    }.items()


def test_scan_of_a_serial_port_writes_a_site_that_compiles(line: SimulatedLine, tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    arguments = ["--device", line.path, "--units", "1", "--baud", "115200", "--parity", "N", "--write", str(path)]
    assert main(["scan", *arguments]) == 0
    [meter] = load_site(path).meters
    assert meter.config.id == "eastron-sdm630-1"


def test_file_that_is_there_is_refused_before_the_scan(
    server: MeterServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "site.toml").write_text("mine", encoding="utf-8")
    assert main(on(server, "--write", str(tmp_path / "site.toml"))) == 1
    assert "overwrite it with --force" in capsys.readouterr().err
    assert server.counters.requests == 0


def test_nobody_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with serve(RegisterUnit(9, holding={0: 1}), link=Gateway(timeout_s=0.01)) as server:
        assert main(on(server)) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"meterhaul edge: nobody answered at 127.0.0.1:{server.port}, unit ids 1-2; see that")


def test_port_that_another_program_holds_names_that_program(
    line: SimulatedLine, capsys: pytest.CaptureFixture[str]
) -> None:
    hold = (
        "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print('ready', flush=True); input()"
    )
    command = [sys.executable, "-c", hold, line.path, "edge run"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        assert main(["scan", "--device", line.path]) == 1
        holder.communicate("\n")
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == (
        f"meterhaul edge: {line.path} is in use by the agent (process {holder.pid}); "
        "stop it first: systemctl stop meterhaul-edge"
    )


def test_port_that_is_not_there_says_which_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", "--device", str(tmp_path / "ttyUSB7")]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert "ttyUSB7 is not there; " in said
    assert "serial port" in said or "/dev/" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--range", "10.0.0.0/8"], "--range 10.0.0.0/8 has 16,777,216 addresses, and 1,024 is the most; name a part"),
        (["--range", "hut"], "--range 'hut' is no range of addresses; write one as 192.168.10.0/24"),
        (["--host", "127.0.0.1", "--units", "x"], "--units 'x': 'x' is no unit id; write them as 1-32,100"),
        (["--host", "127.0.0.1", "--units", "0-300"], "--units '0-300': unit ids are 1 to 255, the lower one first"),
        (["--host", "nobody.invalid"], "its name is not known"),
    ],
    ids=["range too large", "no range", "no unit id", "unit id beyond", "no such host"],
)
def test_fault_of_the_caller_is_one_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scan", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err.splitlines()[-1]


def test_scan_needs_a_place_to_look_at(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["scan"])
    assert ended.value.code == 2
    assert "--device --host --range" in capsys.readouterr().err
