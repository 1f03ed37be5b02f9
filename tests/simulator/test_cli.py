"""`meterhaul simulate meters` as people and scripts call it."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pymodbus.client import ModbusTcpClient

from demo.processes import Process, wait_until
from protocol.site_config import BusConfig, SiteConfig
from simulator.cli import main
from simulator.ledger import read_ledger

WAIT_S = 20
SIMULATE = [sys.executable, "-m", "meterhaul.cli", "simulate"]
COMMAND = [*SIMULATE, "meters"]


def read_first_registers(bus: BusConfig, times: int) -> None:
    with ModbusTcpClient(str(bus.host), port=bus.port, timeout=WAIT_S) as client:
        for _ in range(times):
            assert not client.read_input_registers(0, count=4, device_id=bus.meters[0].unit_id).isError()


def test_meters_are_served_until_the_end_is_asked_for(tmp_path: Path) -> None:
    config_file, ledger = tmp_path / "site.json", tmp_path / "ledger.jsonl"
    arguments: list[str | Path] = ["--ledger", ledger, "--write-config", config_file, "--period", "2"]
    with Process("meters", [*COMMAND, *arguments], log_file=tmp_path / "log") as meters:
        wait_until(lambda: meters.require_running() and config_file.exists(), WAIT_S, "the configuration")
        config = SiteConfig.model_validate_json(config_file.read_text())
        read_first_registers(config.buses[0], times=3)
        assert [(frame.meter, frame.serial) for frame in read_ledger(ledger)] == [("heater", n) for n in (1, 2, 3)]
    assert meters.returncode == 0
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("heater")


def test_meters_are_described_as_json() -> None:
    done = subprocess.run(
        [*COMMAND, "--site", "replay", "--json", "--seconds", "0.01"], capture_output=True, text=True, check=True
    )
    meters = [json.loads(line) for line in done.stdout.splitlines()]
    assert [meter["meter"] for meter in meters] == ["mains", "kitchen", "laundry", "water-heater"]
    assert all(meter["port"] > 0 for meter in meters)


def test_replay_ends_by_itself_after_the_last_row(tmp_path: Path) -> None:
    config_file, site_file = tmp_path / "site.json", tmp_path / "short.toml"
    site_file.write_text(
        '[[meters]]\nid = "kitchen"\nprofile = "eastron-sdm120"\nreplays = "kitchen"\npoints = ["voltage_l1_n"]\n'
    )
    arguments: list[str | Path] = [
        "--site",
        site_file,
        "--step",
        "frame",
        "--at-end",
        "stop",
        "--write-config",
        config_file,
    ]
    with Process("meters", [*COMMAND, *arguments], log_file=tmp_path / "log") as meters:
        wait_until(lambda: meters.require_running() and config_file.exists(), WAIT_S, "the configuration")
        bus = SiteConfig.model_validate_json(config_file.read_text()).buses[0]
        read_first_registers(bus, times=2_203)
        assert meters.is_running
        with ModbusTcpClient(str(bus.host), port=bus.port, timeout=WAIT_S) as client:
            assert client.read_input_registers(0, count=4, device_id=1).isError()
        assert meters.wait(WAIT_S) == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--site", "castle"], "site 'castle' is neither"),
        (["--fault", "dead"], "--fault dead: write it as meter=ID"),
        (["--fault", "meter=moon,kind=dead"], "names the meter 'moon'"),
        (["--fault", "meter=heater,kind=sleepy"], "--fault meter=heater,kind=sleepy: kind"),
        (["--write-config", "/proc/none/site.json"], "cannot be written"),
        (["--ledger", "/proc/none/ledger.jsonl"], "--ledger /proc/none/ledger.jsonl cannot be written"),
        (["--fault", "meter=heater,kind=bad_crc"], "'bad_crc' of meter 'heater' cannot happen on a bus"),
    ],
)
def test_fault_of_a_person_is_one_sentence(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    complaint_of(["meters", "--seconds", "0.01", *arguments], complaint, capsys)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--profile", "eastron-sdm63"], "--profile: profile 'eastron-sdm63' is unknown; did you mean"),
        (["--profile", "xy-md02"], "--profile xy-md02: of profile xy-md02 the simulation plays no point"),
        (["--meters", "300"], "--meters 300: a site has at most 247 unit ids"),
        (["--first-address", "10.0.0.1"], "--first-address 10.0.0.1: 2 addresses from there leave the loopback"),
        (["--port-per-site", "--port", "65535"], "--port 65535: 2 ports from there end beyond 65535"),
        (["--ledger", "/proc/none/ledger.jsonl"], "--ledger /proc/none/ledger.jsonl cannot be written"),
    ],
)
def test_fleet_that_cannot_be_is_refused_in_one_sentence(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    complaint_of(["fleet", "--sites", "2", "--seconds", "0.01", *arguments], complaint, capsys)


def complaint_of(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    assert main(arguments) == 78
    for number, handler in zip((signal.SIGTERM, signal.SIGINT), handlers, strict=True):
        signal.signal(number, handler)
    complained = capsys.readouterr().err
    assert complaint in complained
    assert len(complained.splitlines()) == 1


def test_fleet_is_served_until_the_end_is_asked_for(tmp_path: Path) -> None:
    config_file, log = tmp_path / "site.json", tmp_path / "log"
    arguments = [
        "fleet",
        "--sites",
        "3",
        "--meters",
        "2",
        "--first-address",
        "127.19.0.254",
        "--json",
        "--write-config",
    ]
    with Process("fleet", [*SIMULATE, *arguments, config_file], log_file=log) as fleet:
        wait_until(lambda: fleet.require_running() and b"ready" in log.read_bytes(), WAIT_S, "the fleet")
        config = SiteConfig.model_validate_json(config_file.read_text())
        for bus in config.buses:
            read_first_registers(bus, times=1)
    assert fleet.returncode == 0
    assert [bus.host for bus in config.buses] == ["127.19.0.254", "127.19.0.255", "127.19.1.0"]
    ready = json.loads(log.read_text())
    assert (ready["ready"], ready["sites"], ready["meters"]) == (True, 3, 6)
    assert ready["last"] == "127.19.1.0:15020"


def test_help_needs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["meters", "--help"])
    assert ended.value.code == 0
    assert "--write-config" in capsys.readouterr().out
