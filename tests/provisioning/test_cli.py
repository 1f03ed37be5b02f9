"""`meterhaul provision broker` writes what Mosquitto starts with."""

import json
import stat
from pathlib import Path

import pytest

from demo.mosquitto import find_mosquitto
from demo.processes import Process, accepts_connections, free_port, wait_until
from protocol.mosquitto import SUBSCRIBER_PASSWORDS
from provisioning.cli import main

WAIT_S = 10


def test_mosquitto_starts_with_the_written_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port, hub_port, subscriber_port = free_port(), free_port(), free_port()
    ports = ["--port", str(port), "--hub-port", str(hub_port), "--subscriber-port", str(subscriber_port)]
    ports += ["--user", "root"]
    assert main(["broker", str(tmp_path), *ports, "--controller", "hut-1", "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    with Process("broker", [find_mosquitto(), "-c", written["configuration"]], log_file=tmp_path / "log") as broker:
        wait_until(
            lambda: broker.require_running() and all(map(accepts_connections, (port, hub_port, subscriber_port))),
            WAIT_S,
            "the broker",
        )


def test_logins_are_kept_private_and_stay_when_more_are_added(tmp_path: Path) -> None:
    main(["broker", str(tmp_path), "--controller", "hut-1"])
    first = json.loads((tmp_path / "logins.json").read_text())
    main(["broker", str(tmp_path), "--controller", "hut-2"])
    both = json.loads((tmp_path / "logins.json").read_text())
    assert sorted(both) == ["hub", "hut-1", "hut-2"]
    assert {name: both[name] for name in first} == first
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in tmp_path.iterdir())


def test_what_the_hub_wrote_for_subscribers_stays(tmp_path: Path) -> None:
    main(["broker", str(tmp_path)])
    kept = tmp_path / SUBSCRIBER_PASSWORDS
    assert kept.read_text() == ""
    kept.write_text("scada@acme:hash\n")
    main(["broker", str(tmp_path), "--controller", "hut-1"])
    assert kept.read_text() == "scada@acme:hash\n"


def test_passwords_are_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["broker", str(tmp_path), "--controller", "hut-1"])
    shown = capsys.readouterr().out
    assert not any(password in shown for password in json.loads((tmp_path / "logins.json").read_text()).values())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [(["/proc/none"], "/proc/none: "), (["{tmp}", "--controller", "Hut 1"], "--controller 'Hut 1' is not a valid id")],
)
def test_fault_of_a_person_is_one_sentence(
    arguments: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["broker", *(argument.format(tmp=tmp_path) for argument in arguments)]) == 78
    complained = capsys.readouterr().err
    assert complaint in complained
    assert len(complained.splitlines()) == 1
