"""The whole system as processes on one machine: every part real, each in a process of its own.

The demo shows it, and the end-to-end tests kill its parts.
"""

import contextlib
import json
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from cloud_hub import db
from cloud_hub.registry.service import register_controller, register_site
from cloud_hub.schema.upgrade import upgrade
from cloud_hub.tenancy.roles import Role
from cloud_hub.users.service import create_admin
from demo.mosquitto import PrivateMosquitto
from demo.postgres import PrivatePostgres
from demo.processes import Process, accepts_connections, free_port, wait_until
from demo.relay import Relay

DATABASE = "meterhaul"
SITE, CONTROLLER = "demo-hut", "demo-hut-1"
ADMIN_EMAIL = "admin@demo.example"
ROLES = {"serve": Role.WEB, "ingest": Role.INGEST, "work": Role.WORK}
"""Each command of the hub has a login of its own at the database, which may do what it needs."""
LOCK = "lock"
"""The file in the directory whose lock a running demo holds."""
_READY_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the parts work; the demo's is comfortable to watch, tests are faster."""

    period_s: float = 2.0
    send_every_s: float = 2.0
    hello_every_s: float = 60.0
    ack_timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Login:
    """What a person types to see the page."""

    email: str
    password: str


class Stack:
    """PostgreSQL, broker, relay, meters, agent and hub under one directory.

    `simulation` holds arguments for `meterhaul simulate meters`, or for another `simulator` there. Data stays for
    the next start.
    """

    def __init__(
        self,
        directory: Path,
        *,
        simulation: Sequence[str] = ("--site", "demo"),
        simulator: str = "meters",
        pace: Pace | None = None,
        ingest_processes: int = 1,
        web_port: int | None = None,
        with_web: bool = True,
    ) -> None:
        """Describe the system; nothing runs yet."""
        self.directory = directory.absolute()
        self.pace = pace or Pace()
        self.postgres = PrivatePostgres(self.directory / "postgres")
        self.broker = PrivateMosquitto(self.directory / "mosquitto")
        self.relay = Relay("127.0.0.1", self.broker.port)
        self.web_port = web_port or free_port()
        self.meters = self._process("meters", "simulate", simulator, *self._simulation(simulation))
        self.agent = self._process("agent", "edge", "run", "--config", str(self._agent_toml))
        self._hub_names = [
            *(f"ingest-{number + 1}" for number in range(ingest_processes)),
            "work",
            *(["serve"] if with_web else []),
        ]
        self.hub: dict[str, Process] = {}

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.web_port}/"

    @property
    def ledger(self) -> Path:
        """The meters' own record of what they served."""
        return self.directory / "meters" / "ledger.jsonl"

    @property
    def buffer(self) -> Path:
        """The agent's SQLite file."""
        return self.directory / "agent" / "data" / "buffer.sqlite3"

    @property
    def database_url(self) -> str:
        """The hub's database."""
        return self.postgres.url_of(DATABASE)

    @property
    def ingest(self) -> list[Process]:
        """The ingest processes."""
        return [process for name, process in self.hub.items() if name.startswith("ingest")]

    def start(self, say: Callable[[str], None] = lambda _: None) -> Login:
        """Start every part in order and return when each is ready; `say` is told of each step.

        Raises: DemoError.
        """
        say("PostgreSQL")
        self.postgres.start()
        login = self._prepare_database()
        say("Mosquitto")
        broker_login = self.broker.add_controller(CONTROLLER)
        self.broker.start()
        self.relay.start()
        say("simulated meters")
        self._site_file.unlink(missing_ok=True)
        self.meters.start()
        wait_until(
            lambda: self.meters.require_running() and self._site_file.exists(), _READY_TIMEOUT_S, "the meters to listen"
        )
        say("hub")
        self._start_hub()
        say("agent")
        self._write_agent_files(broker_login.password)
        self.agent.start()
        return login

    def stop_edge(self) -> None:
        """Stop agent and meters in order: what was in hand is stored, what can be is delivered."""
        self.agent.stop(timeout_s=30)
        self.meters.stop()

    def stop(self) -> None:
        """Stop everything, the edge first; nothing is left running."""
        with contextlib.ExitStack() as stack:
            for stop in (self.postgres.stop, self.broker.stop, self.relay.stop, *(p.stop for p in self.hub.values())):
                stack.callback(stop)
            stack.callback(self.stop_edge)

    def require_running(self) -> None:
        """Check that no part has ended by itself.

        Raises: NotReady with the part's last words.
        """
        for process in (self.meters, self.agent, *self.hub.values()):
            process.require_running()

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """Open a session on the hub's database."""
        engine = db.create_engine(self.database_url)
        try:
            with db.session_scope(db.create_sessions(engine)) as session:
                yield session
        finally:
            engine.dispose()

    @property
    def _site_file(self) -> Path:
        return self.directory / "agent" / "site.json"

    @property
    def _agent_toml(self) -> Path:
        return self.directory / "agent" / "agent.toml"

    def _process(self, name: str, *arguments: str, env: Mapping[str, str] | None = None) -> Process:
        command = [sys.executable, "-m", "meterhaul.cli", *arguments]
        return Process(name, command, log_file=self.directory / "logs" / f"{name}.log", env=env)

    def _simulation(self, arguments: Sequence[str]) -> list[str]:
        return [
            *arguments,
            *("--ledger", str(self.ledger)),
            *("--write-config", str(self._site_file)),
            *("--period", str(self.pace.period_s)),
        ]

    def _prepare_database(self) -> Login:
        login_file = self.directory / "login.json"
        if not login_file.exists():
            self.postgres.drop_database(DATABASE)
            self.postgres.create_database(DATABASE)
        # A directory of an earlier release is brought to this one.
        upgrade(self.database_url)
        for command, role in ROLES.items():
            self.postgres.add_login(_login_of(command), member_of=role)
        if login_file.exists():
            return Login(**json.loads(login_file.read_text()))
        login = Login(ADMIN_EMAIL, secrets.token_urlsafe(9))
        with self.session() as session:
            register_site(session, slug=SITE, name="Demo hut", time_zone="Europe/Berlin")
            register_controller(session, controller_id=CONTROLLER, site_slug=SITE)
            create_admin(session, login.email, login.password)
        login_file.touch(mode=0o600)
        login_file.write_text(json.dumps({"email": login.email, "password": login.password}))
        return login

    def _start_hub(self) -> None:
        env = {
            "METERHAUL_BROKER_URL": self.broker.hub_url,
            "METERHAUL_BROKER_FILES": str(self.broker.files),
            "METERHAUL_SECRET_KEY_FILE": str(self.directory / "secret-key"),
        }
        commands = {"serve": ("--host", "127.0.0.1", "--port", str(self.web_port), "--create-key")}
        for name in self._hub_names:
            command = name.partition("-")[0]
            own = {"METERHAUL_DATABASE_URL": self.postgres.url_of(DATABASE, _login_of(command))}
            self.hub[name] = self._process(name, "hub", command, *commands.get(command, ()), env=env | own)
            self.hub[name].start()
        if "serve" in self.hub:
            wait_until(
                lambda: self.hub["serve"].require_running() and accepts_connections(self.web_port),
                _READY_TIMEOUT_S,
                "the page to be served",
            )

    def _write_agent_files(self, password: str) -> None:
        password_file = self._agent_toml.with_name("broker-password")
        password_file.touch(mode=0o600)
        password_file.write_text(password)
        self._agent_toml.write_text(
            f"""controller_id = "{CONTROLLER}"
data_dir = "data"
site = "{self._site_file.name}"

[broker]
host = "127.0.0.1"
port = {self.relay.port}
password_file = "{password_file.name}"

[uplink]
send_every_s = {self.pace.send_every_s}
hello_every_s = {self.pace.hello_every_s}
health_pause_s = 10
ack_timeout_s = {self.pace.ack_timeout_s}
"""
        )

    def wipe(self) -> None:
        """Delete all data of an earlier run."""
        self.postgres.wipe()
        for path in self.directory.glob("*"):
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()


def _login_of(command: str) -> str:
    return f"hub_{command}"
