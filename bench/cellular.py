"""Megabytes per month on a cellular line: a real agent in a network namespace, its wire's bytes counted.

A month cannot be waited for, so each thing that costs is done a number of times through the real stack
(agent, Mosquitto with TLS 1.3 and P-256 certificates on both sides, ingest, PostgreSQL), and its bytes are
multiplied by how often it happens in 30.4 days:

    month = batches x (batch + acknowledgement) + signs of life x one + hellos x one + healths x one
            + reconnects x one with a whole handshake

A batch is as it would be: the meters' time runs faster, so that its scans differ as after a minute or half
an hour, and batches are 2 s or more apart, so that each has its TCP segments to itself. Counts per month
are those of the agent's defaults: hello and health each six hours, one reconnect a day. For half-hourly
batches a sign of life is added between any two, as with the keepalive of 20 minutes that the agent begins
with where its network allows no longer one.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from cellular_rig import CONTROLLER, NEVER_S, Rig, rigged
from figures import report
from netns import NotPermitted, Passed
from peers import PEERS, PeerUnavailable, PlainBroker, make_job, peer_process

from demo.errors import DemoError
from demo.processes import wait_until
from edge_agent.domain.traffic import DAYS, ScanFlow, estimate_month_bytes
from protocol.topics import Up

METERS, POINTS = 6, 20
_MEGABYTE = 1_000_000
_DAY_S, _HALF_HOUR_S, _QUARTER_S, _MINUTE_S = 86_400, 1_800, 900, 60
_PEER_PERIOD_S, _PEER_POLLS, _PEER_SETTLES_S = 5, 10, 30
_SIX_HOURLY = 4 * DAYS


@dataclass(frozen=True, slots=True)
class Costs:
    """Bytes of IP packets, both ways, per time that something is done."""

    half_hourly_batch: float
    quarter_hourly_batch: float
    sign_of_life: float
    hello: float
    health: float
    reconnect: float
    resumed: float


def main() -> int:
    """Measure and print the figures; exit code 1 when one misses its bar."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--times", type=int, default=10, help="how often each thing is done [%(default)s]")
    parser.add_argument("--without-peers", action="store_true", help="do not install and measure other programs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="meterhaul-bench-") as name:
        try:
            with rigged(Path(name)) as rig:
                costs, counted = measure(rig, arguments.times)
                beside = [] if arguments.without_peers else [beside_us(rig, peer) for peer in PEERS]
        except (NotPermitted, DemoError) as error:
            print(error, file=sys.stderr)
            return 1
    return 0 if all(report_all(costs, counted, beside)) else 1


def measure(rig: Rig, times: int) -> tuple[Costs, float]:
    """Do everything, and return what it cost and the agent's own count as a share of the wire's."""
    began = rig.namespace.passed()
    with rig.meters(speed=_HALF_HOUR_S / 2):
        with rig.agent(period_s=2, send_every_s=2):
            half_hourly = per_batch(rig, "half-hourly", 3 * times)
        with rig.agent(period_s=2, send_every_s=2, health_every_s=5, health_pause_s=1):
            window = rig.count(Up.HEALTH, times)
            health = (window.passed.total - window.said[Up.BATCH] * half_hourly) / times
    with rig.meters(speed=60), rig.agent(period_s=1, send_every_s=15):
        quarter_hourly = per_batch(rig, "quarter-hourly", max(4, times // 2))
    with rig.meters(speed=1):
        with rig.agent(period_s=NEVER_S, hello_every_s=2):
            hello = rig.count(Up.HELLO, times).passed.total / times
        with rig.agent(period_s=NEVER_S, keepalive_s=5):
            sign_of_life = rig.count_signs_of_life(times)
        with rig.agent(period_s=NEVER_S):
            reconnect = rig.reconnect(is_broker_restarted=True).total
            resumed = rig.reconnect(is_broker_restarted=False).total
    counted = rig.counted_by_agent() / (rig.namespace.passed() - began).total
    return Costs(half_hourly, quarter_hourly, sign_of_life, hello, health, reconnect, resumed), counted


def per_batch(rig: Rig, name: str, times: int) -> float:
    """Return the bytes of a batch and all that answers it."""
    window = rig.count(Up.BATCH, times)
    print(f"{name}: {window.scans / times:.1f} scans a batch; {times} of them: {say(window.passed)}")
    return window.passed.total / times


def beside_us(rig: Rig, name: str) -> str:
    """Let another program read the same meters, and say what a month of that each minute would cost."""
    plain = PlainBroker(rig.directory / f"{name}-broker", rig.namespace.host)
    try:
        with plain, rig.meters(speed=_MINUTE_S / _PEER_PERIOD_S) as site:
            job = make_job(site, period_s=_PEER_PERIOD_S, broker_host=plain.host, broker_port=plain.port)
            directory = rig.directory / name
            with peer_process(name, job, directory, inside=rig.namespace.argv()) as peer:
                wait_until(lambda: peer.require_running() and rig.namespace.passed().up, 60, f"{name} to connect")
                time.sleep(_PEER_SETTLES_S)
                before = rig.namespace.passed()
                time.sleep(_PEER_POLLS * _PEER_PERIOD_S)  # its own pace is what is measured
                peer.require_running()
                passed = rig.namespace.passed() - before
    except (PeerUnavailable, DemoError) as error:
        return f"{name}: not measured, {error}"
    month = passed.total / _PEER_POLLS * DAYS * _DAY_S / _MINUTE_S / _MEGABYTE
    per_reading = passed.total / _PEER_POLLS / (METERS * POINTS)
    return f"{name}, without TLS: {month:.0f} MB, {per_reading:.0f} B a reading" if passed.total else f"{name}: silent"


def say(passed: Passed) -> str:
    """Say for people what passed."""
    return f"{passed.up} B up in {passed.packets_up} packets, {passed.down} B down in {passed.packets_down}"


def month_mb(costs: Costs, *, batch: float, interval_s: float, signs_of_life: float) -> float:
    """Put a month together, in millions of bytes."""
    month = DAYS * _DAY_S / interval_s * (batch + signs_of_life * costs.sign_of_life)
    month += _SIX_HOURLY * (costs.hello + costs.health) + DAYS * costs.reconnect
    return month / _MEGABYTE


def estimated_mb(*, samples_per_day: float, interval_s: float, keepalive_s: float) -> float:
    """Return what `edge check` would say of the same month."""
    estimate = estimate_month_bytes(
        [ScanFlow(POINTS, samples_per_day)] * METERS,
        send_interval_s=interval_s,
        keepalive_s=keepalive_s,
        hello_every_s=6 * 3600,
        health_every_s=6 * 3600,
        meters=METERS,
        controller_id=CONTROLLER,
    )
    return estimate.total / _MEGABYTE


def report_all(costs: Costs, counted: float, beside: list[str]) -> list[bool]:
    """Print every figure."""
    half_hourly = month_mb(costs, batch=costs.half_hourly_batch, interval_s=_HALF_HOUR_S, signs_of_life=1)
    minute = month_mb(costs, batch=costs.quarter_hourly_batch, interval_s=_QUARTER_S, signs_of_life=0)
    print(", ".join(f"{name.replace('_', ' ')} {cost:.0f} B" for name, cost in asdict(costs).items()))
    estimates = (
        estimated_mb(samples_per_day=48, interval_s=_HALF_HOUR_S, keepalive_s=1200),
        estimated_mb(samples_per_day=1440, interval_s=_QUARTER_S, keepalive_s=1200),
    )
    job = f"{METERS} meters x {POINTS} points"
    return [
        report("cellular_mb_per_month_halfhourly", half_hourly, "MB", against=f"{job} half-hourly", at_most=2.0),
        report(
            "cellular_mb_per_month_minute",
            minute,
            "MB",
            against=f"{job} each minute, sent each 15 minutes; {'; '.join(beside) or 'nothing beside'}",
            at_most=8.0,
        ),
        *(
            report(
                f"cellular_measured_to_estimated_{name}",
                measured / estimate,
                "ratio",
                against="what `edge check` says",
                at_least=0.7,
                at_most=1.4,
            )
            for name, measured, estimate in zip(("halfhourly", "minute"), (half_hourly, minute), estimates, strict=True)
        ),
        report(
            "cellular_counted_by_agent_to_wire",
            counted,
            "ratio",
            against="the namespace's own counters",
            at_least=0.95,
            at_most=1.05,
        ),
        report(
            "cellular_resumed_to_whole_reconnect",
            costs.resumed / costs.reconnect,
            "ratio",
            against=f"{costs.reconnect:.0f} B for a reconnect with a whole handshake",
            at_most=0.8,
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
