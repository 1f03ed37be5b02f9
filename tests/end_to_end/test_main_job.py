"""Real readings travel from registers through buffer and broker into the database, each exactly once."""

from collections.abc import Callable

import pytest
from watching import (
    FAST,
    REPLAY,
    account_after,
    assert_nothing_silent_doubled_or_altered,
    wait_for_frames,
    wait_until_delivered,
)

from demo.stack import Stack

MINUTES = 2_203
"""All of the real data: mains and three sub-meters, one row a minute."""


@pytest.mark.timeout(900)
def test_every_minute_of_real_data_arrives_unaltered(start_stack: Callable[..., Stack]) -> None:
    stack = start_stack(simulation=REPLAY, pace=FAST)
    wait_for_frames(stack, MINUTES, timeout_s=600)
    wait_until_delivered(stack)
    account = account_after(stack)
    assert_nothing_silent_doubled_or_altered(account)
    assert account.served >= 4 * MINUTES
    assert account.on_edge == 0
    assert account.lost_before_fsync == 0
