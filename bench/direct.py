"""Direct mode: one agent process polls a thousand sites through their routers, half-hourly.

Simulated sites with six meters each, every answer as late as over a cellular line, delivered through
Mosquitto to a real ingest and PostgreSQL. Rounds are a minute apart instead of half an hour; what a round
takes and costs does not depend on that. The share of the processor is that of one round in half an hour,
and of doing nothing, measured at the end of a minute, for the rest of it. The second run has dead sites among
the others. When a meter was read is taken from the hub's database: `observed_at` less the boundary of the
round.
"""

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from figures import report
from sqlalchemy import text

from cloud_hub.registry.assignment import Assignment, assign_meters
from demo.processes import wait_until
from demo.stack import CONTROLLER, Pace, Stack
from protocol.site_config import SiteConfig

HALF_HOUR_S = 1_800.0
ROUND_SHARE_BAR, DEAD_SITES_BAR = 0.1, 1.05
_MIB = 1024 * 1024
_START_S = 120.0


@dataclass(frozen=True, slots=True)
class Run:
    """How many sites there are, and how they answer."""

    sites: int
    meters: int
    dead: int
    latency_s: float
    period_s: float

    @property
    def answering(self) -> int:
        """Return how many meters answer."""
        return (self.sites - self.dead) * self.meters


@dataclass(frozen=True, slots=True)
class Round:
    """One round as the hub has it."""

    median_s: float
    """After the boundary, of the meters that answer."""
    last_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run took."""

    start_s: float
    rss_mib: float
    cpu_per_round_s: float
    idle_share: float
    """Of one core, while nothing is due."""
    rounds: tuple[Round, ...]

    @property
    def round_s(self) -> float:
        """Return what a round takes."""
        return statistics.median(done.last_s for done in self.rounds)

    @property
    def cpu_share(self) -> float:
        """Return the share of one core with a round each half hour."""
        return self.cpu_per_round_s / HALF_HOUR_S + self.idle_share


def main() -> int:
    """Run with and without dead sites and print the figures; exit code 1 when one misses its bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=1_000, help="[%(default)s]")
    parser.add_argument("--meters", type=int, default=6, help="of each site [%(default)s]")
    parser.add_argument("--dead", type=int, default=50, help="sites that never answer, in the second run [%(default)s]")
    parser.add_argument("--latency", type=float, default=0.3, help="seconds that every answer takes [%(default)s]")
    parser.add_argument("--period", type=float, default=60.0, help="seconds between rounds [%(default)s]")
    parser.add_argument("--rounds", type=int, default=2, help="of each run [%(default)s]")
    given = parser.parse_args()
    runs = [Run(given.sites, given.meters, dead, given.latency, given.period) for dead in (0, given.dead)]
    whole, crippled = (measure(run, given.rounds) for run in runs)
    return 0 if all(report_figures(runs[0], whole, crippled)) else 1


def report_figures(run: Run, whole: Outcome, crippled: Outcome) -> list[bool]:
    """Print the figures of both runs."""
    size = f"{run.sites}x{run.meters}"
    return [
        report(
            f"direct_round_share_of_half_hour_{size}",
            whole.round_s / HALF_HOUR_S,
            "ratio",
            against=f"{whole.round_s:.1f} s from the boundary to the last meter, {run.latency_s:g} s per answer",
            at_most=ROUND_SHARE_BAR,
        ),
        report(
            f"direct_round_share_of_half_hour_{size}_with_dead_sites",
            crippled.round_s / HALF_HOUR_S,
            "ratio",
            against=f"{crippled.round_s:.1f} s for the meters that answer; without dead sites {whole.round_s:.1f} s",
            at_most=ROUND_SHARE_BAR,
        ),
        report(
            f"direct_round_with_dead_sites_to_without_{size}",
            crippled.round_s / whole.round_s,
            "ratio",
            against="the meters that answer, without dead sites beside them",
            at_most=DEAD_SITES_BAR,
        ),
        report(
            f"direct_median_delay_s_{size}",
            statistics.median(done.median_s for done in whole.rounds),
            "s",
            against="the boundary at which counters are due",
        ),
        report(
            f"direct_cpu_share_{size}",
            whole.cpu_share,
            "of one core",
            against=f"{whole.cpu_per_round_s:.1f} s per round of {run.answering} meters, {whole.idle_share:.1%} between",
        ),
        report(
            f"direct_rss_kib_per_site_{size}",
            whole.rss_mib * 1024 / run.sites,
            "KiB",
            against=f"{whole.rss_mib:.0f} MiB",
        ),
        report(f"direct_start_s_{size}", whole.start_s, "s", against="until the agent polls"),
    ]


