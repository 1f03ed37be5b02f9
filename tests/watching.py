"""What the end-to-end tests wait for and check."""

import time
from collections import Counter

from demo.accounting import Account
from demo.holdings import account_for, count
from demo.processes import wait_until
from demo.stack import Pace, Stack
from simulator.ledger import read_ledger

FAST = Pace(period_s=0.05, send_every_s=0.5, hello_every_s=3, ack_timeout_s=2)
REPLAY = ("--site", "replay", "--step", "frame")


def frames_per_meter(stack: Stack) -> Counter[str]:
    return Counter(frame.meter for frame in read_ledger(stack.ledger))


def wait_for_frames(stack: Stack, at_least: int, timeout_s: float) -> None:
    def reached() -> bool:
        stack.require_running()
        frames = frames_per_meter(stack)
        return bool(frames) and min(frames.values()) >= at_least

    wait_until(reached, timeout_s, f"{at_least} frames of every meter")


def wait_for_commits(stack: Stack, at_least: int, timeout_s: float) -> None:
    wait_until(lambda: count(stack).scans_committed >= at_least, timeout_s, f"{at_least} scans in the database")


def wait_until_delivered(stack: Stack, timeout_s: float = 120) -> None:
    """Stop the meters, so that no new values come, and wait until the hub has all that were stored."""
    stack.meters.stop()
    next_look = [time.monotonic()]

    def delivered() -> bool:
        if time.monotonic() < next_look[0]:
            return False
        account = account_after(stack)
        next_look[0] = time.monotonic() + 1
        return account.on_edge == 0

    wait_until(delivered, timeout_s, "the agent to deliver everything")


def assert_nothing_silent_doubled_or_altered(account: Account) -> None:
    print(account)  # noqa: T201 -- shown by pytest when the test fails
    assert account.findings == []
    assert (account.silent, account.doubled, account.altered) == (0, 0, 0)
    assert account.read_by_others == 0
    assert account.committed > 0


def account_after(stack: Stack, agent_deaths_ms: list[int] | None = None) -> Account:
    return account_for(stack, agent_deaths_ms=agent_deaths_ms or [])
