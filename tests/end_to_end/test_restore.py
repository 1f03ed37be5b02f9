"""A hub that was restored from an older dump is healed by its agents; no operator does anything."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from watching import (
    FAST,
    REPLAY,
    account_after,
    assert_nothing_silent_doubled_or_altered,
    wait_for_commits,
    wait_until_delivered,
)

from demo.holdings import count
from demo.stack import DATABASE, Stack


@pytest.mark.timeout(300)
def test_what_a_restored_database_lacks_comes_again_by_itself(
    start_stack: Callable[..., Stack], tmp_path: Path
) -> None:
    stack = start_stack(simulation=REPLAY, pace=FAST, ingest_processes=2)
    wait_for_commits(stack, 200, timeout_s=60)
    dump = dump_database(stack, tmp_path / "hub.dump")
    in_dump = count(stack).scans_committed
    wait_for_commits(stack, in_dump + 400, timeout_s=60)
    assert incarnation(stack) == 1

    restore_database(stack, dump)
    wait_until_delivered(stack)

    account = account_after(stack)
    assert_nothing_silent_doubled_or_altered(account)
    assert account.committed >= in_dump + 400
    assert account.on_edge == 0
    assert incarnation(stack) == 2
    assert count(stack).gap_records == 0


def dump_database(stack: Stack, dump: Path) -> Path:
    run_client(stack, "pg_dump", "--format=custom", f"--file={dump}", libpq_url(stack.database_url))
    return dump


def restore_database(stack: Stack, dump: Path) -> None:
    """Restore beside the running database and change places, as an operator does, while all else runs on."""
    restored = stack.postgres.create_database("restored")
    run_client(stack, "pg_restore", "--exit-on-error", f"--dbname={libpq_url(restored)}", str(dump))
    stack.postgres.drop_database(DATABASE)
    stack.postgres.rename_database("restored", DATABASE)


def run_client(stack: Stack, program: str, *arguments: str) -> None:
    subprocess.run([stack.postgres.program(program), *arguments], check=True, capture_output=True, text=True)


def libpq_url(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def incarnation(stack: Stack) -> int:
    with stack.session() as session:
        return int(session.execute(text("SELECT incarnation FROM hub_state")).scalar_one())