def measure(run: Run, rounds: int) -> Outcome:
    """Start everything, wait for the rounds, and look at what the hub got."""
    with tempfile.TemporaryDirectory(prefix="meterhaul-bench-") as name:
        stack = Stack(
            Path(name) / "stack",
            simulator="fleet",
            simulation=fleet_options(run),
            pace=Pace(period_s=run.period_s, send_every_s=5.0),
            with_web=False,
        )
        try:
            stack.start()
            return watch(stack, run, rounds)
        finally:
            stack.stop()
            stack.wipe()


def fleet_options(run: Run) -> list[str]:
    """Return the arguments of `meterhaul simulate fleet`."""
    options = ["--sites", str(run.sites), "--meters", str(run.meters), "--latency", str(run.latency_s)]
    return [*options, *(["--dead", str(run.dead)] if run.dead else [])]


def watch(stack: Stack, run: Run, rounds: int) -> Outcome:
    """Wait for whole rounds, with the agent's use of the machine from before the first to behind the last."""
    begun_s = psutil.Process(stack.agent.pid).create_time()
    wait_until(lambda: stack.agent.require_running() and has_started(stack), _START_S, "the agent to poll")
    start_s = time.time() - begun_s
    wait_until(lambda: require_running(stack) and count_meters(stack) == run.sites * run.meters, 300, "all meters")
    assign_to_sites(stack)
    first = int(time.time() // run.period_s) + 1
    sleep_until((first - 0.1) * run.period_s)
    before = cpu_s(stack)
    sleep_until((first + rounds - 0.25) * run.period_s)
    at_rest = cpu_s(stack)
    sleep_until((first + rounds - 0.1) * run.period_s)
    used, idle_share = cpu_s(stack) - before, (cpu_s(stack) - at_rest) / (0.15 * run.period_s)
    busy = used / rounds - idle_share * run.period_s
    rss = psutil.Process(stack.agent.pid).memory_info().rss / _MIB
    stack.require_running()
    done = tuple(read_round(stack, run, slot) for slot in range(first, first + rounds))
    print(f"{run}: started in {start_s:.1f} s, {rss:.0f} MiB, {busy:.1f} CPU s per round, {done}", flush=True)
    return Outcome(start_s, rss, busy, idle_share, done)


def has_started(stack: Stack) -> bool:
    """Say whether the agent has logged that it polls."""
    return stack.agent.log_file.exists() and "agent_started" in stack.agent.log_file.read_text(encoding="utf-8")


def require_running(stack: Stack) -> bool:
    """Return True; made for the condition of a wait, which shall not go on when a part has ended."""
    stack.require_running()
    return True


def count_meters(stack: Stack) -> int:
    """Return how many meters have reported."""
    with stack.session() as session:
        return int(session.execute(text("SELECT count(DISTINCT meter_id) FROM scans")).scalar_one())


def assign_to_sites(stack: Stack) -> None:
    """Let each meter belong to the site whose bus it is on."""
    config = SiteConfig.model_validate_json((stack.directory / "agent" / "site.json").read_bytes())
    with stack.session() as session:
        assign_meters(
            session,
            CONTROLLER,
            [Assignment(meter.id, bus.id, f"Site {bus.id}") for bus in config.buses for meter in bus.meters],
        )


def read_round(stack: Stack, run: Run, slot: int) -> Round:
    """Look at what the hub has of a round.

    Raises: RuntimeError when a meter that answers is missing, or there twice.
    """
    boundary_s = slot * run.period_s
    with stack.session() as session:
        rows = session.execute(
            text(
                "SELECT meter_id, extract(epoch FROM observed_at)::float8 - :boundary FROM scans WHERE quality IS NULL "
                "AND observed_at >= to_timestamp(:boundary) AND observed_at < to_timestamp(:boundary + :period)"
            ),
            {"boundary": boundary_s, "period": run.period_s},
        ).all()
    if len(rows) != run.answering or len({meter for meter, _ in rows}) != run.answering:
        raise RuntimeError(f"the hub has {len(rows)} scans of a round of {run.answering} meters that answer")
    delays = sorted(delay for _, delay in rows)
    return Round(statistics.median(delays), delays[-1])


def cpu_s(stack: Stack) -> float:
    """Return the CPU seconds that the agent has used."""
    times = psutil.Process(stack.agent.pid).cpu_times()
    return times.user + times.system


def sleep_until(at_s: float) -> None:
    """Wait for an instant of the clock: rounds come when they come."""
    time.sleep(max(0.0, at_s - time.time()))


if __name__ == "__main__":
    sys.exit(main())
