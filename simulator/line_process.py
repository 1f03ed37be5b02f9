"""A serial line in a process of its own, so that a benchmark's client and the line do not slow each other down."""

import contextlib
import multiprocessing
import os
from collections.abc import Iterator
from multiprocessing.connection import Connection

from simulator.register_unit import RegisterUnit
from simulator.rtu import LineSettings
from simulator.serial_line import LineCounters, SimulatedLine

_START_S = 30.0


class LineProcess:
    """The line as seen from the process that started it."""

    def __init__(self, path: str, pipe: Connection) -> None:
        """Take the client's end of the line and the way to ask its process."""
        self.path = path
        self._pipe = pipe

    def counters(self) -> LineCounters:
        """Return what has happened on the line so far."""
        self._pipe.send(None)
        counters = self._pipe.recv()
        if not isinstance(counters, LineCounters):
            raise TypeError(f"the line's process answered {counters!r}")
        return counters


@contextlib.contextmanager
def line_process(
    *units: RegisterUnit, settings: LineSettings | None = None, is_strict: bool = False
) -> Iterator[LineProcess]:
    """Run a serial line in another process for the length of a `with` block.

    Raises: TimeoutError when the process does not start, EOFError when it fails.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(theirs, units, settings, is_strict), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(_START_S):
            raise TimeoutError(f"the line's process did not start in {_START_S:g} s")
        yield LineProcess(ours.recv(), ours)
    finally:
        ours.close()  # its end is what the process waits for
        process.join(_START_S)
        process.close()


def _run(pipe: Connection, units: tuple[RegisterUnit, ...], settings: LineSettings | None, is_strict: bool) -> None:  # noqa: FBT001 - passed by position to a process
    with contextlib.suppress(OSError):
        # A line does not wait for other programs; only some users may ask for that, and it is no more than better.
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    line = SimulatedLine(units, settings=settings, is_strict=is_strict)
    line.start()
    pipe.send(line.path)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            pipe.recv()
            pipe.send(line.counters)
    line.stop()
