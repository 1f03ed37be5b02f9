"""What `cellular.py` measures: a real agent behind a counted wire, and a real hub on the other side."""

import contextlib
import json
import sqlite3
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from netns import Namespace, Passed
from paho.mqtt.enums import CallbackAPIVersion

from cloud_hub import db
from cloud_hub.registry.service import register_controller, register_site
from cloud_hub.schema.upgrade import upgrade
from demo.mosquitto import Login
from demo.postgres import PrivatePostgres
from demo.processes import Process, wait_until
from demo.tls_mosquitto import TlsMosquitto
from protocol import topics
from protocol.codec import decode_envelope
from protocol.site_config import SiteConfig
from protocol.topics import Up

CONTROLLER = "hut-0001"
_SITE = Path(__file__).with_name("cellular-site.toml")
_READY_S = 60
_PATIENCE_S = 300
_QUIET_S = 1.0
NEVER_S = 86_400


@dataclass(frozen=True, slots=True)
class Window:
    """What passed on the wire in a while, and what the agent said in it."""

    passed: Passed
    said: Counter[Up]
    scans: int


class Observer:
    """Counts what the agent says, at the hub's door of the broker and so off the wire."""

    def __init__(self, login: Login) -> None:
        self.counts: Counter[Up] = Counter()
        self.scans = 0
        self._lock = threading.Lock()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.username_pw_set(login.username, login.password)
        self._client.on_connect = lambda client, *_: client.subscribe(topics.all_up(), qos=1)
        self._client.on_message = lambda _c, _u, message: self._hear(message.topic, bytes(message.payload))
        self._client.connect(login.host, login.port)
        self._client.loop_start()

    def close(self) -> None:
        """Listen no more."""
        self._client.disconnect()
        self._client.loop_stop()

    def _hear(self, topic: str, payload: bytes) -> None:
        kind = topics.parse_up(topic).kind
        with self._lock:
            self.counts[kind] += 1
            if kind is Up.BATCH:
                self.scans += decode_envelope(payload).count


