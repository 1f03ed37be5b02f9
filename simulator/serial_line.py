"""A serial line with Modbus RTU units on it, on a pseudo-terminal that takes as long as a real line does.

A pseudo-terminal carries bytes at once. So a request counts as arriving character by character from the
instant at which it is written, and an answer is handed out no sooner than its characters would arrive.
"""

import contextlib
import os
import select
import termios
import threading
import time
import tty
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from simulator.errors import SimulatorError
from simulator.faults import Fault, FaultKind
from simulator.modbus import NotModbus
from simulator.rtu import LineSettings, parse_rtu, rtu_frame
from simulator.server import refuse_unfit
from simulator.spoiling import spoil_frame, spoil_pdu
from simulator.unit import BROADCAST, Outcome, Unit, Visit

_READ_BYTES = 4_096
_BATCH_S = 0.004
"""How much of an answer is handed out together, before its last characters."""
_SPIN_S = 0.0003
"""A sleep ends up to about so much too late; the last characters are waited for awake."""
_BAUD_SPEEDS = {getattr(termios, name): int(name[1:]) for name in dir(termios) if name[0] == "B" and name[1:].isdigit()}
UNFIT = frozenset({FaultKind.REFUSED, FaultKind.CLOSED, FaultKind.WRONG_TRANSACTION})


@dataclass(slots=True)
class LineCounters:
    """What happened on a line."""

    requests: int = 0
    """Whatever began after silence and ended with silence, well-formed or not."""
    answers: int = 0
    ignored_for_gap: int = 0
    """Requests that a strict line did not take, because they began too soon after an answer."""
    ignored_for_speed: int = 0
    """Requests at another speed than that of the unit they are for."""
    crc_errors: int = 0
    busy_s: float = 0.0
    """How long characters were on the line."""
    latest_release_s: float = 0.0
    """The most by which the end of an answer was handed out later than its time."""


class _Stopped(Exception):
    """The line is to end."""


