"""Show the main job: start the whole system, say what happens, and account for every scan at the end."""

import contextlib
import fcntl
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from cloud_hub.db import create_engine
from demo.errors import DemoError
from demo.example_month import MONTH, SLUG, add_example_month, has_example_month
from demo.holdings import Counts, account_for, count
from demo.mosquitto import ensure_installed
from demo.stack import LOCK, Stack
from simulator.ledger import LedgerReader

_TICK_S = 1.0
_LINE_EVERY_S = 10


class Demo:
    """One run of the demo; people read standard error, programs the one JSON line on standard output."""

    def __init__(self, directory: Path, *, seconds: float | None, as_json: bool, web_port: int | None) -> None:
        """Describe the run: `seconds` None means until it is interrupted."""
        self._directory = directory
        self._seconds = seconds
        self._as_json = as_json
        self._stack = Stack(directory, web_port=web_port)
        self._served = 0

    def run(self, *, fresh: bool) -> int:
        """Run it and return the exit code: 0 when every scan is accounted for.

        Raises: DemoError.
        """
        ensure_installed()
        self._directory.mkdir(parents=True, exist_ok=True)
        with _alone(self._directory), _interrupts_end_the_wait() as interrupted:
            if fresh:
                self._stack.wipe()
            try:
                self._start()
                self._watch(interrupted)
                self._say("Stopping: the agent stores what is in hand and delivers what it can ...")
                self._stack.stop_edge()
                return self._conclude()
            finally:
                self._stack.stop()

    def _start(self) -> None:
        self._say(f"Starting everything under {self._directory} (logs in {self._directory / 'logs'}):")
        login = self._stack.start(lambda part: self._say(f"  {part}"))
        self._add_example()
        self._say(f"\n  Page      {self._stack.url}\n  Login     {login.email}\n  Password  {login.password}")
        self._say(f"  Energy    {self._stack.url}sites/{SLUG}/energy?month={MONTH} (a made-up bakery's month)\n")
        if self._seconds is None:
            self._say("Ctrl-C ends it and stops everything. Data stays for the next run; --fresh starts anew.\n")

    def _add_example(self) -> None:
        """Give the hub a site with a past, for half hours of energy take longer than most people watch."""
        engine = create_engine(self._stack.database_url)
        try:
            if not has_example_month(engine):
                self._say("  an example month")
                add_example_month(engine)
        finally:
            engine.dispose()

    def _watch(self, interrupted: threading.Event) -> None:
        ledger = LedgerReader(self._stack.ledger)
        began = time.monotonic()
        next_line = began
        while not interrupted.wait(_TICK_S):
            now = time.monotonic()
            if self._seconds is not None and now - began >= self._seconds:
                break
            self._stack.require_running()
            self._served += sum(frame.answered for frame in ledger.read_on())
            if sys.stderr.isatty():
                self._say(f"\r\033[K{self._describe(count(self._stack))}", end="")
            elif now >= next_line:
                self._say(self._describe(count(self._stack)))
                next_line = now + _LINE_EVERY_S
        self._say("")

    def _conclude(self) -> int:
        account = account_for(self._stack)
        counts = count(self._stack)
        summary = {
            "scans_served": account.served,
            "scans_stored": account.stored,
            "scans_committed": account.committed,
            "scans_on_edge": account.on_edge,
            "scans_timed_out": account.timed_out,
            "scans_read_by_others": account.read_by_others,
            "scans_silent": account.silent,
            "scans_doubled": account.doubled,
            "scans_altered": account.altered,
            "gap_records": counts.gap_records,
            "readings_committed": counts.readings_committed,
            "bytes_up": self._stack.relay.bytes_up,
            "bytes_down": self._stack.relay.bytes_down,
            "url": self._stack.url,
        }
        if self._as_json:
            print(json.dumps(summary), flush=True)  # noqa: T201 -- the demo's result
        for finding in account.findings:
            self._say(finding)
        verdict = (
            "Every scan that the meters served is accounted for."
            if account.is_clean
            else "Not every scan is accounted for: this is a defect. The logs and the ledger are kept."
        )
        self._say(
            f"{account.served} scans served, {account.committed} committed, {account.on_edge} on the edge, "
            f"{account.timed_out} answered too late. {verdict}"
        )
        return 0 if account.is_clean else 1

    def _describe(self, counts: Counts) -> str:
        return (
            f"meters served {self._served} scans · {counts.on_edge} wait on the controller · "
            f"the hub committed {counts.scans_committed} ({counts.readings_committed} readings)"
        )

    def _say(self, text: str, end: str = "\n") -> None:
        print(text, end=end, file=sys.stderr, flush=True)  # noqa: T201 -- the demo speaks to people


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Refuse a second demo in the same directory.

    Raises: DemoError.
    """
    with (directory / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DemoError(f"a demo already runs in {directory}: end it first, or name another --data-dir") from error
        yield


@contextlib.contextmanager
def _interrupts_end_the_wait() -> Iterator[threading.Event]:
    """Collect SIGINT and SIGTERM instead of dying of them, so that everything is stopped in order."""
    received = threading.Event()

    def note(_number: int, _frame: FrameType | None) -> None:
        received.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
