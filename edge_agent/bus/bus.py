"""One bus: its line is opened when needed, callers take turns, and each gets the answer to its own request.

pymodbus gives the messages and frames (`pdu`, `framing`). Its client is not used: it leaves out the silence
between RTU frames, accepts transaction id 0, compares neither function nor length, and dies on bytes that
it cannot decode.
"""

import asyncio
import math
import time
from collections.abc import Sequence

from edge_agent.bus.dialogue import Dialogue
from edge_agent.bus.line import Line, LineLost
from edge_agent.bus.pdu import Request, exception_of, exception_text, read_request, write_request
from edge_agent.bus.serial_line import open_port
from edge_agent.bus.stats import BusStats
from edge_agent.bus.tcp_line import connect
from edge_agent.errors import BusUnreachable, MeterGarbled, MeterRefused, MeterUnreachable
from protocol.line_config import LineConfig
from protocol.profile import Table
from protocol.site.timing import Timing


class _StaleConnection(MeterUnreachable):
    """A connection that stood open was closed by the other side before it answered anything."""


class ModbusBus:
    """One line to meters. A TCP connection on which anything went wrong is thrown away, a serial port is kept."""

    def __init__(self, line: LineConfig, *, extra_pause_s: float = 0.0) -> None:
        """Describe the bus; nothing is opened yet. `extra_pause_s` is what its devices ask for between requests."""
        self.stats = BusStats()
        self._config = line
        self._timing = Timing(line.timeout_s, line.retries, line.pause_between_requests_s)
        self._extra_pause_s = extra_pause_s
        self._dialogue = Dialogue(line, self.stats)
        self._turn = asyncio.Lock()
        self._line: Line | None = None
        self._opened_at_s = -math.inf
        self._ended_at_s = -math.inf

    @property
    def address(self) -> str:
        """Return the device path or `host:port`, as people write it."""
        return self._config.address

    async def read(
        self, *, unit_id: int, table: Table, address: int, count: int, timing: Timing | None = None
    ) -> Sequence[int]:
        """Read `count` registers (0..65535 each) or bits (0 or 1) from the zero-based `address`.

        `timing` left out is the bus's.
        Raises: BusUnreachable without a connection or port; MeterUnreachable when no answer comes in time;
        MeterGarbled when what comes is no proper answer; MeterRefused when the meter answers with an exception.
        """
        request = read_request(unit_id=unit_id, table=table, address=address, count=count)
        return request.values_of(await self._ask(request, timing or self._timing))

    async def write(
        self, *, unit_id: int, table: Table, address: int, words: Sequence[int], timing: Timing | None = None
    ) -> None:
        """Write registers or coils from the zero-based `address` on, once, and see that the meter confirms it.

        Raises: ValueError for what no meter could take; else as `read` does. After MeterUnreachable and
        MeterGarbled the meter may have done it or not; after BusUnreachable too when the port was lost.
        """
        request = write_request(unit_id=unit_id, table=table, address=address, words=words)
        await self._ask(request, timing or self._timing)

    def close(self) -> None:
        """Close the connection in good order, or give the port back; the next request opens it again."""
        self._drop(is_orderly=True)

    async def _ask(self, request: Request, timing: Timing) -> bytes:
        """Ask as often as allowed.

        A write is never repeated: the first one may have been done, and a pulse would be given twice.
        """
        repetitions = timing.retries if request.is_read else 0
        async with self._turn:
            while True:
                try:
                    return await self._ask_once(request, timing)
                except BusUnreachable:
                    raise
                except (MeterUnreachable, MeterGarbled):
                    if not repetitions:
                        raise
                repetitions -= 1

    async def _ask_once(self, request: Request, timing: Timing) -> bytes:
        try:
            pdu = await self._attempt(request, timing)
        except _StaleConnection:
            if not request.is_read:
                raise
            pdu = await self._attempt(request, timing)
        self.stats.answers += 1
        code = exception_of(pdu)
        if code is not None:
            self.stats.exceptions += 1
            raise MeterRefused(
                f"{self._dialogue.who(request)} refused {request.what} with {exception_text(code)}",
                exception_code=code,
            )
        return pdu

    async def _attempt(self, request: Request, timing: Timing) -> bytes:
        """Send the request once, and leave the bus fit for the next one whatever happens."""
        stood_open = self._line is not None and not self._line.lost
        line = await self._opened()
        await self._pause(timing)
        try:
            return await self._dialogue.ask(line, request, timing)
        except LineLost as lost:
            is_stale = stood_open and self._line is line and not line.received
            self._drop(is_orderly=False)
            if self._config.serial is not None:
                raise BusUnreachable(f"no connection to {self.address}: {lost}") from lost
            kind = _StaleConnection if is_stale else MeterUnreachable
            raise kind(f"{self._dialogue.who(request)} {lost} instead of answering") from lost
        except BaseException:
            if self._config.serial is None:
                self._drop(is_orderly=False)  # an answer that comes late finds nobody
            raise
        finally:
            self._ended_at_s = time.monotonic()

    async def _opened(self) -> Line:
        if self._line is not None and not self._line.lost:
            return self._line
        self._drop(is_orderly=False)
        self._line = await connect(self._config) if self._config.serial is None else open_port(self._config)
        self._opened_at_s = time.monotonic()
        self.stats.connects += 1
        return self._line

    async def _pause(self, timing: Timing) -> None:
        pause_s = max(self._extra_pause_s, timing.pause_between_requests_s)
        ready_s = max(self._ended_at_s + pause_s, self._opened_at_s + self._config.pause_after_connect_s)
        wait_s = ready_s - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    def _drop(self, *, is_orderly: bool) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close(is_orderly=is_orderly)
