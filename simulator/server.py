"""Simulated units on TCP ports, on a small server of our own.

pymodbus's server was weighed: its hooks are synchronous and see one packet at a time, so they can change
an answer, but neither delay one, nor keep one back until the next request, nor reset a connection.
"""

import asyncio
import contextlib
import random
import ssl
from collections.abc import Iterable, Iterator

from simulator.errors import SimulatorError
from simulator.faults import Fault, FaultKind
from simulator.links import Direct, Link
from simulator.modbus import NotModbus
from simulator.session import ClosedByUnit, Counters, Session
from simulator.tcp import LoopThread, close_listener, reset
from simulator.unit import Unit

_PORTS = range(20_000, 32_000)
"""Below the ports of outgoing connections, so that none of them takes ours while a meter refuses."""


class MeterServer:
    """One address, with one meter or, as behind a gateway, several with unit ids of their own."""

    def __init__(
        self,
        meters: Iterable[Unit],
        *,
        loop: LoopThread,
        host: str = "127.0.0.1",
        port: int = 0,
        link: Link | None = None,
        tls: ssl.SSLContext | None = None,
        max_sessions: int | None = None,
    ) -> None:
        """Describe the server; port 0 takes a free one, and `link` left out is `Direct`.

        A client beyond `max_sessions` is accepted and dropped, as devices do that have no room for it.
        """
        self.host = host
        self.port = port
        self.meters = {meter.id: meter for meter in meters}
        self.counters = Counters()
        self._by_unit_id = {meter.unit_id: meter for meter in self.meters.values()}
        self._loop = loop
        self._link = link or Direct()
        self._tls = tls
        self._max_sessions = max_sessions
        self._line = asyncio.Lock()
        self._listener: asyncio.Server | None = None
        self._connections: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    def start(self) -> None:
        """Listen.

        Raises: SimulatorError when the port is in use.
        """
        self._loop.call(self._open())

    def stop(self) -> None:
        """Reset all connections and stop listening."""
        self._loop.call(self._close())

    def set_fault(self, meter_id: str, fault: Fault | None) -> None:
        """Let something go wrong with a meter from now on; None ends it.

        Raises: ValueError when such a thing cannot happen on this server's link.
        """
        self.set_faults(meter_id, *([] if fault is None else [fault]))

    def set_faults(self, meter_id: str, *faults: Fault) -> None:
        """Let several things go wrong with a meter; a request meets the first that applies to it."""
        for fault in faults:
            refuse_unfit(fault, self._link.unfit)
        self._loop.call(self._set_faults(meter_id, *faults))

    def set_fault_later(self, delay_s: float, meter_id: str, fault: Fault | None) -> None:
        """Do that after a while."""
        faults = [] if fault is None else [fault]
        self._loop.call_later(delay_s, lambda: self._set_faults(meter_id, *faults))

    async def _set_faults(self, meter_id: str, *faults: Fault) -> None:
        self.meters[meter_id].set_faults(*faults)
        if any(meter.fault is not None and meter.fault.kind is FaultKind.REFUSED for meter in self.meters.values()):
            await self._close()
        else:
            await self._open()

    async def _open(self) -> None:
        if self._listener is not None:
            return
        for port in [self.port] if self.port else random.SystemRandom().sample(_PORTS, 200):
            try:
                self._listener = await asyncio.start_server(self._serve, self.host, port, ssl=self._tls)
            except OSError:
                continue
            self.port = port
            return
        raise SimulatorError(
            f"port {self.port} of {self.host} is in use: end what listens there, or choose another port"
        )

    async def _close(self) -> None:
        if self._listener is not None:
            listener, self._listener = self._listener, None
            await close_listener(listener)
        tasks = [task for task in self._connections.values() if task is not None]
        for writer in tuple(self._connections):
            reset(writer)
        for task in tasks:
            task.cancel()  # it may be waiting for a slow meter
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._max_sessions is not None and len(self._connections) >= self._max_sessions:
            self.counters.refused_sessions += 1
            reset(writer)
            return
        self.counters.sessions += 1
        self._connections[writer] = asyncio.current_task()
        session = Session(self._by_unit_id, self._link, reader, writer, line=self._line, counters=self.counters)
        ends_gently = False
        try:
            # A connection may have been accepted just before the listener was closed.
            while self._listener is not None:
                await session.serve_request()
        except ClosedByUnit:
            ends_gently = True
        except (NotModbus, asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass  # a client that leaves or talks nonsense loses its connection, as with a real meter
        finally:
            self._connections.pop(writer)
            if ends_gently:
                writer.close()
            else:
                reset(writer)


def refuse_unfit(fault: Fault, unfit: Iterable[FaultKind]) -> None:
    """Refuse a fault that cannot happen here.

    Raises: ValueError.
    """
    if fault.kind in unfit:
        raise ValueError(f"the fault {fault.kind.value!r} cannot happen on this kind of line")


@contextlib.contextmanager
def serve(
    *meters: Unit,
    port: int = 0,
    link: Link | None = None,
    tls: ssl.SSLContext | None = None,
    max_sessions: int | None = None,
) -> Iterator[MeterServer]:
    """Serve units on one port for the length of a `with` block."""
    loop = LoopThread("simulated meters")
    server = MeterServer(meters, loop=loop, port=port, link=link, tls=tls, max_sessions=max_sessions)
    try:
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        loop.stop()
