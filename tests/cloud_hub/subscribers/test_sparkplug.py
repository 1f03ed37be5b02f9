"""What the hub says in Sparkplug B, read by the decoder of the Eclipse Tahu project in a client of its own."""

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from hub_factories import Reading
from live_factories import WAIT_S, add_login, add_metered_site, add_organisation, add_reading, address_of
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from cloud_hub.readings.service import list_latest
from cloud_hub.registry.models import Meter
from cloud_hub.subscribers.broker import BrokerLogins
from cloud_hub.subscribers.models import SparkplugNode
from cloud_hub.subscribers.publisher import say_meters
from cloud_hub.subscribers.upkeep import LiveUpkeep
from demo.mosquitto import Login, PrivateMosquitto
from demo.processes import Process
from protocol.quality import Quality

CLIENT = Path(__file__).parents[2] / "sparkplug_client"
NPM_TIMEOUT_S = 120
GOOD, BAD = 192, 0

Document = dict[str, Any]


@pytest.fixture(scope="session")
def client_directory() -> Path:
    """Install the client's packages, once for all runs on this machine."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed, and the independent Sparkplug decoder comes from there")
    wanted = (CLIENT / "package.json").read_text()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "meterhaul-tests" / "sparkplug_client"
    done = cache / "node_modules" / ".installed"
    cache.mkdir(parents=True, exist_ok=True)
    shutil.copy(CLIENT / "host.js", cache)
    if not done.exists() or done.read_text() != wanted:
        shutil.copy(CLIENT / "package.json", cache)
        command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts"]
        ended = subprocess.run(command, cwd=cache, capture_output=True, text=True, timeout=NPM_TIMEOUT_S, check=False)
        if ended.returncode != 0:
            pytest.skip(f"npm could not install the Sparkplug decoder: {ended.stderr[-300:]}")
        done.write_text(wanted)
    return cache


class Host:
    """The independent client, inside a `with` block; its messages can be waited for."""

    def __init__(self, directory: Path, login: Login, group: str) -> None:
        self.said: queue.Queue[Document] = queue.Queue()
        self._process = subprocess.Popen(
            ["node", "host.js", str(login.port), login.username, login.password, group],
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._reader.start()
        assert self.next("ready")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def next(self, kind: str) -> Document:
        """Wait for the next message, which is of this kind."""
        document = self.said.get(timeout=2 * WAIT_S)
        assert document["kind"] == kind, document
        return document

    def ask_for_birth(self, node: str) -> None:
        """Send a rebirth command."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{node}\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said.put(json.loads(line))


class World:
    """An organisation with two meters on one site, said live, and a Sparkplug process beside it."""

    def __init__(
        self, engine: Engine, session: Session, broker: PrivateMosquitto, database_url: str, directory: Path
    ) -> None:
        self.engine, self.session, self.broker = engine, session, broker
        self.acme = add_organisation(session, "acme")
        self.heater, self.boiler = add_metered_site(session, self.acme, meters=("heater", "boiler"))
        made = add_login(session, self.acme, is_sparkplug=True)
        session.commit()
        broker.await_reload(lambda: BrokerLogins(broker.files).bring_in_step(engine))
        self.login = Login("127.0.0.1", broker.subscriber_port, made.login.username, made.password)
        self.upkeep = LiveUpkeep(address_of(broker))
        self.upkeep.do(engine)
        self.process = Process(
            "sparkplug",
            [sys.executable, "-m", "meterhaul.cli", "hub", "sparkplug", "--organisation", "acme"],
            log_file=directory / "sparkplug.log",
            env={"METERHAUL_DATABASE_URL": database_url, "METERHAUL_BROKER_URL": broker.hub_url},
        )

    def say(self, meter: Meter, value: Reading, step_s: float) -> None:
        """Let a meter read something, and say it."""
        add_reading(self.session, meter, value, step_s)
        self.session.commit()
        say_meters(self.engine, self.upkeep._link, [meter.id])

    def end(self) -> None:
        self.process.kill()
        self.upkeep.close()


@pytest.fixture
def world(
    engine: Engine, session: Session, own_broker: PrivateMosquitto, database_url: str, tmp_path: Path
) -> Iterator[World]:
    world = World(engine, session, own_broker, database_url, tmp_path)
    yield world
    world.end()


def metrics(document: Document) -> dict[str, Document]:
    return {metric["name"]: metric for metric in document["payload"]["metrics"]}


