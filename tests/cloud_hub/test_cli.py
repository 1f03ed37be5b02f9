"""Commands say what they did; what a person got wrong is one sentence and the right exit code."""

import io
import json

import pytest
from ingest_factories import commit, make_entries, make_payload, register, stored_values
from sqlalchemy import Engine, text

from cloud_hub.cli import main
from cloud_hub.db import head_revision


@pytest.fixture
def _database(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setenv("METERHAUL_DATABASE_URL", database_url)


def test_init_makes_tables_and_partitions_and_may_run_again(
    monkeypatch: pytest.MonkeyPatch, empty_database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("METERHAUL_DATABASE_URL", empty_database_url)
    assert main(["init"]) == 0
    assert main(["init"]) == 0
    assert f"is at revision {head_revision()}." in capsys.readouterr().out


@pytest.mark.parametrize("command", [["init"], ["ingest"], ["work"], ["serve"], ["quarantine", "list"]], ids=" ".join)
def test_without_a_database_every_command_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    monkeypatch.delenv("METERHAUL_DATABASE_URL", raising=False)
    assert main(command) == 78
    assert "METERHAUL_DATABASE_URL is not set" in capsys.readouterr().err


@pytest.mark.usefixtures("_database")
def test_ingest_without_a_broker_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("METERHAUL_BROKER_URL", raising=False)
    assert main(["ingest"]) == 78
    assert "METERHAUL_BROKER_URL is not set" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", [["work"], ["quarantine", "list"], ["create-admin", "ann@example.org"]], ids=" ".join
)
def test_an_unmigrated_database_is_named(
    monkeypatch: pytest.MonkeyPatch, empty_database_url: str, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    monkeypatch.setenv("METERHAUL_DATABASE_URL", empty_database_url)
    assert main(command) == 78
    assert "run 'meterhaul hub init'" in capsys.readouterr().err


@pytest.mark.usefixtures("_database")
def test_the_quarantine_is_listed_and_replayed(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quarantine", "list"]) == 0
    assert capsys.readouterr().out == "The quarantine is empty.\n"
    commit(engine, make_payload(make_entries(1, 5)), b"not a batch")
    assert main(["quarantine", "list"]) == 0
    assert "1..5               unknown_controller: " in capsys.readouterr().out
    register(engine)
    assert main(["quarantine", "replay", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"stored": 1, "kept": 1}
    assert stored_values(engine) == [1, 2, 3, 4, 5]
    assert main(["quarantine", "list", "--all", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(entry["reason"], entry["replayed_at"] is None) for entry in listed] == [
        ("unknown_controller", False),
        ("malformed", True),
    ]


@pytest.mark.usefixtures("_database")
def test_an_unknown_quarantined_batch_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quarantine", "replay", "5"]) == 1
    assert "nothing in quarantine has the id 5" in capsys.readouterr().err


@pytest.mark.usefixtures("_database")
def test_an_admin_is_added_with_a_password_from_standard_input(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse battery\n"))
    assert main(["create-admin", "Ann@Example.org", "--password-stdin"]) == 0
    assert "ann@example.org" in capsys.readouterr().out
    with engine.connect() as connection:
        assert connection.scalars(text("SELECT email FROM users")).all() == ["ann@example.org"]
