"""A real agent as a process, with two simulated meters behind a gateway, in a directory of its own."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from site_factories import make_energy_point, make_meter_config, make_point, make_profile, make_site_config

from demo.processes import Process
from edge_agent.buffer.inspect import BufferReport, inspect_buffer
from edge_agent.errors import AgentError
from simulator.meter import FixedSource, SimulatedMeter
from simulator.server import MeterServer, serve

PROFILE = make_profile([make_point(), make_energy_point()])
VOLTAGE, ENERGY = 231.2, 123_456.0


@contextmanager
def two_meters() -> Iterator[MeterServer]:
    """Serve the meters `a` and `b`."""
    sources = [FixedSource({"voltage": VOLTAGE, "energy": ENERGY}) for _ in range(2)]
    with serve(
        *(
            SimulatedMeter(meter_id=name, profile=PROFILE, source=source, unit_id=unit_id)
            for unit_id, (name, source) in enumerate(zip("ab", sources, strict=True), 1)
        )
    ) as server:
        yield server


class AgentProcess:
    """A `meterhaul edge run` with two meters behind a gateway, in a directory of its own."""

    def __init__(
        self,
        directory: Path,
        controller_id: str,
        broker_port: int,
        password: str,
        meters: MeterServer,
        *,
        more_settings: str = "",
    ) -> None:
        self.directory, self.controller_id = directory, controller_id
        self.site = make_site_config(
            [make_meter_config("a", unit_id=1), make_meter_config("b", unit_id=2)],
            [PROFILE],
            port=meters.port,
            timeout_s=0.3,
        )
        (directory / "site.json").write_text(self.site.model_dump_json(), encoding="utf-8")
        (directory / "password").write_text(password, encoding="utf-8")
        self.config = directory / "agent.toml"
        self.config.write_text(
            f'controller_id = "{controller_id}"\ndata_dir = "data"\nsite = "site.json"\n'
            f'[broker]\nhost = "127.0.0.1"\nport = {broker_port}\npassword_file = "password"\n'
            "[uplink]\nsend_every_s = 0.2\nhealth_every_s = 1\n" + more_settings,
            encoding="utf-8",
        )
        self.process = self.another("agent")

    def another(self, name: str) -> Process:
        """Describe a process with the same settings."""
        command = [sys.executable, "-m", "meterhaul.cli", "edge", "run", "--config", self.config]
        return Process(name, [str(part) for part in command], log_file=self.directory / f"{name}.log")

    @property
    def buffer(self) -> BufferReport:
        """What is stored."""
        return inspect_buffer(self.directory / "data" / "buffer.sqlite3")

    @property
    def has_stored(self) -> bool:
        """Whether some scans are on disk."""
        self.process.require_running()
        try:
            return self.buffer.recorded + self.buffer.held_for_clock >= 10
        except AgentError:
            return False

    @property
    def log(self) -> list[dict[str, Any]]:
        """What the agent logged so far."""
        lines = self.process.log_file.read_text(encoding="utf-8").splitlines() if self.process.log_file.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log lines of one event."""
        return [entry for entry in self.log if entry["event"] == name]
