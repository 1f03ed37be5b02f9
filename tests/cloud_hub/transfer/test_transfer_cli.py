"""The commands say what they did; what a person got wrong is one sentence."""

import io
import json
from datetime import date
from pathlib import Path

import pytest
from hub_factories import add_site
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session
from transfer_factories import add_ledger_day, add_register_point, count_rows, stored_readings

from cloud_hub.cli import main

CONTENT = "Zaehler;Zeit;Stand\nHaus A;01.02.2026 12:00;1234,5\nHaus A;01.02.2026 12:30;1235\n"
OPTIONS = [
    *("--site", "north", "--create-meters", "--column", "meter=Zaehler", "--column", "observed_at=Zeit"),
    *("--point", "Stand=active_energy_import_total:kWh", "--delimiter", ";", "--decimal-comma"),
    *("--time-format", "%d.%m.%Y %H:%M", "--time-zone", "Europe/Berlin"),
]


@pytest.fixture(autouse=True)
def _database(monkeypatch: pytest.MonkeyPatch, database_url: str, session: Session) -> None:
    monkeypatch.setenv("METERHAUL_DATABASE_URL", database_url)
    monkeypatch.delenv("METERHAUL_ARCHIVE_URL", raising=False)
    add_site(session)
    session.commit()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.csv"
    path.write_text(CONTENT, encoding="utf-8")
    return path


def test_import_tells_first_and_stores_then(file: Path, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(file), *OPTIONS, "--dry-run"]) == 0
    assert "2 readings would be stored, 0 known already" in capsys.readouterr().out
    assert count_rows(engine, "scans") == [0]
    assert main(["import", str(file), *OPTIONS]) == 0
    out = capsys.readouterr().out
    assert "import-north/haus-a (made): 2 readings of active_energy_import_total" in out
    assert "2 readings stored" in out
    assert [value for *_, value, _ in stored_readings(engine)] == [1_234_500.0, 1_235_000.0]
    assert main(["import", str(file), *OPTIONS, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["new"], told["known"], told["is_stored"]) == (0, 2, True)


def test_import_reads_standard_input(
    monkeypatch: pytest.MonkeyPatch, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(CONTENT))
    assert main(["import", "-", *OPTIONS]) == 0
    assert "2 readings stored" in capsys.readouterr().out
    assert count_rows(engine, "scans") == [2]


def test_refused_lines_are_told_and_nothing_is_stored(
    file: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(CONTENT + "Haus A;01.02.2026 13:00;kaputt\n", encoding="utf-8")
    assert main(["import", str(file), *OPTIONS]) == 1
    told = capsys.readouterr()
    assert "refused: line 4, column 'Stand': 'kaputt' is no number" in told.err
    assert "2 readings not stored" in told.out
    assert count_rows(engine, "scans") == [0]
    assert main(["import", str(file), *OPTIONS, "--skip-rejected"]) == 0
    assert count_rows(engine, "scans") == [2]


WRONG = [
    (["import", "/nowhere.csv", "--site", "north"], "/nowhere.csv cannot be read"),
    (["import", "FILE", "--site", "north", "--time-zone", "Mars/Olympus"], "'Mars/Olympus' is no time zone"),
    (["import", "FILE", "--site", "north", "--column", "colour=red"], "names no role"),
    (["import", "FILE", "--site", "north", "--column", "meter"], "is not of the form ROLE=TITLE"),
    (["import", "FILE", "--site", "north", "--point", "Stand"], "is not of the form TITLE=POINT"),
    (["import", "FILE", "--site", "north", "--delimiter", "||"], "is not one character"),
    (["import", "FILE", "--site", "north", "--profile", "no-such-meter"], "no-such-meter"),
    (["import", "FILE", *OPTIONS[2:], "--site", "nowhere"], "there is no site 'nowhere'"),
    (["export", "readings", "--from", "yesterday", "--to", "2026-01-01"], "--from is 'yesterday'"),
    (["export", "readings", "--from", "2026-01-01", "--to", "2026-01-01"], "is not after from"),
    (["export", "totals", "--from", "2026-01-01", "--to", "2026-01-02"], "no counter answers"),
    (["archive", "list"], "METERHAUL_ARCHIVE_URL is not set"),
    (["archive", "list", "--url", "nowhere://x"], "none that fsspec reaches"),
    (["archive", "write", "audit", "--month", "2026-13", "--url", "memory://x"], "write a month such as 2026-01"),
    (["archive", "write", "audit", "--month", "2026-01", "--organisation", "x", "--url", "memory://x"], "'x'"),
]


def test_what_a_person_got_wrong_is_one_sentence(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in WRONG:
        assert main([str(file) if one == "FILE" else one for one in arguments]) in {1, 78}
        told = capsys.readouterr().err
        assert said in told
        assert told.startswith(f"meterhaul hub {arguments[0]}: ")
        assert told.count("\n") == 1, arguments


def test_a_file_that_is_no_text_is_named(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_bytes(b"meter\xff\n")
    assert main(["import", str(file), "--site", "north"]) == 1
    assert "is not UTF-8 text" in capsys.readouterr().err


def test_export_writes_a_whole_file_or_none(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_ledger_day(session, add_register_point(session, slug="south"), date(2026, 5, 1))
    session.commit()
    output = tmp_path / "totals.csv"
    order = ["export", "totals", "--from", "2026-05-01", "--to", "2026-06-01", "--site", "south"]
    assert main([*order, "--output", str(output), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(output), "bytes": output.stat().st_size}
    assert "2026-05-01" in output.read_text(encoding="utf-8")
    assert main([*order, "--output", str(tmp_path / "none" / "totals.csv")]) == 1
    assert "cannot be written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["totals.csv"]


def test_export_writes_to_standard_output(file: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["import", str(file), *OPTIONS]) == 0
    capfdbinary.readouterr()
    assert main(["export", "readings", "--from", "2026-02-01", "--to", "2026-02-02", "--meter", "haus-a"]) == 0
    lines = capfdbinary.readouterr().out.splitlines()
    assert len(lines) == 3
    assert b",Wh,2026-02-01T11:00:00.000Z,2026-02-01T12:00:00.000+01:00,1234500.0,good" in lines[1]


def test_the_archive_is_written_listed_read_and_put_back(
    file: Path, tmp_path: Path, session: Session, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--url", (tmp_path / "archive").as_uri()]
    assert main(["import", str(file), *OPTIONS]) == 0
    assert main(["archive", "list", *where]) == 0
    assert "The archive holds nothing of that." in capsys.readouterr().out
    assert main(["archive", "write", "readings", "--month", "2026-02", *where]) == 0
    assert "read back and found whole" in capsys.readouterr().out
    assert main(["archive", "write", "audit", "--month", "2020-01", *where]) == 0
    assert "nothing of audit in 2020-01" in capsys.readouterr().out
    assert main(["archive", "list", "--from-month", "2026-02", "--to-month", "2026-02", "--json", *where]) == 0
    assert [part["kind"] for part in json.loads(capsys.readouterr().out)] == ["readings"]
    assert main(["archive", "read", "--kind", "readings", *where]) == 0
    assert "import-north,haus-a,active_energy_import_total,Wh,2026-02-01T11:00:00Z,1234500.0,good" in (
        capsys.readouterr().out
    )
    session.execute(text("DELETE FROM scans"))
    session.commit()
    assert main(["archive", "restore", *where]) == 0
    assert "2 of 2 rows of 1 files put back" in capsys.readouterr().out
    assert len(stored_readings(engine)) == 2