class SimulatedLine:
    """A serial line in a thread of its own. To stop it is to unplug it, to start it again to plug it in."""

    def __init__(
        self,
        units: Iterable[Unit],
        *,
        settings: LineSettings | None = None,
        settings_of: Mapping[int, LineSettings] | None = None,
        is_strict: bool = False,
        link: Path | None = None,
    ) -> None:
        """Describe the line; `settings` left out are 9600 baud, 8N1.

        `settings_of` are those of units, by unit id, that are set otherwise. A unit does not understand
        a client of another speed. On a strict line a request is ignored that begins less than 3.5
        characters after the end of an answer. `link` is a path at which the client finds its end of the
        line, however often it is plugged in.
        """
        self.path = ""
        """The client's end, once the line is started."""
        self.meters = {unit.id: unit for unit in units}
        self.counters = LineCounters()
        self._units = {unit.unit_id: unit for unit in self.meters.values()}
        self._settings = settings or LineSettings()
        self._settings_of = dict(settings_of or {})
        self._is_strict = is_strict
        self._link = link
        self._visit = Visit()
        self._held = b""
        self._answer_end = 0.0
        self._thread: threading.Thread | None = None
        self._timers: list[threading.Timer] = []
        self._fds: tuple[int, ...] = ()

    def start(self) -> None:
        """Open the line.

        Raises: SimulatorError when the link cannot be made.
        """
        self._ours, theirs = os.openpty()
        self._wake, self._waker = os.pipe()
        self._fds = (self._ours, theirs, self._wake, self._waker)
        # The client's end stays open here too, else this end would report an error whenever no client is there.
        tty.setraw(theirs)
        os.set_blocking(self._ours, False)
        self.path = os.ttyname(theirs)
        try:
            self._make_link()
        except OSError as error:
            self._close()
            raise SimulatorError(f"the link {self._link} cannot be made: {error.strerror}") from error
        self._visit = Visit(self.path)
        self._thread = threading.Thread(target=self._run, name=f"line {self.path}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the line; a client that has it open sees it hang up."""
        if self._thread is not None:
            os.write(self._waker, b"\0")
            self._thread.join()
            self._thread = None
            for timer in self._timers:
                timer.cancel()
            self._timers.clear()
            self._close()

    def set_fault(self, meter_id: str, fault: Fault | None) -> None:
        """Let something go wrong with a unit from now on; None ends it.

        Raises: ValueError when such a thing cannot happen on a serial line.
        """
        self.set_faults(meter_id, *([] if fault is None else [fault]))

    def set_faults(self, meter_id: str, *faults: Fault) -> None:
        """Let several things go wrong with a unit; a request meets the first that applies to it."""
        for fault in faults:
            refuse_unfit(fault, UNFIT)
        self.meters[meter_id].set_faults(*faults)

    def set_fault_later(self, delay_s: float, meter_id: str, fault: Fault | None) -> None:
        """Do that after a while, unless the line has ended by then."""
        timer = threading.Timer(delay_s, self.set_fault, (meter_id, fault))
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def _make_link(self) -> None:
        if self._link is None:
            return
        if self._link.is_symlink():  # of a run that was killed
            self._link.unlink()
        self._link.symlink_to(self.path)
        self.path = str(self._link)

    def _close(self) -> None:
        if self._link is not None and self._link.is_symlink():
            self._link.unlink()
        for fd in self._fds:
            os.close(fd)
        self._fds = ()

    def _run(self) -> None:
        with contextlib.suppress(_Stopped):
            while True:
                self._await_bytes(None)
                self._take_request()

    def _take_request(self) -> None:
        begin = time.perf_counter()
        baud = self._client_baud()
        settings = replace(self._settings, baud=baud)
        data, end = self._gather(begin, settings)
        self.counters.requests += 1
        self.counters.busy_s += len(data) * settings.character_s
        if self._is_strict and begin - self._answer_end < settings.silence_s:
            self.counters.ignored_for_gap += 1
            return
        try:
            unit_id, pdu = parse_rtu(data)
        except NotModbus:
            self.counters.crc_errors += 1
            return
        if self._settings_of.get(unit_id, self._settings).baud != baud:
            self.counters.ignored_for_speed += 1
        elif unit_id == BROADCAST:
            for unit in self._units.values():
                unit.ask(pdu, self._visit)
        elif unit_id in self._units:
            outcome = self._units[unit_id].ask(pdu, self._visit)
            self._reply(unit_id, outcome, end, self._settings_of.get(unit_id, self._settings))

    def _gather(self, begin: float, settings: LineSettings) -> tuple[bytes, float]:
        """Read until a silence; return what came, and when its last character was over."""
        data, end, came = b"", begin, begin
        while True:
            more = os.read(self._ours, _READ_BYTES)
            data += more
            end = max(end, came) + len(more) * settings.character_s
            if not self._await_bytes(end + settings.silence_s):
                return data, end
            came = time.perf_counter()

    def _reply(self, unit_id: int, outcome: Outcome, end: float, settings: LineSettings) -> None:
        sent = spoil_frame(outcome.fault, rtu_frame(*spoil_pdu(outcome.fault, unit_id, outcome.pdu)))
        if not sent:
            return
        if outcome.fault is not None and outcome.fault.kind is FaultKind.LATE:
            self._held += sent
            return
        held, self._held = self._held, b""
        if held:
            end = self._send(held, end + settings.silence_s, settings)
        self._send(sent, end + max(settings.silence_s, outcome.delay_s), settings)
        self.counters.answers += 1

    def _send(self, data: bytes, begin: float, settings: LineSettings) -> float:
        """Hand out an answer at the line's speed; return when its last character is over."""
        character_s = settings.character_s
        batch = max(1, int(_BATCH_S / character_s))
        for start in range(0, len(data), batch):
            part = data[start : start + batch]
            over = begin + (start + len(part)) * character_s
            self._sleep_until(over - _SPIN_S)
            if start + batch >= len(data):
                while time.perf_counter() < over:
                    pass
            late_s = time.perf_counter() - over
            with contextlib.suppress(BlockingIOError):  # nobody listens: a real line would lose it as well
                os.write(self._ours, part)
        self.counters.latest_release_s = max(self.counters.latest_release_s, late_s)
        self.counters.busy_s += len(data) * character_s
        self._answer_end = over
        return over

    def _client_baud(self) -> int:
        speed = termios.tcgetattr(self._ours)[5]
        return _BAUD_SPEEDS.get(speed, 0) or self._settings.baud

    def _await_bytes(self, deadline: float | None) -> bool:
        """Wait until bytes have come, at the longest to the deadline, and say whether they have.

        Raises: _Stopped.
        """
        timeout_s = None if deadline is None else max(0.0, deadline - time.perf_counter())
        ready, _, _ = select.select([self._ours, self._wake], [], [], timeout_s)
        if self._wake in ready:
            raise _Stopped
        return bool(ready)

    def _sleep_until(self, instant: float) -> None:
        """Sleep; an instant in the past is no wait.

        Raises: _Stopped.
        """
        timeout_s = instant - time.perf_counter()
        if timeout_s > 0 and select.select([self._wake], [], [], timeout_s)[0]:
            raise _Stopped


@contextlib.contextmanager
def serial_line(
    *units: Unit,
    settings: LineSettings | None = None,
    settings_of: Mapping[int, LineSettings] | None = None,
    is_strict: bool = False,
    link: Path | None = None,
) -> Iterator[SimulatedLine]:
    """Run a serial line for the length of a `with` block."""
    line = SimulatedLine(units, settings=settings, settings_of=settings_of, is_strict=is_strict, link=link)
    line.start()
    try:
        yield line
    finally:
        line.stop()
