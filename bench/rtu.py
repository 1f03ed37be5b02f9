"""Modbus RTU at wire speed: how near the agent's bus comes to what the line can carry, beside pymodbus's clients.

A simulated line in a process of its own takes each character's time. Its limit is the characters of requests
and answers plus the two silences of 3.5 characters in each exchange, which the standard demands. A strict
unit, as there are, does not see a request that begins sooner than that after an answer.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from figures import report
from peer_venv import find_peer_python

from edge_agent.bus.bus import ModbusBus
from protocol.line_config import LineConfig
from protocol.profile import Table
from simulator.line_process import LineProcess, line_process
from simulator.register_unit import RegisterUnit
from simulator.rtu import LineSettings, line_limit, read_exchange

BAUDS = (9_600, 19_200)
COUNTS = (20, 60)
"""A scan: registers per request, as a three-phase meter with its energies needs them."""
SHARE_BAR = 0.95
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a client made of a number of scans."""

    share: float
    """Of the line's limit; above 1 when silences are left out."""
    ignored: int
    """Requests that a strict unit did not see."""
    unanswered: int


def main() -> int:
    """Measure each client at each speed and print the figures; exit code 1 when one misses its bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=10, help="scans in each of three rounds [%(default)s]")
    scans = parser.parse_args().scans
    peers = find_peer_python("pymodbus-serial", f"pymodbus=={version('pymodbus')}", "pyserial==3.5")
    holds = [measure_speed(baud, scans, peers) for baud in BAUDS]
    return 0 if all(holds) else 1


def measure_speed(baud: int, scans: int, peers: Path | None) -> bool:
    """Compare the clients at one speed."""
    ours = [measure_ours(baud, scans) for _ in range(_ROUNDS)]
    beside = []
    for kind in ("sync", "async") if peers is not None else ():
        lenient = [measure_peer(peers, kind, baud, scans, is_strict=False) for _ in range(_ROUNDS)]
        strict = measure_peer(peers, kind, baud, scans, is_strict=True)
        beside.append(
            f"pymodbus {kind} {middle_share(lenient):.3f} on a line that forgives all, {strict.share:.3f} on a strict "
            f"one that ignored {strict.ignored} of its {scans * len(COUNTS)} requests"
        )
    against = f"requests of {' and '.join(map(str, COUNTS))} registers, both silences kept, a strict unit; beside it: "
    holds = report(
        f"rtu_share_of_line_limit_{baud}",
        middle_share(ours),
        "ratio",
        against=against + ("; ".join(beside) or "not measured"),
        at_least=SHARE_BAR,
    )
    ignored = report(
        f"rtu_requests_ignored_by_strict_unit_{baud}",
        sum(outcome.ignored + outcome.unanswered for outcome in ours),
        "requests",
        against=f"the {_ROUNDS * scans * len(COUNTS)} of the figure above",
        at_most=0,
    )
    return holds and ignored


def middle_share(outcomes: list[Outcome]) -> float:
    """Return the share of the round in the middle; this machine has other work at times."""
    return statistics.median(outcome.share for outcome in outcomes)


def measure_ours(baud: int, scans: int) -> Outcome:
    """Read through the agent's bus, on a strict line."""
    with line_process(make_unit(), settings=LineSettings(baud=baud), is_strict=True) as line:
        seconds = asyncio.run(read_scans(line.path, baud, scans))
        return outcome_of(line, baud, scans, seconds, unanswered=0)


async def read_scans(device: str, baud: int, scans: int) -> float:
    """Return the seconds that the scans took."""
    config = {"id": "bench", "serial": {"device": device, "baud": baud}, "timeout_s": 1}
    bus = ModbusBus(LineConfig.model_validate(config))
    await bus.read(unit_id=1, table=Table.HOLDING_REGISTER, address=0, count=1)
    began = time.perf_counter()
    for _ in range(scans):
        for count in COUNTS:
            await bus.read(unit_id=1, table=Table.HOLDING_REGISTER, address=0, count=count)
    seconds = time.perf_counter() - began
    bus.close()
    return seconds


def measure_peer(python: Path | None, kind: str, baud: int, scans: int, *, is_strict: bool) -> Outcome:
    """Read through one of pymodbus's own clients."""
    with line_process(make_unit(), settings=LineSettings(baud=baud), is_strict=is_strict) as line:
        script = Path(__file__).with_name("rtu_peer.py")
        command = [str(python), str(script), kind, line.path, str(baud), str(scans), ",".join(map(str, COUNTS))]
        said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        return outcome_of(line, baud, scans, said["seconds"], unanswered=said["unanswered"])


def make_unit() -> RegisterUnit:
    """Make a unit that answers as soon as it may."""
    return RegisterUnit(1, holding={address: address for address in range(max(COUNTS))})


def outcome_of(line: LineProcess, baud: int, scans: int, seconds: float, *, unanswered: int) -> Outcome:
    """Compare the time with the least that the line needs for what was answered."""
    exchanges = [read_exchange(count) for count in COUNTS] * scans
    limit = line_limit(exchanges, LineSettings(baud=baud)) * (len(exchanges) - unanswered) / len(exchanges)
    return Outcome(limit / seconds, line.counters().ignored_for_gap, unanswered)


if __name__ == "__main__":
    sys.exit(main())
