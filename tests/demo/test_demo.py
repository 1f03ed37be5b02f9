"""The demo shows the main job, accounts for every scan, and leaves nothing running."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from demo.postgres import PrivatePostgres
from demo.processes import wait_until

KEYS = {
    "scans_served",
    "scans_stored",
    "scans_committed",
    "scans_on_edge",
    "gap_records",
    "readings_committed",
    "bytes_up",
    "bytes_down",
    "url",
}


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "demo"
    PrivatePostgres(tmp_path / "demo" / "postgres").wipe()


def demo(directory: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "meterhaul.cli", "demo", "--data-dir", str(directory), *arguments]


def run(directory: Path, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(demo(directory, "--json", *arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def left_running(directory: Path) -> list[str]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = " ".join(process.info["cmdline"] or [])
        if str(directory) in command:
            found.append(command)
    return found


@pytest.mark.timeout(300)
def test_every_scan_is_accounted_for_and_a_second_run_goes_on(directory: Path) -> None:
    first = run(directory, "--seconds", "8")
    assert first.keys() >= KEYS
    assert first["scans_served"] == first["scans_stored"] > 0
    assert first["scans_stored"] == first["scans_committed"] + first["scans_on_edge"]
    assert (first["gap_records"], first["scans_silent"]) == (0, 0)
    assert first["readings_committed"] > first["scans_committed"]
    assert min(first["bytes_up"], first["bytes_down"]) > 0
    assert left_running(directory) == []

    second = run(directory, "--seconds", "6")
    assert second["scans_served"] > first["scans_served"]
    assert second["scans_stored"] == second["scans_served"]

    fresh = run(directory, "--seconds", "4", "--fresh")
    assert fresh["scans_served"] < second["scans_served"]


@pytest.mark.timeout(120)
def test_an_interrupt_stops_everything_in_order(directory: Path) -> None:
    with subprocess.Popen(demo(directory), stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        said = []
        for line in running.stderr:
            said.append(line)
            if "the hub committed" in line:
                break
        assert any("Login" in line for line in said)
        refused = subprocess.run(demo(directory), capture_output=True, text=True, check=False)
        assert refused.returncode == 1
        assert "already runs" in refused.stderr
        running.send_signal(signal.SIGINT)
        last = running.stderr.read()
    assert running.returncode == 0
    assert "Every scan that the meters served is accounted for." in last
    wait_until(lambda: not left_running(directory), 10, "everything to be gone")
