"""One client's connection to a simulated server: requests off the stream, answers onto it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from simulator.faults import FaultKind
from simulator.links import Direct, Gateway, Link
from simulator.modbus import HEADER_BYTES, ExceptionCode, NotModbus, frame, parse_header, refusal_pdu
from simulator.rtu import LineSettings, parse_rtu, request_bytes, rtu_frame
from simulator.spoiling import spoil_frame, spoil_pdu
from simulator.unit import BROADCAST, Outcome, Unit, Visit

_RTU_BYTES_MAX = 256
_RTU_START_BYTES = 2
_END_OF_NOISE_S = 0.05
"""A serial server sends on what it heard after a silence of about this length."""
_RTU_OVERHEAD_BYTES = 3


class ClosedByUnit(Exception):
    """A fault closes the connection."""


@dataclass(slots=True)
class Counters:
    """What happened on one TCP port."""

    sessions: int = 0
    refused_sessions: int = 0
    requests: int = 0
    crc_errors: int = 0


@dataclass(frozen=True, slots=True)
class _Incoming:
    unit_id: int
    pdu: bytes
    transaction_id: int = 0


class Session:
    """Serves the requests of one client, each after the other."""

    def __init__(
        self,
        units: Mapping[int, Unit],
        link: Link,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        line: asyncio.Lock,
        counters: Counters,
    ) -> None:
        """Begin; `line` is held while a request is on a line that all clients share."""
        self._units = units
        self._link = link
        self._reader = reader
        self._writer = writer
        self._line = line
        self._counters = counters
        host, port = writer.get_extra_info("peername")[:2]
        self._visit = Visit(f"{host}:{port}")
        self._held = b""

    async def serve_request(self) -> None:
        """Wait for one request and answer it, or not, as the unit's fault has it.

        Raises: NotModbus, ClosedByUnit, and what a connection raises that ends.
        """
        incoming = await (self._receive_rtu() if self._link.speaks_rtu else self._receive_tcp())
        self._counters.requests += 1
        async with self._turn():
            answer = await self._answer(incoming)
            if answer:
                self._writer.write(answer)
                await self._writer.drain()

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if isinstance(self._link, Direct):
            yield
        else:
            async with self._line:
                yield

    async def _receive_tcp(self) -> _Incoming:
        header = parse_header(await self._reader.readexactly(HEADER_BYTES))
        pdu = await self._reader.readexactly(header.pdu_bytes)
        return _Incoming(header.unit_id, pdu, header.transaction_id)

    async def _receive_rtu(self) -> _Incoming:
        while True:
            data = await self._reader.readexactly(_RTU_START_BYTES)
            while (length := request_bytes(data)) is not None and len(data) < length:
                data += await self._reader.readexactly(length - len(data))
            if length is None:
                data += await self._read_to_silence()
            try:
                return _Incoming(*parse_rtu(data))
            except NotModbus:
                self._counters.crc_errors += 1
                await self._read_to_silence()

    async def _read_to_silence(self) -> bytes:
        """Read until nothing comes any more: only then a frame of unknown length has ended."""
        data = b""
        with contextlib.suppress(TimeoutError):
            while more := await asyncio.wait_for(self._reader.read(_RTU_BYTES_MAX), _END_OF_NOISE_S):
                data += more
        return data

    async def _answer(self, incoming: _Incoming) -> bytes:
        """Let the unit answer, with the time that it and its line take, and return what is due on the wire."""
        settings = self._link.settings
        if settings is not None:
            await asyncio.sleep(_line_time_s(settings, incoming.pdu) + settings.silence_s)
        unit = self._units.get(incoming.unit_id)
        if unit is None:
            return await self._answer_for_nobody(incoming)
        outcome = unit.ask(incoming.pdu, self._visit)
        kind = outcome.fault.kind if outcome.fault is not None else None
        if isinstance(self._link, Gateway) and not self._link.hears(kind, outcome.delay_s):
            return await self._give_up(incoming, self._link)
        if outcome.delay_s > 0:
            await asyncio.sleep(outcome.delay_s)
        if kind is FaultKind.CLOSED:
            raise ClosedByUnit
        if settings is not None:
            await asyncio.sleep(_line_time_s(settings, outcome.pdu))
        sent = self._framed(incoming, outcome)
        if kind is FaultKind.LATE:
            self._held += sent
            return b""
        sent, self._held = self._held + sent, b""
        return sent

    def _framed(self, incoming: _Incoming, outcome: Outcome) -> bytes:
        fault = outcome.fault
        unit_id, pdu = spoil_pdu(fault, incoming.unit_id, outcome.pdu)
        if self._link.speaks_rtu:
            return spoil_frame(fault, rtu_frame(unit_id, pdu))
        is_other = fault is not None and fault.kind is FaultKind.WRONG_TRANSACTION
        return spoil_frame(fault, frame(incoming.transaction_id + is_other, unit_id, pdu))

    async def _answer_for_nobody(self, incoming: _Incoming) -> bytes:
        match self._link:
            case Direct():
                return _no_answer(incoming)
            case Gateway():
                return await self._give_up(incoming, self._link)
            case _:
                if incoming.unit_id == BROADCAST:
                    for unit in self._units.values():
                        unit.ask(incoming.pdu, self._visit)
                return b""

    async def _give_up(self, incoming: _Incoming, gateway: Gateway) -> bytes:
        await asyncio.sleep(gateway.timeout_s)
        return _no_answer(incoming) if gateway.answers_for_silent else b""


def _no_answer(incoming: _Incoming) -> bytes:
    refusal = refusal_pdu(incoming.pdu[0], ExceptionCode.GATEWAY_TARGET_FAILED_TO_RESPOND)
    return frame(incoming.transaction_id, incoming.unit_id, refusal)


def _line_time_s(settings: LineSettings, pdu: bytes) -> float:
    return (len(pdu) + _RTU_OVERHEAD_BYTES) * settings.character_s
