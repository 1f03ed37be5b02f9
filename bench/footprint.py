"""What the agent takes of its machine, beside other programs that do the same job on the same meters.

Six meters of 20 points behind one address, polled every second over Modbus TCP. Our agent stores every scan
with an fsync and delivers it through Mosquitto to a real ingest and PostgreSQL. ThingsBoard's gateway keeps
its SQLite store and publishes at QoS 1, modpoll publishes at QoS 1 and stores nothing, a plain script
publishes JSON per reading at QoS 0 and stores nothing. They take turns, so that none takes another's time,
and each figure is the median of its turns.

Bytes written are `write_bytes` of /proc/PID/io: what the process made the kernel send to the block device,
in whole pages, its log included. A turn is shorter than the time between two checkpoints of the agent's
write-ahead log; `buffer.py` counts those too. Nothing is counted on tmpfs, so all data lies in a directory on
a real disk.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from contenders import AGENT, METERS, PERIOD_S, POINTS, SCRIPT, Contender, as_installed_on_the_edge, contending
from figures import report
from install_size import report_install_size
from peers import PEERS, PeerUnavailable

from demo.errors import DemoError
from demo.processes import wait_until
from demo.stack import Pace, Stack

SITE = Path(__file__).with_name("cellular-site.toml")
RSS_BAR_MB, CPU_BAR, DISK_BAR = 50.0, 3.0, 1 / 3
SEND_EVERY_S = 10.0
_THINGSBOARD = "thingsboard-gateway"
_WARM_UP_S = 15.0
_FIRST_READINGS_S = 120.0
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """What a program had used by a certain time."""

    cpu_s: float
    written_bytes: int
    rss_bytes: int
    readings: int

    @classmethod
    def of(cls, contender: Contender) -> "Usage":
        """Look at a program, its children included."""
        first = psutil.Process(contender.process.pid)
        family = [first, *first.children(recursive=True)]
        times = [process.cpu_times() for process in family]
        return cls(
            sum(spent.user + spent.system for spent in times),
            sum(process.io_counters().write_bytes for process in family),
            sum(process.memory_info().rss for process in family),
            contender.readings(),
        )


@dataclass(frozen=True, slots=True)
class Turn:
    """What a program needed in one turn."""

    rss_mib: float
    cpu_s_per_1000: float
    written_per_reading: float
    readings_per_s: float


def main(*, with_peers: bool = True) -> int:
    """Measure all and print the figures; exit code 1 when one misses its bar."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=30, help="length of one turn [%(default)s]")
    parser.add_argument("--turns", type=int, default=2, help="of each program [%(default)s]")
    parser.add_argument("--dir", type=Path, default=Path.cwd(), help="a directory on the disk to measure (here)")
    given = parser.parse_args()
    names = [AGENT, SCRIPT, *(PEERS if with_peers else ())]
    with tempfile.TemporaryDirectory(dir=given.dir, prefix=".bench-") as directory:
        turns = take_turns(Path(directory), names, seconds=given.seconds, turns=given.turns)
        held = report_agent(turns) + (report_beside(turns) if with_peers else [])
        if with_peers:
            held += report_install_size(Path(directory))
    return 0 if all(held) else 1


def take_turns(directory: Path, names: Sequence[str], *, seconds: float, turns: int) -> dict[str, Turn]:
    """Let each program work in turn, and return the medians of those that could be measured."""
    stack = Stack(
        directory / "stack",
        simulation=("--site", str(SITE)),
        pace=Pace(period_s=PERIOD_S, send_every_s=SEND_EVERY_S),
        with_web=False,
    )
    stack.agent = as_installed_on_the_edge(stack.agent, directory)
    taken: dict[str, list[Turn]] = {}
    try:
        stack.start()
        stack.agent.stop(timeout_s=30)
        for number in range(turns):
            for name in names:
                if number and name not in taken:
                    continue
                turn = take_turn(name, stack, directory / f"{name}-{number + 1}", seconds)
                if turn is not None:
                    taken.setdefault(name, []).append(turn)
    finally:
        stack.stop()
        stack.wipe()
    return {name: median_of(measured) for name, measured in taken.items()}


