"""The whole system for one test, and the seed of its chance."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.stack import Stack


@pytest.fixture
def chance(capsys: pytest.CaptureFixture[str]) -> random.Random:
    """Chance with a seed that is always printed, or given."""
    seed = os.environ.get("METERHAUL_SEED") or str(random.SystemRandom().randrange(10**9))
    with capsys.disabled():
        print(f"\nMETERHAUL_SEED={seed} plays the same kills again")  # noqa: T201 -- for whoever reads the log
    return random.Random(seed)


@pytest.fixture
def start_stack(tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    """Start systems that are stopped when the test ends."""
    stacks: list[Stack] = []

    def start(**options: Any) -> Stack:
        stack = Stack(tmp_path / "system", **({"with_web": False} | options))
        stacks.append(stack)
        stack.start()
        return stack

    yield start
    for stack in stacks:
        stack.stop()
        stack.postgres.wipe()
