"""A private PostgreSQL: its own data directory, port and password; nothing of the system's is touched."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg2
import structlog
from psycopg2 import sql
from sqlalchemy.engine import URL, make_url

from demo.errors import DemoError
from demo.postgres_account import copy_programs, home_elsewhere, may_enter, unprivileged_account
from demo.postgres_programs import find_postgres_bin
from demo.processes import Process, free_port, wait_until

log = structlog.get_logger()

_ROLE = "meterhaul"
_START_TIMEOUT_S = 60
_STOP_TIMEOUT_S = 20
_SOCKET_PATH_MAX = 90
"""sockaddr_un holds 107 bytes, and PostgreSQL adds a name of its own to the directory's."""


class PrivatePostgres:
    """One cluster under `data_dir`, made at the first start and kept for the next."""

    def __init__(self, data_dir: Path, port: int | None = None, *, durable: bool = True) -> None:
        """Describe the cluster; nothing runs yet.

        Without `durable` a power cut may damage it: for tests that never pull that plug.
        """
        self.data_dir = data_dir.absolute()
        self.port = port or free_port()
        self._durable = durable
        self._account = unprivileged_account()
        self._home = self.data_dir
        self._bin = Path()
        self._password = ""
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the database `postgres`, password included."""
        return self.url_of("postgres")

    def url_of(self, database: str, login: str = _ROLE) -> str:
        """Build the SQLAlchemy URL of a database of this cluster, password included."""
        return URL.create(
            "postgresql+psycopg2",
            username=login,
            password=self._password,
            host="127.0.0.1",
            port=self.port,
            database=database,
        ).render_as_string(hide_password=False)

    def start(self) -> None:
        """Make the cluster when there is none, start it, and return when it answers.

        Raises: DemoError (its children MissingProgram and NotReady).
        """
        self._settle()
        if not self.cluster.exists():
            self._initialise()
        self._password = self.password_file.read_text()
        self._clear_traces()
        process = Process(
            "postgres",
            [self._bin / "postgres", "-D", self.cluster, *self._options()],
            log_file=self._home / "postgres.log",
            cwd=Path("/"),
            user=self._account,
            env={"LC_ALL": "C", "TZ": "UTC"},
            stop_signal=signal.SIGINT,  # "fast": open sessions are ended, what they committed is kept
            death_signal=signal.SIGQUIT,  # "immediate": the server takes its own children along
        )
        self._process = process
        process.start()
        try:
            wait_until(lambda: process.require_running() and self._answers(), _START_TIMEOUT_S, "PostgreSQL to answer")
        except DemoError:
            self.stop()
            raise

    def stop(self) -> None:
        """End sessions and server in order."""
        if self._process is not None:
            self._process.stop(_STOP_TIMEOUT_S)

    def kill(self) -> None:
        """Kill -9 the server and every process of it; return when none is left, so that `start` may follow."""
        if self._process is None or not self._process.is_running:
            return
        children = _children_of(self._process.pid)
        self._process.kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        wait_until(lambda: not any(_is_alive(child) for child in children), 10, "PostgreSQL's processes to end")

    def wipe(self) -> None:
        """Delete the cluster, wherever it was placed; the server must not run."""
        self._settle()
        for home in {self._home, self.data_dir}:
            shutil.rmtree(home, ignore_errors=True)

    @property
    def is_running(self) -> bool:
        """Say whether the server lives."""
        return self._process is not None and self._process.is_running

    @property
    def pid(self) -> int:
        """The process id of the server's first process.

        Raises: DemoError when it was never started.
        """
        if self._process is None:
            raise DemoError("PostgreSQL was never started")
        return self._process.pid

    def program(self, name: str) -> Path:
        """Return the path of a client program of the server's own version, such as `pg_dump`."""
        return (self._bin if self._bin.name else find_postgres_bin()) / name

    def add_login(self, name: str, *, member_of: str) -> None:
        """Let somebody log in who may do what a role may, and no more; one that is there stays.

        The cluster is private: all its logins share the password in `password_file`.
        """
        with contextlib.suppress(psycopg2.errors.DuplicateObject):
            _execute(
                self.url,
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE {}").format(
                    sql.Identifier(name), sql.Literal(self._password), sql.Identifier(member_of)
                ),
            )

    def create_database(self, name: str, template: str | None = None) -> str:
        """Create a database, as a copy of `template` when given, and return its SQLAlchemy URL."""
        return create_database(self.url, name, template)

    def drop_database(self, name: str) -> None:
        """Drop a database if it exists, whoever is connected to it."""
        drop_database(self.url, name)

    def rename_database(self, name: str, new_name: str) -> None:
        """Rename a database to which nobody is connected."""
        _execute(
            self.url,
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(new_name)),
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def cluster(self) -> Path:
        """The server's own data directory (its PGDATA)."""
        return self._home / "cluster"

    @property
    def password_file(self) -> Path:
        """The file that holds the password, beside the cluster; made by the first start."""
        return self._home / "postgres-password"

    def _settle(self) -> None:
        """Choose programs and a place that the account which runs the server can reach."""
        self._bin = find_postgres_bin()
        self._home = self.data_dir
        self._home.mkdir(parents=True, exist_ok=True)
        if self._account is None:
            return
        if not may_enter(self._home, self._account):
            self._home = home_elsewhere(self.data_dir)
            log.info(
                "postgres_placed_elsewhere", why=f"{self._account} may not enter {self.data_dir}", at=str(self._home)
            )
        if not may_enter(self._bin / "postgres", self._account):
            self._bin = copy_programs(self._bin, self._home)

    def _initialise(self) -> None:
        # Made beside its place and renamed, so that an interrupted initdb is never taken for a cluster.
        unfinished = self._home / "cluster.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        self.password_file.unlink(missing_ok=True)
        self.password_file.touch(mode=0o600)
        self.password_file.write_text(secrets.token_urlsafe(24))
        for path in (unfinished, self.password_file):
            if self._account is not None:
                shutil.chown(path, self._account)
        made = subprocess.run(
            [
                self._bin / "initdb",
                f"--pgdata={unfinished}",
                f"--username={_ROLE}",
                f"--pwfile={self.password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                *([] if self._durable else ["--no-sync"]),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            user=self._account,
            env={**os.environ, "LC_ALL": "C"},
        )
        if made.returncode != 0:
            raise DemoError(f"initdb could not make a cluster in {self._home}: {' '.join(made.stderr.split())}")
        unfinished.rename(self.cluster)

    def _clear_traces(self) -> None:
        """Remove the lock files of a killed server; refuse when the server still lives.

        PostgreSQL itself refuses to start when the number in its lock file is by now another process's.
        """
        lock = self.cluster / "postmaster.pid"
        if lock.exists():
            pid = int(lock.read_text().split("\n", 1)[0])
            try:
                wait_until(lambda: not _runs_on(pid, self.cluster), _STOP_TIMEOUT_S, "the former server to end")
            except DemoError as error:
                raise DemoError(
                    f"process {pid} already runs PostgreSQL on {self.cluster}: end it with: kill {pid}"
                ) from error
            lock.unlink(missing_ok=True)
        shutil.rmtree(self._home / "socket", ignore_errors=True)

    def _options(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": self._socket_directory(),
            "max_connections": "100",
            "shared_buffers": "64MB",
            "max_wal_size": "512MB",
            "max_parallel_workers_per_gather": "0",
            # Files under the data directory: a container's /dev/shm is small, and a kill -9 leaves it littered.
            "dynamic_shared_memory_type": "mmap",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if not self._durable:
            settings |= {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
        return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def _socket_directory(self) -> str:
        directory = self._home / "socket"
        if len(os.fsencode(directory)) > _SOCKET_PATH_MAX:
            return ""
        directory.mkdir(mode=0o700)
        if self._account is not None:
            shutil.chown(directory, self._account)
        return str(directory)

    def _answers(self) -> bool:
        try:
            psycopg2.connect(_dsn(self.url), connect_timeout=5).close()
        except psycopg2.OperationalError as error:
            # The server speaks but this password is not its own: waiting would not help.
            if "password authentication failed" in str(error):
                raise DemoError(
                    f"the server on port {self.port} refuses the password in {self.password_file}"
                ) from error
            return False
        return True


def create_database(server_url: str, name: str, template: str | None = None) -> str:
    """Create a database, as a copy of `template` when given, and return its SQLAlchemy URL."""
    statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
    if template is not None:
        # Half as long as by way of the log, where a checkpoint costs nothing.
        statement += sql.SQL(" TEMPLATE {} STRATEGY file_copy").format(sql.Identifier(template))
    _execute(server_url, statement)
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


def drop_database(server_url: str, name: str) -> None:
    """Drop a database if it exists, whoever is connected to it."""
    _execute(server_url, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _execute(server_url: str, statement: sql.Composable) -> None:
    with contextlib.closing(psycopg2.connect(_dsn(server_url))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)


def _dsn(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def _runs_on(pid: int, cluster: Path) -> bool:
    try:
        return os.fsencode(cluster) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def _children_of(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The program's name stands in parentheses and may hold blanks; the parent is the second field after it.
            if int(entry.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry.parent.name))
    return found


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
