"""Whoever is killed, and however often: no reading is lost, doubled or altered."""

import random
import time
from collections import Counter
from collections.abc import Callable

import pytest
from watching import (
    FAST,
    REPLAY,
    account_after,
    assert_nothing_silent_doubled_or_altered,
    wait_for_commits,
    wait_until_delivered,
)

from demo.holdings import count
from demo.processes import wait_until
from demo.stack import Stack

KILLS = 32
VICTIMS = ("agent", "broker", "ingest", "postgres")
IN_HAND_PER_DEATH = 8
"""Scans that an agent may have had in hand when it died: two poll cycles of four meters."""


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_random_kills_lose_nothing(start_stack: Callable[..., Stack], chance: random.Random) -> None:
    stack = start_stack(simulation=REPLAY, pace=FAST, ingest_processes=2)
    wait_for_commits(stack, 50, timeout_s=60)
    deaths_ms: list[int] = []
    killed: Counter[str] = Counter()
    for number in range(KILLS):
        # Every victim in turn, then at random, so that no run misses one.
        victim = VICTIMS[number] if number < len(VICTIMS) else chance.choice(VICTIMS)
        killed[victim] += 1
        revive = kill(stack, victim, chance)
        if victim == "agent":
            deaths_ms.append(time.time_ns() // 1_000_000)
        let_pass(stack, chance.uniform(0, 1.5))
        revive()
        let_pass(stack, chance.uniform(0.5, 3))
    print(f"killed {dict(killed)}")  # noqa: T201 -- shown by pytest when the test fails
    wait_until_delivered(stack)
    account = account_after(stack, deaths_ms)
    assert_nothing_silent_doubled_or_altered(account)
    assert killed.total() >= 30
    assert account.lost_before_fsync <= IN_HAND_PER_DEATH * len(deaths_ms)


def kill(stack: Stack, victim: str, chance: random.Random) -> Callable[[], None]:
    """Kill -9 a part and return what brings it back."""
    if victim == "broker":
        stack.broker.kill()
        stack.broker.wipe()
        return stack.broker.start
    if victim == "postgres":
        stack.postgres.kill()
        return stack.postgres.start
    process = stack.agent if victim == "agent" else chance.choice(stack.ingest)
    process.kill()
    return process.start


def let_pass(stack: Stack, seconds: float) -> None:
    """Let the meters serve for a while: time is what this test waits for."""
    end = time.monotonic() + seconds
    wait_until(lambda: stack.meters.require_running() and time.monotonic() >= end, seconds + 10, "time to pass")


@pytest.mark.timeout(300)
def test_a_dead_network_only_delays(start_stack: Callable[..., Stack]) -> None:
    stack = start_stack(simulation=REPLAY, pace=FAST)
    wait_for_commits(stack, 50, timeout_s=60)
    stack.relay.stall()
    held = count(stack).on_edge
    wait_until(lambda: count(stack).on_edge > held + 100, 60, "scans to gather on the edge")
    stack.relay.cut()
    stack.relay.restore()
    wait_until_delivered(stack)
    assert_nothing_silent_doubled_or_altered(account_after(stack))
