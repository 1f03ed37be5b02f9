"""Memory and CPU of a real agent beside a plain script that polls the same meters at the same time.

Six meters with 20 points each, polled every second over Modbus TCP. The agent stores every scan with an
fsync and delivers it through Mosquitto to a real ingest and PostgreSQL; the script publishes JSON per
reading at QoS 0 and stores nothing.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from figures import report

from demo.mosquitto import Login, PrivateMosquitto
from demo.processes import Process, wait_until
from demo.stack import Pace, Stack
from edge_agent.buffer_inspect import inspect_buffer
from edge_agent.site import MeterPlan, RequestPlan, SitePlan, load_site
from protocol import topics
from protocol.profile import Order, Table

SITE = Path(__file__).with_name("agent-site.toml")
RSS_BAR_MB, CPU_BAR = 50.0, 3.0
SEND_EVERY_S = 10.0
READINGS_PER_S = 120
_WARM_UP_S = 15.0
_MIB = 1024 * 1024
_NOT_ON_THE_EDGE = ("rich", "greenlet")
"""structlog loads these where it finds them; the extra `edge` does not bring them, the one for tests does."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process had used by a certain time."""

    at_s: float
    cpu_s: float
    rss_bytes: int

    @classmethod
    def of(cls, pid: int) -> "Usage":
        """Look at a process."""
        process = psutil.Process(pid)
        times = process.cpu_times()
        return cls(time.monotonic(), times.user + times.system, process.memory_info().rss)

    def cpu_share_since(self, before: "Usage") -> float:
        """Return the share of one core that was used since."""
        return (self.cpu_s - before.cpu_s) / (self.at_s - before.at_s)


def main() -> int:
    """Run both side by side and print the figures; exit code 1 when one misses its bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="length of the measurement [%(default)s]")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="meterhaul-bench-") as name:
        return measure(Path(name), seconds)


def measure(directory: Path, seconds: float) -> int:
    """Start everything, let it settle, and compare."""
    stack = Stack(
        directory / "stack",
        simulation=("--site", str(SITE)),
        pace=Pace(period_s=1.0, send_every_s=SEND_EVERY_S),
        with_web=False,
    )
    stack.agent = as_installed_on_the_edge(stack.agent, directory)
    try:
        stack.start()
        with PrivateMosquitto(directory / "plain-broker") as broker, plain_script(stack, broker, directory) as script:
            wait_until(lambda: stack.buffer.exists() and readings_of(script) > 0, 60, "the first readings")
            time.sleep(_WARM_UP_S)  # a measurement lasts as long as it lasts
            begun = (Usage.of(stack.agent.pid), Usage.of(script.pid))
            stored_before, published_before = readings_stored(stack), readings_of(script)
            time.sleep(seconds)
            ended = (Usage.of(stack.agent.pid), Usage.of(script.pid))
            stored = readings_stored(stack) - stored_before
            published = readings_of(script) - published_before
            stack.require_running()
    finally:
        stack.stop()
        stack.wipe()
    agent, plain = (after.cpu_share_since(before) for before, after in zip(begun, ended, strict=True))
    print(f"in {seconds:g} s the agent stored {stored} readings, the script published {published}")
    print(f"CPU s per 1,000 readings: agent {agent * seconds / stored * 1000:.4f}", end=", ")
    print(f"script {plain * seconds / published * 1000:.4f}; RSS of the script {ended[1].rss_bytes / _MIB:.1f} MiB")
    holds = [
        report(
            "agent_rss_mb",
            ended[0].rss_bytes / _MIB,
            "MiB",
            against="the limit of a site controller, 6 meters x 20 points at 1 s",
            at_most=RSS_BAR_MB,
        ),
        report(
            "agent_cpu_ratio_to_plain_script",
            (agent / stored) / (plain / published),
            "ratio",
            against="a script with pymodbus and paho, JSON per reading, nothing stored, in the same run",
            at_most=CPU_BAR,
        ),
    ]
    return 0 if all(holds) else 1


def as_installed_on_the_edge(agent: Process, directory: Path) -> Process:
    """Return the same process without the libraries that only this machine has."""
    hidden = directory / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in _NOT_ON_THE_EDGE), encoding="utf-8"
    )
    return Process(agent.name, agent.argv, log_file=agent.log_file, env={"PYTHONPATH": str(hidden)})


def plain_script(stack: Stack, broker: PrivateMosquitto, directory: Path) -> Process:
    """Describe the script, with a plan of what to poll."""
    login = broker.add_controller("plain-script")
    plan = directory / "plain-script.json"
    site = load_site(stack.directory / "agent" / "site.json")
    plan.write_text(json.dumps(script_plan(site, login)), encoding="utf-8")
    script = Path(__file__).with_name("plain_script.py")
    return Process("plain-script", [sys.executable, script, plan], log_file=directory / "plain-script.log")


def script_plan(site: SitePlan, login: Login) -> dict[str, Any]:
    """Write down the agent's own requests, so that both ask alike."""
    return {
        "host": login.host,
        "port": login.port,
        "username": login.username,
        "password": login.password,
        "topic": topics.up(login.username, topics.Up.REPLY),
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
    modbus = meter.profile.modbus
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
                "is_little": modbus is not None and modbus.word_order is Order.LITTLE,
            }
            for planned in request.points
        ],
    }


def readings_of(script: Process) -> int:
    """Return how many readings the script says it has published."""
    script.require_running()
    lines = script.log_file.read_text(encoding="utf-8").split() if script.log_file.exists() else []
    return int(lines[-1]) if lines and lines[-1].isdigit() else 0


def readings_stored(stack: Stack) -> int:
    """Return how many readings the agent's buffer was given."""
    return inspect_buffer(stack.buffer).recorded * READINGS_PER_S // 6


if __name__ == "__main__":
    sys.exit(main())
