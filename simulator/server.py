"""Modbus TCP servers for simulated meters, on a small server of our own.

pymodbus's server was weighed: its hooks are synchronous and see one packet at a time, so they can change
an answer, but neither delay one, nor keep one back until the next request, nor reset a connection.
"""

import asyncio
import contextlib
import random
from collections.abc import Iterable, Iterator

from simulator.errors import SimulatorError
from simulator.faults import Fault, FaultKind
from simulator.meter import Frame, SimulatedMeter
from simulator.modbus import (
    HEADER_BYTES,
    ExceptionCode,
    Header,
    NotModbus,
    Refusal,
    answer_pdu,
    frame,
    parse_header,
    parse_read,
    refusal_pdu,
)
from simulator.tcp import LoopThread, close_listener, reset

_PORTS = range(20_000, 32_000)
"""Below the ports of outgoing connections, so that none of them takes ours while a meter refuses."""


class MeterServer:
    """One address, with one meter or, as behind a gateway, several with unit ids of their own."""

    def __init__(self, meters: Iterable[SimulatedMeter], *, loop: LoopThread, port: int = 0) -> None:
        """Describe the server; port 0 takes a free one."""
        self.host = "127.0.0.1"
        self.port = port
        self.meters = {meter.id: meter for meter in meters}
        self._by_unit_id = {meter.unit_id: meter for meter in self.meters.values()}
        self._loop = loop
        self._listener: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()

    def start(self) -> None:
        """Listen.

        Raises: SimulatorError when the port is in use.
        """
        self._loop.call(self._open())

    def stop(self) -> None:
        """Reset all connections and stop listening."""
        self._loop.call(self._close())

    def set_fault(self, meter_id: str, fault: Fault | None) -> None:
        """Let something go wrong with a meter from now on; None ends it."""
        self._loop.call(self._set_fault(meter_id, fault))

    def set_fault_later(self, delay_s: float, meter_id: str, fault: Fault | None) -> None:
        """Do that after a while."""
        self._loop.call_later(delay_s, lambda: self._set_fault(meter_id, fault))

    async def _set_fault(self, meter_id: str, fault: Fault | None) -> None:
        self.meters[meter_id].set_fault(fault)
        if any(meter.fault is not None and meter.fault.kind is FaultKind.REFUSED for meter in self.meters.values()):
            await self._close()
        else:
            await self._open()

    async def _open(self) -> None:
        if self._listener is not None:
            return
        for port in [self.port] if self.port else random.SystemRandom().sample(_PORTS, 200):
            try:
                self._listener = await asyncio.start_server(self._serve, self.host, port)
            except OSError:
                continue
            self.port = port
            return
        raise SimulatorError(
            f"port {self.port} of {self.host} is in use: end what listens there, or choose other ports with --port-base"
        )

    async def _close(self) -> None:
        if self._listener is not None:
            listener, self._listener = self._listener, None
            await close_listener(listener)
        for writer in tuple(self._connections):
            reset(writer)
        tasks = [task for task in asyncio.all_tasks() if task.get_name() == self._task_name]
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def _task_name(self) -> str:
        return f"connection to port {self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            task.set_name(self._task_name)
        self._connections.add(writer)
        connection = _Connection(self._by_unit_id, writer)
        try:
            # A connection may have been accepted just before the listener was closed.
            while self._listener is not None:
                header = parse_header(await reader.readexactly(HEADER_BYTES))
                await connection.handle(header, await reader.readexactly(header.pdu_bytes))
        except (NotModbus, asyncio.IncompleteReadError, OSError):
            pass  # a client that leaves or talks nonsense loses its connection, as with a real meter
        finally:
            self._connections.discard(writer)
            reset(writer)


class _Connection:
    """One client. Each has frames of its own: two clients never mix their scans."""

    def __init__(self, meters: dict[int, SimulatedMeter], writer: asyncio.StreamWriter) -> None:
        self._meters = meters
        self._writer = writer
        host, port = writer.get_extra_info("peername")[:2]
        self._client = f"{host}:{port}"
        self._frames: dict[int, Frame] = {}
        self._held = b""

    async def handle(self, header: Header, pdu: bytes) -> None:
        """Answer one request, or not, as the meter's fault has it."""
        meter = self._meters.get(header.unit_id)
        fault = meter.meet_fault() if meter is not None else None
        answer = self._answer(meter, fault, pdu)
        if fault is not None and fault.kind is FaultKind.SLOW:
            await asyncio.sleep(fault.delay_s)
        sent = frame(header.transaction_id, header.unit_id, answer) if fault is None else _spoil(fault, header, answer)
        if fault is not None and fault.kind is FaultKind.LATE:
            self._held += sent
            return
        self._writer.write(self._held + sent)
        self._held = b""
        await self._writer.drain()

    def _answer(self, meter: SimulatedMeter | None, fault: Fault | None, pdu: bytes) -> bytes:
        if meter is None:
            return refusal_pdu(pdu[0], ExceptionCode.GATEWAY_TARGET_FAILED_TO_RESPOND)
        try:
            read = parse_read(pdu)
            if meter.opens_frame(read):
                self._frames[meter.unit_id] = meter.open_frame(fault, self._client)
            current = self._frames.get(meter.unit_id) or meter.newest_frame()
            entries = meter.entries(read, current)
        except Refusal as refusal:
            return refusal_pdu(pdu[0], refusal.code)
        if fault is not None and fault.kind is FaultKind.EXCEPTION:
            return refusal_pdu(pdu[0], fault.exception_code)
        return answer_pdu(read.table, entries)


def _spoil(fault: Fault, header: Header, answer: bytes) -> bytes:
    """Frame an answer, with what the fault does to it."""
    transaction_id, unit_id = header.transaction_id, header.unit_id
    match fault.kind:
        case FaultKind.DEAD | FaultKind.REFUSED:
            return b""
        case FaultKind.WRONG_UNIT_ID:
            unit_id += 1
        case FaultKind.WRONG_TRANSACTION:
            transaction_id += 1
        case FaultKind.WRONG_FUNCTION:
            # Holding for input registers and the reverse: the length still fits.
            answer = bytes((answer[0] ^ 7,)) + answer[1:]
        case FaultKind.SHORT:
            answer = bytes((answer[0], answer[1] - 2)) + answer[2:-2]
    whole = frame(transaction_id, unit_id, answer)
    return whole[: len(whole) // 2] if fault.kind is FaultKind.TRUNCATED else whole


@contextlib.contextmanager
def serve(*meters: SimulatedMeter, port: int = 0) -> Iterator[MeterServer]:
    """Serve meters on one port for the length of a `with` block."""
    loop = LoopThread("simulated meters")
    server = MeterServer(meters, loop=loop, port=port)
    try:
        server.start()
        yield server
        server.stop()
    finally:
        loop.stop()
