"""Programs that poll the same simulated meters each second: our agent, a plain script, and what the index offers.

Each is a process whose use of the machine can be looked at, and a count of the readings that it has got
through: stored by the agent, published by the others.
"""

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from peers import Job, PlainBroker, make_job, peer_process

from demo.processes import Process
from demo.stack import Stack
from edge_agent.buffer.inspect import inspect_buffer
from edge_agent.errors import AgentError
from edge_agent.site.compile import load_site
from protocol.profile import Order, Table
from protocol.site.plan import MeterPlan, RequestPlan, SitePlan
from protocol.site_config import SiteConfig

AGENT, SCRIPT = "agent", "plain-script"
PERIOD_S = 1.0
METERS, POINTS = 6, 20
_SCRIPT = Path(__file__).with_name("plain_script.py")
_NOT_ON_THE_EDGE = ("rich", "greenlet")
"""structlog loads these where it finds them; the extra `edge` does not bring them, the one for tests does."""
_NOT_READINGS = ("ts", "time", "timestamp", "timestamp_ms")


@dataclass(frozen=True, slots=True)
class Contender:
    """A program at work."""

    process: Process
    readings: Callable[[], int]


@contextlib.contextmanager
def contending(name: str, stack: Stack, directory: Path) -> Iterator[Contender]:
    """Let one of them poll the meters of a stack, for the length of a `with` block.

    Raises: PeerUnavailable, DemoError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if name == AGENT:
        with stack.agent as process:
            yield Contender(process, lambda: readings_stored(stack))
        return
    with PlainBroker(directory / "broker", "127.0.0.1") as broker, Listener(broker) as listener:
        job = make_job(site_config(stack), period_s=PERIOD_S, broker_host=broker.host, broker_port=broker.port)
        other = plain_script(stack, job, directory) if name == SCRIPT else peer_process(name, job, directory)
        with other as process:
            yield Contender(process, lambda: listener.readings)


class Listener:
    """Counts the readings that are published."""

    def __init__(self, broker: PlainBroker) -> None:
        self._broker = broker
        self._readings = 0
        self._lock = threading.Lock()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=0)
        self._client.on_message = lambda _c, _u, message: self._hear(bytes(message.payload))

    @property
    def readings(self) -> int:
        """How many so far."""
        with self._lock:
            return self._readings

    def __enter__(self) -> Self:
        self._client.connect(self._broker.host, self._broker.port)
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _hear(self, payload: bytes) -> None:
        try:
            said = json.loads(payload)
        except ValueError:
            return
        with self._lock:
            self._readings += count_readings(said)


def count_readings(said: Any) -> int:  # noqa: ANN401 - whatever JSON holds
    """Count the numbers of a message that are no times."""
    if isinstance(said, dict):
        return sum(count_readings(value) for key, value in said.items() if key not in _NOT_READINGS)
    if isinstance(said, list):
        return sum(map(count_readings, said))
    return int(isinstance(said, int | float) and not isinstance(said, bool))


def site_config(stack: Stack) -> SiteConfig:
    """Return the configuration that the simulator wrote."""
    return SiteConfig.model_validate_json((stack.directory / "agent" / "site.json").read_bytes())


def as_installed_on_the_edge(agent: Process, directory: Path) -> Process:
    """Return the same process without the libraries that only this machine has."""
    hidden = directory / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in _NOT_ON_THE_EDGE), encoding="utf-8"
    )
    return Process(agent.name, agent.argv, log_file=agent.log_file, env={"PYTHONPATH": str(hidden)})


def readings_stored(stack: Stack) -> int:
    """Return how many readings the agent's buffer was given; 0 while it is still being made."""
    try:
        return inspect_buffer(stack.buffer).recorded * POINTS
    except AgentError:
        return 0


def plain_script(stack: Stack, job: Job, directory: Path) -> Process:
    """Describe the script, with a plan of what to poll."""
    plan = directory / "plan.json"
    plan.write_text(json.dumps(script_plan(load_site(stack.directory / "agent" / "site.json"), job)), encoding="utf-8")
    return Process(SCRIPT, [sys.executable, _SCRIPT, plan], log_file=directory / "log")


def script_plan(site: SitePlan, job: Job) -> dict[str, Any]:
    """Write down the agent's own requests, so that both ask alike."""
    return {
        "host": job.broker_host,
        "port": job.broker_port,
        "client_id": SCRIPT,
        "topic": "meters/readings",
        "meters": [
            {
                "id": meter.config.id,
                "host": bus.config.host,
                "port": bus.config.port,
                "requests": [script_request(meter, plan) for plan in meter.requests],
            }
            for bus in site.buses
            for meter in bus.meters
        ],
    }


def script_request(meter: MeterPlan, plan: RequestPlan) -> dict[str, Any]:
    """Write down one request and its points."""
    request = plan.request
    return {
        "unit_id": request.unit_id,
        "is_input": request.table is Table.INPUT_REGISTER,
        "address": request.address,
        "count": request.count,
        "points": [
            {
                "name": planned.point.name,
                "offset": planned.offset,
                "words": planned.point.words,
                "type": planned.point.type.value,
                "scale": float(planned.point.scale),
                "is_little": meter.modbus.word_order is Order.LITTLE,
            }
            for planned in request.points
        ],
    }
