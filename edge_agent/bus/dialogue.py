"""One request and its answer on an open line: the silence before, the wait, and what else may be heard."""

import asyncio
import math
import time

from edge_agent.bus.framing import framing_for
from edge_agent.bus.line import Line
from edge_agent.bus.pdu import Request
from edge_agent.bus.stats import BusStats
from edge_agent.errors import MeterGarbled, MeterUnreachable
from protocol.line_config import LineConfig
from protocol.site.timing import Timing

_SHORTEST_ANSWER_BYTES = 5
"""Fewer may be noise, with the answer still to come."""
_LONGEST_FRAME_BYTES = 256
_PATIENCE_WITH_OTHERS_S = 1.0
_TIMER_STEP_S = 0.001
_TIMER_SLACK_S = 0.0001


class Dialogue:
    """Asks over a bus's lines, whichever is open, and remembers what may still come of earlier requests.

    With Modbus TCP a late answer carries its transaction id, and finds nobody. With RTU it looks like the
    answer to a later request, so three things are kept in mind: when the line was heard last, until when
    the answer to an abandoned request may come, and which units owe one.
    """

    def __init__(self, config: LineConfig, stats: BusStats) -> None:
        """Begin; `stats` are counted on."""
        self._address = config.address
        self._stats = stats
        self._framing = framing_for(config.transport)
        serial = config.serial
        self._gap_s = serial.silence_s + serial.turnaround_delay_ms / 1000 if serial is not None else 0.0
        self._quiet_from_s = -math.inf
        self._owing: set[int] = set()

    def who(self, request: Request) -> str:
        """Name the unit and its line for people."""
        return f"unit {request.unit_id} at {self._address}"

    async def ask(self, line: Line, request: Request, timing: Timing) -> bytes:
        """Send a request and return its answer's PDU, be it a refusal.

        When it is cancelled, the next request waits until the answer has had its time.
        Raises: LineLost; MeterUnreachable when the time is over; MeterGarbled when no proper answer is to
        be expected any more.
        """
        if not self._framing.tells_answers_apart:
            await self._await_silence(line)
        frame = self._framing.encode(request)
        line.send(frame)
        self._stats.requests += 1
        began_s = time.monotonic()
        sent_s = began_s + len(frame) * line.character_s
        self._quiet_from_s = sent_s + self._gap_s
        answer_s = (request.answer_bytes + self._framing.overhead_bytes) * line.character_s
        deadline_s = sent_s + timing.timeout_s + answer_s
        try:
            pdu = await self._receive(line, request, deadline_s, timing)
            return await self._prefer_newer(line, request, pdu, timing)
        except asyncio.CancelledError:
            self._quiet_from_s = deadline_s
            self._owing.add(request.unit_id)
            raise
        finally:
            self._stats.busy_s += time.monotonic() - began_s

    async def _receive(self, line: Line, request: Request, deadline_s: float, timing: Timing) -> bytes:
        stray = ""
        while True:
            finding = self._framing.examine(bytes(line.received), request)
            del line.received[: finding.used]
            self._count_drained(finding.used, finding.pdu)
            if finding.pdu:
                return finding.pdu
            if finding.fault and not self._may_be_late(request):
                raise self._garbled(request, finding.fault)
            if finding.used:
                stray = finding.stray or finding.fault
            elif not await self._wait_for_more(line, request, deadline_s):
                self._owing.add(request.unit_id)
                self._stats.timeouts += 1
                raise MeterUnreachable(
                    f"{self.who(request)} did not answer within {timing.timeout_s:g} s{_came(line, stray)}"
                )

    async def _wait_for_more(self, line: Line, request: Request, deadline_s: float) -> bool:
        """Wait for more bytes; return False when the time is over.

        Raises: MeterGarbled when enough came to be an answer, and then the line fell silent.
        """
        count = len(line.received)
        if self._framing.tells_answers_apart or count < _SHORTEST_ANSWER_BYTES:
            return await line.wait(deadline_s)
        idle_from_s = line.last_byte_at_s + line.idle_s
        if await line.wait(min(idle_from_s, deadline_s)):
            return True
        if idle_from_s >= deadline_s:
            return False
        if count < request.answer_bytes + self._framing.overhead_bytes:
            self._owing.add(request.unit_id)  # these bytes were too few; the answer itself may follow
        raise self._garbled(request, f"answered with {count} bytes that are no whole frame with a right check")

    async def _prefer_newer(self, line: Line, request: Request, pdu: bytes, timing: Timing) -> bytes:
        """Return the last answer that a unit gives which owed an earlier one: the first may be that."""
        if not self._may_be_late(request):
            return pdu
        until_s = time.monotonic() + timing.timeout_s
        while True:
            finding = self._framing.examine(bytes(line.received), request)
            del line.received[: finding.used]
            self._count_drained(finding.used, b"")
            if finding.pdu:
                pdu = finding.pdu
            elif not finding.used and not await line.wait(until_s):
                self._owing.discard(request.unit_id)
                return pdu

    def _may_be_late(self, request: Request) -> bool:
        return not self._framing.tells_answers_apart and request.unit_id in self._owing

    async def _await_silence(self, line: Line) -> None:
        """Wait until nothing was heard for as long as frames are to be apart, and drop what was.

        Raises: LineLost; MeterGarbled when the line does not fall silent.
        """
        longest_s = _PATIENCE_WITH_OTHERS_S + 2 * _LONGEST_FRAME_BYTES * line.character_s
        give_up_s = max(time.monotonic(), self._quiet_from_s) + longest_s
        while True:
            await _sleep_until(max(self._quiet_from_s, line.last_byte_at_s + self._gap_s), line)
            drained = line.drain()
            self._stats.drained_bytes += drained
            if not drained:
                return
            if time.monotonic() > give_up_s:
                self._stats.garbled += 1
                raise MeterGarbled(
                    f"{self._address} does not fall silent: another program or device asks there too; "
                    "only one may, so disconnect the other"
                )

    def _count_drained(self, used: int, pdu: bytes) -> None:
        self._stats.drained_bytes += used - (len(pdu) + self._framing.overhead_bytes if pdu else 0)

    def _garbled(self, request: Request, fault: str) -> MeterGarbled:
        self._stats.garbled += 1
        return MeterGarbled(f"{self.who(request)} {fault}")


async def _sleep_until(instant_s: float, line: Line) -> None:
    """Sleep to an instant of `time.monotonic`, to a tenth of a millisecond, or until bytes arrive.

    Raises: LineLost.
    """
    while (rest_s := instant_s - time.monotonic()) > 0:
        steps = int((rest_s - _TIMER_SLACK_S) / _TIMER_STEP_S)
        if steps <= 0:
            # asyncio rounds its timers up to whole milliseconds, a third of the silence at 9,600 baud. The
            # last part is slept in the kernel: below 1.1 ms, for which the other buses can wait.
            time.sleep(rest_s)  # noqa: ASYNC251 - see above
        elif await line.wait(time.monotonic() + steps * _TIMER_STEP_S):
            return


def _came(line: Line, stray: str) -> str:
    if line.received:
        return f"; {len(line.received)} bytes came that are no whole answer"
    return f"; what came was {stray}" if stray else ""