class Rig:
    """Namespace with meters and agent; broker, ingest and PostgreSQL outside. Make it with `rigged`."""

    def __init__(self, directory: Path, namespace: Namespace, broker: TlsMosquitto, observer: Observer) -> None:
        self.directory, self.namespace, self.broker, self.observer = directory, namespace, broker, observer
        self._pair = broker.issue(CONTROLLER)
        self._agent: Process | None = None

    @property
    def site_file(self) -> Path:
        """The configuration that the simulator wrote."""
        return self.directory / "site.json"

    @contextlib.contextmanager
    def meters(self, *, speed: float) -> Iterator[SiteConfig]:
        """Serve the meters inside, their time running so much faster."""
        self.site_file.unlink(missing_ok=True)
        arguments = ("--site", str(_SITE), "--write-config", str(self.site_file), "--speed", str(speed))
        with self._inside("meters", "simulate", "meters", *arguments) as meters:
            wait_until(lambda: meters.require_running() and self.site_file.exists(), _READY_S, "the meters")
            yield SiteConfig.model_validate_json(self.site_file.read_text(encoding="utf-8"))

    @contextlib.contextmanager
    def agent(self, *, period_s: float, keepalive_s: int = 1200, **uplink: float | str) -> Iterator[None]:
        """Run the agent, its meters polled at this period, and wait until it has said hello and all it had."""
        self._write_files(period_s, keepalive_s, uplink)
        hellos, healths = self.observer.counts[Up.HELLO], self.observer.counts[Up.HEALTH]
        with self._inside("agent", "edge", "run", "--config", str(self.directory / "agent.toml")) as agent:
            self._agent = agent
            wait_until(lambda: agent.require_running() and self.observer.counts[Up.HELLO] > hellos, _READY_S, "hello")
            # Said once after the start.
            wait_until(
                lambda: agent.require_running() and self.observer.counts[Up.HEALTH] > healths, _READY_S, "health"
            )
            if period_s == NEVER_S:
                self.wait_until_quiet()
            yield
            agent.stop(timeout_s=30)

    def count(self, kind: Up, times: int) -> Window:
        """Return what passes while the agent says something so many times, each answer included."""
        self._wait_for(kind, 1)
        passed, said, scans = self.namespace.passed(), self.observer.counts.copy(), self.observer.scans
        self._wait_for(kind, times)
        return Window(self.namespace.passed() - passed, self.observer.counts - said, self.observer.scans - scans)

    def count_signs_of_life(self, times: int) -> float:
        """Return the bytes of one: asked, answered, and the answer's own acknowledgement."""
        before = self.wait_until_quiet()

        def asked() -> int:
            # Of three packets two go up.
            return (self.namespace.passed() - before).packets_up // 2

        wait_until(lambda: self._running() and asked() >= times, _PATIENCE_S, "signs of life")
        return (self.wait_until_quiet() - before).total / asked()

    def _wait_for(self, kind: Up, times: int) -> None:
        until = self.observer.counts[kind] + times
        wait_until(lambda: self._running() and self.observer.counts[kind] >= until, _PATIENCE_S, kind.value)
        time.sleep(_QUIET_S / 2)  # for the answer to the last one

    def wait_until_quiet(self) -> Passed:
        """Wait until nothing passes any more, and return the counters."""
        last, since_s = self.namespace.passed(), time.monotonic()

        def is_quiet() -> bool:
            nonlocal last, since_s
            now = self.namespace.passed()
            if now != last:
                last, since_s = now, time.monotonic()
            return time.monotonic() - since_s > _QUIET_S

        wait_until(is_quiet, _READY_S, "the line to be quiet")
        return last

    def reconnect(self, *, is_broker_restarted: bool) -> Passed:
        """Break the connection, wait for the next, and return what that cost."""
        before, hellos = self.wait_until_quiet(), self.observer.counts[Up.HELLO]
        if is_broker_restarted:
            self.broker.stop()
            self.broker.start()
        else:
            self.namespace.break_connections()
        wait_until(lambda: self._running() and self.observer.counts[Up.HELLO] > hellos, _READY_S, "the agent to return")
        return self.wait_until_quiet() - before

    def counted_by_agent(self) -> int:
        """Return the month's bytes as the agent kept them when it ended last."""
        with contextlib.closing(sqlite3.connect(self.directory / "data" / "buffer.sqlite3")) as buffer:
            row = buffer.execute("SELECT value FROM state WHERE name = 'traffic_bytes'").fetchone()
        return int(row[0]) if row else 0

    def _running(self) -> bool:
        return self._agent is not None and self._agent.require_running()

    def _inside(self, name: str, *arguments: str) -> Process:
        command = self.namespace.argv(sys.executable, "-m", "meterhaul.cli", *arguments)
        return Process(name, command, log_file=self.directory / f"{name}.log")

    def _write_files(self, period_s: float, keepalive_s: int, uplink: Mapping[str, float | str]) -> None:
        site = json.loads(self.site_file.read_text(encoding="utf-8"))
        for bus in site["buses"]:
            for meter in bus["meters"]:
                meter["period_s"] = period_s
        self.site_file.write_text(json.dumps(site), encoding="utf-8")
        usual: dict[str, Any] = {"hello_every_s": NEVER_S, "health_every_s": NEVER_S, "health_pause_s": NEVER_S}
        lines = [f"{key} = {json.dumps(value)}" for key, value in (usual | dict(uplink)).items()]
        (self.directory / "agent.toml").write_text(
            f"""controller_id = "{CONTROLLER}"
data_dir = "data"
site = "site.json"

[broker]
host = "{self.broker.host}"
port = {self.broker.port}
keepalive_s = {keepalive_s}
keepalive_max_s = {keepalive_s}

[broker.tls]
ca = "{self.broker.ca.cert}"
cert = "{self._pair.cert}"
key = "{self._pair.key}"

[uplink]
{chr(10).join(lines)}
""",
            encoding="utf-8",
        )


@contextlib.contextmanager
def rigged(directory: Path) -> Iterator[Rig]:
    """Start everything but meters and agent.

    Raises: NotPermitted, DemoError.
    """
    with contextlib.ExitStack() as stack:
        namespace = stack.enter_context(Namespace())
        postgres = stack.enter_context(PrivatePostgres(directory / "postgres", durable=False))
        stack.callback(postgres.wipe)
        url = postgres.create_database("meterhaul")
        upgrade(url)
        _register(url)
        broker = stack.enter_context(TlsMosquitto(directory / "broker", host=namespace.host))
        ingest = Process(
            "ingest",
            [sys.executable, "-m", "meterhaul.cli", "hub", "ingest"],
            log_file=directory / "ingest.log",
            env={"METERHAUL_DATABASE_URL": url, "METERHAUL_BROKER_URL": broker.hub.url},
        )
        stack.enter_context(ingest)
        observer = Observer(broker.hub)
        stack.callback(observer.close)
        yield Rig(directory, namespace, broker, observer)


def _register(database_url: str) -> None:
    engine = db.create_engine(database_url)
    try:
        with db.session_scope(db.create_sessions(engine)) as session:
            register_site(session, slug="hut", name="Hut", time_zone="Europe/Berlin")
            register_controller(session, controller_id=CONTROLLER, site_slug="hut")
    finally:
        engine.dispose()