def seq(document: Document) -> int:
    return int(document["payload"]["seq"])


def births(host: Host) -> tuple[Document, list[Document]]:
    node = host.next("NBIRTH")
    return node, [host.next("DBIRTH"), host.next("DBIRTH")]


def test_births_come_first_and_300_messages_are_in_sequence_with_the_databases_values(
    world: World, client_directory: Path
) -> None:
    with Host(client_directory, world.login, "acme") as host:
        world.process.start()
        node, devices = births(host)
        assert seq(node) == 0
        assert metrics(node)["bdSeq"]["type"] == "Int64"
        assert metrics(node)["Node Control/Rebirth"]["value"] is False
        assert [one["device"] for one in devices] == ["boiler", "heater"]
        aliases = {one["device"]: {metric["alias"]: metric for metric in one["payload"]["metrics"]} for one in devices}
        power = metrics(devices[1])["active_power_total"]
        assert (power["type"], power["value"], power["properties"]["engUnit"]["value"]) == ("Double", 230.0, "W")
        assert len({alias for known in aliases.values() for alias in known}) == 2

        for number in range(1, 151):
            for place, meter in enumerate((world.heater, world.boiler)):
                world.say(meter, number / 8 + place, float(number))
        heard = [host.next("DDATA") for _ in range(300)]
        assert [seq(one) for one in (*devices, *heard)] == [number % 256 for number in range(1, 303)]
        for place, one in enumerate(heard):
            (metric,) = one["payload"]["metrics"]
            assert metric["alias"] in aliases[one["device"]]
            assert not metric.get("name")
            assert metric["value"] == (place // 2 + 1) / 8 + place % 2
        assert not [one for one in (node, *devices, *heard) if one["retained"]]

        last = {one["device"]: one["payload"]["metrics"][0] for one in heard}
        for meter in (world.heater, world.boiler):
            (stored,) = list_latest(world.session, [meter.id])
            assert last[meter.slug]["value"] == stored.value
            assert last[meter.slug]["timestamp"] == stored.observed_at.timestamp() * 1000


def test_node_dies_with_its_process_and_comes_back_under_the_next_number(world: World, client_directory: Path) -> None:
    with Host(client_directory, world.login, "acme") as host:
        world.process.start()
        node, _ = births(host)
        world.process.kill()
        death = host.next("NDEATH")
        assert metrics(death)["bdSeq"]["value"] == metrics(node)["bdSeq"]["value"]
        assert death["payload"].get("seq") is None

        world.process.start()
        again, _ = births(host)
        assert metrics(again)["bdSeq"]["value"] == metrics(node)["bdSeq"]["value"] + 1
        world.process.stop()
        # Said by itself: a connection that is ended in order leaves no will.
        assert metrics(host.next("NDEATH"))["bdSeq"]["value"] == metrics(again)["bdSeq"]["value"]
        assert world.process.returncode == 0
    row = world.session.scalars(select(SparkplugNode)).one()
    assert (row.group_id, row.node_id, row.bd_seq) == ("acme", "hut", 1)


def test_qualities_rebirth_and_the_end_of_a_meter(world: World, client_directory: Path) -> None:
    with Host(client_directory, world.login, "acme") as host:
        world.process.start()
        first, devices = births(host)
        for step, (value, told) in enumerate(
            [
                ((None, Quality.TIMEOUT), (None, BAD)),
                ((9999.0, Quality.OUT_OF_RANGE), (9999.0, BAD)),
                ((7.0, Quality.GOOD), (7.0, GOOD)),
            ]
        ):
            world.say(world.heater, value, step + 1.0)
            (metric,) = host.next("DDATA")["payload"]["metrics"]
            assert (metric["value"], metric["properties"]["Quality"]["value"]) == told

        host.ask_for_birth("hut")
        again, devices_again = births(host)
        assert seq(again) == 0
        assert metrics(again)["bdSeq"]["value"] == metrics(first)["bdSeq"]["value"]
        assert [metrics(one)["active_power_total"]["alias"] for one in devices_again] == [
            metrics(one)["active_power_total"]["alias"] for one in devices
        ]
        assert metrics(devices_again[1])["active_power_total"]["value"] == 7.0

        world.boiler.state = "retired"
        world.session.commit()
        world.upkeep.do(world.engine)
        death = host.next("DDEATH")
        assert (death["device"], seq(death)) == ("boiler", 3)
