"""Ask Modbus TCP meters. The only module that knows the Modbus library.

What pymodbus 3.16 leaves open is closed here: it takes an answer with transaction id 0 for any request,
does not compare function code or length, dies on bytes that it cannot decode, and waits out the whole
time when the connection is gone. A connection on which anything went wrong is closed and its protocol
object thrown away, so that an answer which comes late finds nobody.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from edge_agent.errors import BusUnreachable, MeterRefused, MeterUnreachable
from protocol.profile import Table

_EXCEPTION_NAMES = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "server device failure",
    5: "acknowledge",
    6: "server device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target device failed to respond",
}
_EXCEPTION_FLAG = 0x80
_HEADER_BYTES = 8
_LENGTH_FIELD_END = 6
_LENGTH_MIN, _LENGTH_MAX = 3, 254


def exception_text(code: int) -> str:
    """Name a Modbus exception for people, such as `exception 2 (illegal data address)`."""
    name = _EXCEPTION_NAMES.get(code)
    return f"exception {code} ({name})" if name else f"exception {code}"


class ModbusBus:
    """One Modbus TCP address with one connection, which is made when needed and made anew after a fault.

    One request at a time: the caller waits for each answer before it asks again.
    """

    def __init__(self, *, host: str, port: int, timeout_s: float, pause_s: float = 0.0) -> None:
        self.host, self.port = host, port
        self._timeout_s, self._pause_s = timeout_s, pause_s
        self._client: AsyncModbusTcpClient | None = None
        self._answered_at_s = 0.0
        self._transaction_id = 0
        self._patience: asyncio.Timeout | None = None
        self._fault: str | None = None

    @property
    def address(self) -> str:
        """Return `host:port`, as people write it."""
        return f"{self.host}:{self.port}"

    async def read(self, *, unit_id: int, table: Table, address: int, count: int) -> Sequence[int]:
        """Read `count` registers (0..65535 each) or bits (0 or 1) from the zero-based `address`.

        Raises: BusUnreachable without a connection; MeterUnreachable when no proper answer comes in
        time; MeterRefused when the meter answers with an exception.
        """
        await self._pause()
        client = await self._connected()
        reply = await self._ask(client, unit_id, table, address, count)
        self._answered_at_s = time.monotonic()
        if reply.function_code & _EXCEPTION_FLAG:
            code = reply.exception_code
            raise MeterRefused(
                f"unit {unit_id} at {self.address} refused {table} {address}..{address + count - 1} "
                f"with {exception_text(code)}",
                exception_code=code,
            )
        values: Sequence[int] = reply.registers or [int(bit) for bit in reply.bits[:count]]
        return values

    def close(self) -> None:
        """Close the connection; the next request makes a new one."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def _connected(self) -> AsyncModbusTcpClient:
        if self._client is not None and self._client.connected:
            return self._client
        self.close()
        client = AsyncModbusTcpClient(
            self.host,
            port=self.port,
            timeout=self._timeout_s,
            retries=0,
            reconnect_delay=0,
            trace_packet=self._see_bytes,
            trace_pdu=self._see_message,
            trace_connect=self._see_connection,
        )
        began_s = time.monotonic()
        if not await client.connect():
            client.close()
            waited = time.monotonic() - began_s >= self._timeout_s
            reason = f"no answer within {self._timeout_s:g} s" if waited else "refused, or no route to it"
            raise BusUnreachable(f"no connection to {self.address}: {reason}")
        self._client = client
        return client

    async def _pause(self) -> None:
        wait_s = self._answered_at_s + self._pause_s - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    async def _ask(
        self, client: AsyncModbusTcpClient, unit_id: int, table: Table, address: int, count: int
    ) -> ModbusPDU:
        """Send the request and return the answer that is certainly its own."""
        self._fault = f"did not answer within {self._timeout_s:g} s"
        try:
            async with asyncio.timeout(None) as self._patience:
                reply = await _reader(client, table)(address, count=count, device_id=unit_id)
            self._fault = self._mismatch(reply, unit_id, table, count)
        except (ModbusException, OSError):  # a TimeoutError is an OSError
            pass
        except BaseException:
            self.close()  # cancelled: the answer is still to come, and nobody waits for it
            raise
        finally:
            self._patience = None
        if self._fault is not None:
            self.close()
            raise MeterUnreachable(f"unit {unit_id} at {self.address} {self._fault}")
        return reply

    def _mismatch(self, reply: ModbusPDU, unit_id: int, table: Table, count: int) -> str | None:
        """Say what shows that a message is not the answer to the request; None when it is."""
        function_code = table.read_function_code
        if reply.transaction_id != self._transaction_id:
            return f"answered with transaction id {reply.transaction_id} instead of {self._transaction_id}"
        if reply.dev_id != unit_id:
            return f"answered as unit {reply.dev_id}"
        if reply.function_code & ~_EXCEPTION_FLAG != function_code:
            return f"answered function {reply.function_code} to function {function_code}"
        if reply.function_code & _EXCEPTION_FLAG:
            return None if reply.exception_code else "answered with exception 0, which does not exist"
        expected, received = count, len(reply.registers)
        if table.holds_bits:
            expected, received = -(-count // 8) * 8, len(reply.bits)
        return None if received == expected else f"answered {received} values to a request for {expected}"

    def _see_bytes(self, sending: bool, data: bytes) -> bytes:  # noqa: FBT001 - pymodbus calls it so
        """Keep bytes that the library would die of from it, and end the wait for them."""
        if not sending and (fault := find_frame_fault(data)):
            self._give_up(fault)
            return b""
        return data

    def _see_message(self, sending: bool, message: ModbusPDU) -> ModbusPDU:  # noqa: FBT001 - pymodbus calls it so
        if sending:
            self._transaction_id = message.transaction_id
        return message

    def _see_connection(self, connected: bool) -> None:  # noqa: FBT001 - pymodbus calls it so
        if not connected:
            self._give_up("closed the connection instead of answering")

    def _give_up(self, fault: str) -> None:
        if self._patience is not None and not self._patience.expired():
            self._fault = fault
            self._patience.reschedule(asyncio.get_running_loop().time())


def find_frame_fault(data: bytes) -> str | None:
    """Say what is wrong with the received frames; None when all that are complete are well formed."""
    while len(data) >= _HEADER_BYTES:
        protocol_id = int.from_bytes(data[2:4], "big")
        length = int.from_bytes(data[4:_LENGTH_FIELD_END], "big")
        if protocol_id != 0 or not _LENGTH_MIN <= length <= _LENGTH_MAX:
            return "answered with bytes that are no Modbus TCP frame"
        end = _LENGTH_FIELD_END + length
        if len(data) < end:
            return None
        is_exception, body = data[7] & _EXCEPTION_FLAG, data[_HEADER_BYTES:end]
        if len(body) != (1 if is_exception else 1 + body[0]):
            return "answered with a frame that is cut short or too long"
        data = data[end:]
    return None


def _reader(client: AsyncModbusTcpClient, table: Table) -> Callable[..., Awaitable[ModbusPDU]]:
    match table:
        case Table.COIL:
            return client.read_coils
        case Table.DISCRETE_INPUT:
            return client.read_discrete_inputs
        case Table.HOLDING_REGISTER:
            return client.read_holding_registers
        case Table.INPUT_REGISTER:
            return client.read_input_registers