def take_turn(name: str, stack: Stack, directory: Path, seconds: float) -> Turn | None:
    """Start one program, let it settle, measure, and end it; None, and a sentence, where that cannot be."""
    try:
        with contending(name, stack, directory) as contender:
            first = contender.readings()
            wait_until(
                lambda: contender.process.require_running() and contender.readings() > first,
                _FIRST_READINGS_S,
                f"the first readings of {name}",
            )
            time.sleep(_WARM_UP_S)  # a measurement lasts as long as it lasts
            begun = Usage.of(contender)
            time.sleep(seconds)
            ended = Usage.of(contender)
            contender.process.require_running()
    except (PeerUnavailable, DemoError) as error:
        if name in (AGENT, SCRIPT):
            raise
        print(f"{name} not measured: {error}", flush=True)
        return None
    turn = turn_between(begun, ended, seconds)
    print(f"{name}: {turn}", flush=True)
    return turn


def turn_between(begun: Usage, ended: Usage, seconds: float) -> Turn:
    """Return what was needed between two looks."""
    readings = max(1, ended.readings - begun.readings)
    return Turn(
        ended.rss_bytes / _MIB,
        (ended.cpu_s - begun.cpu_s) / readings * 1000,
        (ended.written_bytes - begun.written_bytes) / readings,
        readings / seconds,
    )


def median_of(turns: Sequence[Turn]) -> Turn:
    """Return the median of each figure."""
    return Turn(
        statistics.median(turn.rss_mib for turn in turns),
        statistics.median(turn.cpu_s_per_1000 for turn in turns),
        statistics.median(turn.written_per_reading for turn in turns),
        statistics.median(turn.readings_per_s for turn in turns),
    )


def report_agent(turns: dict[str, Turn]) -> list[bool]:
    """Print what the agent takes by itself and beside the script."""
    agent, script = turns[AGENT], turns[SCRIPT]
    job = f"{METERS} meters x {POINTS} points at {PERIOD_S:g} s"
    return [
        report(
            "agent_rss_mb", agent.rss_mib, "MiB", against=f"the limit of a site controller, {job}", at_most=RSS_BAR_MB
        ),
        report(
            "agent_cpu_ratio_to_plain_script",
            agent.cpu_s_per_1000 / script.cpu_s_per_1000,
            "ratio",
            against=f"a script with pymodbus and paho that stores nothing: {script.cpu_s_per_1000:.3f} s per 1,000 readings",
            at_most=CPU_BAR,
        ),
        report("agent_cpu_s_per_1000_readings", agent.cpu_s_per_1000, "s", against=job),
    ]


def report_beside(turns: dict[str, Turn]) -> list[bool]:
    """Print what is written to disk, and what the others take."""
    agent, thingsboard = turns[AGENT], turns.get(_THINGSBOARD)
    held = [
        report("agent_written_bytes_per_reading", agent.written_per_reading, "B", against="write_bytes of /proc/PID/io")
    ]
    if thingsboard is not None:
        held.append(
            report(
                "agent_written_share_of_thingsboard",
                agent.written_per_reading / thingsboard.written_per_reading,
                "ratio",
                against=f"thingsboard-gateway with its SQLite store: {thingsboard.written_per_reading:.0f} B a reading",
                at_most=DISK_BAR,
            )
        )
    for name in (SCRIPT, *PEERS):
        if name not in turns:
            continue
        turn, key = turns[name], name.replace("-", "_")
        pace = f"{turn.readings_per_s:.0f} of {METERS * POINTS / PERIOD_S:.0f} readings a second"
        held += [
            report(f"{key}_rss_mb", turn.rss_mib, "MiB", against=pace),
            report(f"{key}_cpu_s_per_1000_readings", turn.cpu_s_per_1000, "s", against=pace),
            report(f"{key}_written_bytes_per_reading", turn.written_per_reading, "B", against=pace),
        ]
    return held


if __name__ == "__main__":
    sys.exit(main())
