"""What one dead and one slow meter cost the four good ones: the mean period of the good ones over the set one.

Once each meter has a port of its own; once all six are behind one port, where an RS-485 gateway asks one
at a time and keeps the line for a dead one until its own patience ends. Beside it a plain loop with
pymodbus does the same on meters of its own.
"""

import argparse
import asyncio
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from figures import report
from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException

from edge_agent.clock.clock import SystemClock
from edge_agent.polling.supervisor import Supervisor
from edge_agent.site.compile import compile_site
from protocol.scans import Scan
from protocol.site.plan import SitePlan
from protocol.site.read_plan import ReadRequest
from protocol.site_config import SiteConfig
from simulator.devices import make_device
from simulator.faults import Fault, FaultKind
from simulator.links import Gateway
from simulator.meter import SimulatedMeter
from simulator.server import MeterServer, serve

PERIOD_S = 1.0
TIMEOUT_S = 1.5
GATEWAY_TIMEOUT_S = 1.0
SLOW_S = 0.3
PERIOD_BAR = 1.05
WARM_UP_S = 20.0
PROFILE = "eastron-sdm120"
POINTS = ("frequency", "energy_active_import_total", "energy_active_export_total")
"""One request: a slow meter then takes its time once in each visit."""
DEAD, SLOW, GOOD = 1, 2, (3, 4, 5, 6)
"""Unit ids; the faulty meters are asked first, where they do the most harm."""


def main() -> int:
    """Poll for a while and print the figures; exit code 1 when one misses its bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="length of the measurement [%(default)s]")
    seconds = parser.parse_args().seconds
    with ExitStack() as stack:
        ours, plain = (stack.enter_context(two_sites()) for _ in range(2))
        plan = compile_site(site_config(ours), "deadmeter")
        loops = [PlainLoop(servers, [request.request for request in plan.meters[0].requests]) for servers in plain]
        for loop in loops:
            loop.start()
        periods = asyncio.run(poll(plan, seconds))
        plain_periods = [loop.end() for loop in loops]
    print(
        f"periods of the good meters over {PERIOD_S:g} s, measured for {seconds:g} s after {WARM_UP_S:g} s in which "
        f"the dead one is found out; timeout {TIMEOUT_S:g} s, gateway's {GATEWAY_TIMEOUT_S:g} s, slow one {SLOW_S:g} s"
    )
    holds = [
        report(
            f"deadmeter_period_ratio_{where}",
            max(periods[f"{where}-{unit_id}"] for unit_id in GOOD),
            "ratio",
            against=f"the set period; a plain pymodbus loop on the like: {plain_period:.2f}",
            at_most=PERIOD_BAR,
        )
        for where, plain_period in zip(("own_ports", "gateway"), plain_periods, strict=True)
    ]
    return 0 if all(holds) else 1


@contextmanager
def two_sites() -> Iterator[tuple[list[MeterServer], list[MeterServer]]]:
    """Serve six meters on ports of their own, and six behind a gateway."""
    with ExitStack() as stack:
        own = [stack.enter_context(serve(meter)) for meter in make_meters("own_ports")]
        gateway = stack.enter_context(serve(*make_meters("gateway"), link=Gateway(timeout_s=GATEWAY_TIMEOUT_S)))
        for server in (*own, gateway):
            for meter in server.meters.values():
                if meter.unit_id == DEAD:
                    server.set_fault(meter.id, Fault(FaultKind.DEAD))
                if meter.unit_id == SLOW:
                    server.set_fault(meter.id, Fault(FaultKind.SLOW, delay_s=SLOW_S))
        yield own, [gateway]


def make_meters(where: str) -> list[SimulatedMeter]:
    """Make six meters of one model."""
    return [make_device(PROFILE, meter_id=f"{where}-{unit}", unit_id=unit) for unit in (DEAD, SLOW, *GOOD)]


def site_config(sites: tuple[list[MeterServer], list[MeterServer]]) -> SiteConfig:
    """Write down what the agent is to poll."""
    buses = [
        {
            "id": f"bus-{server.port}",
            "host": server.host,
            "port": server.port,
            "timeout_s": TIMEOUT_S,
            "meters": [
                {
                    "id": meter.id,
                    "profile": PROFILE,
                    "unit_id": meter.unit_id,
                    "period_s": PERIOD_S,
                    "points": POINTS,
                }
                for meter in server.meters.values()
            ],
        }
        for servers in sites
        for server in servers
    ]
    return SiteConfig.model_validate({"buses": buses})


@dataclass
class Times:
    """A recorder that only notes when each meter was read."""

    plan: SitePlan
    seen_ms: dict[str, list[int]] = field(default_factory=dict)

    def record(self, scan: Scan, *, monotonic_ms: int) -> None:
        """Note a scan that holds values."""
        if any(value is not None for value in scan.values):
            meter = self.plan.manifest.layouts[scan.layout].meter
            self.seen_ms.setdefault(meter, []).append(monotonic_ms)

    def poll_begun(self) -> None:
        """Do nothing."""

    def poll_ended(self) -> None:
        """Do nothing."""


async def poll(plan: SitePlan, seconds: float) -> dict[str, float]:
    """Let the agent's pollers work; return each meter's mean period over the set one."""
    times, stopping = Times(plan), asyncio.Event()
    supervisor = Supervisor(plan=plan, sink=times, clock=SystemClock(), on_change=lambda: None)
    task = asyncio.create_task(supervisor.run(stopping))
    await asyncio.sleep(WARM_UP_S)  # a measurement lasts as long as it lasts
    times.seen_ms.clear()
    await asyncio.sleep(seconds)
    ratios = {meter: mean_period_s(seen) / PERIOD_S for meter, seen in times.seen_ms.items()}
    stopping.set()
    await task
    return ratios


def mean_period_s(seen_ms: Sequence[int]) -> float:
    """Return the mean time between readings, in seconds."""
    return (seen_ms[-1] - seen_ms[0]) / (len(seen_ms) - 1) / 1000


class PlainLoop(threading.Thread):
    """What a script does: once a period, one meter after the other, and no memory of who was silent."""

    def __init__(self, servers: Sequence[MeterServer], requests: Sequence[ReadRequest]) -> None:
        """Ask all meters of these servers, with the agent's own requests."""
        super().__init__(name="plain loop", daemon=True)
        self._requests = requests
        self._units = [
            (ModbusTcpClient(server.host, port=server.port, timeout=TIMEOUT_S, retries=0), meter.unit_id)
            for server in servers
            for meter in server.meters.values()
        ]
        self._ended = threading.Event()
        self._seen_ms: list[int] = []
        """When the last good meter was read."""

    def run(self) -> None:
        """Poll until the end."""
        while not self._ended.is_set():
            self._ended.wait(PERIOD_S - time.time() % PERIOD_S)
            for client, unit_id in self._units:
                self._read(client, unit_id)

    def end(self) -> float:
        """Stop, and return the mean period over the set one, the first reading left out."""
        self._ended.set()
        self.join()
        for client, _ in self._units:
            client.close()  # type: ignore[no-untyped-call]  # pymodbus leaves it untyped
        return mean_period_s(self._seen_ms[1:]) / PERIOD_S

    def _read(self, client: ModbusTcpClient, unit_id: int) -> None:
        for request in self._requests:
            try:
                reply = client.read_input_registers(request.address, count=request.count, device_id=unit_id)
            except (ModbusException, OSError):
                return
            if reply.isError():
                return
        if unit_id == GOOD[-1]:
            self._seen_ms.append(time.monotonic_ns() // 1_000_000)


if __name__ == "__main__":
    sys.exit(main())
