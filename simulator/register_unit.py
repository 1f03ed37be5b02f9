"""A unit made of plain registers and bits, as a test or a memory image gives them."""

from collections.abc import Iterable, Mapping

from protocol.profile import Table
from simulator.faults import Fault
from simulator.modbus import ExceptionCode, Read, Refusal, Write
from simulator.unit import Unit, Visit


class RegisterUnit(Unit):
    """Serves exactly the addresses that it is given; a request that touches any other is refused."""

    def __init__(
        self,
        unit_id: int = 1,
        *,
        holding: Mapping[int, int] | None = None,
        inputs: Mapping[int, int] | None = None,
        coils: Mapping[int, int] | None = None,
        discrete_inputs: Mapping[int, int] | None = None,
        writable: Iterable[int] = (),
        meter_id: str | None = None,
        turnaround_s: float = 0.0,
    ) -> None:
        """Take words (0..65535) and bits by address.

        `writable` names the addresses of holding registers and coils that may be written.
        `tables` may be changed at any time; a table that is left out is an illegal function.
        """
        super().__init__(meter_id=meter_id or f"unit-{unit_id}", unit_id=unit_id, turnaround_s=turnaround_s)
        given = {
            Table.HOLDING_REGISTER: holding,
            Table.INPUT_REGISTER: inputs,
            Table.COIL: coils,
            Table.DISCRETE_INPUT: discrete_inputs,
        }
        self.tables = {table: dict(entries) for table, entries in given.items() if entries is not None}
        self._writable = frozenset(writable)

    def _read(self, read: Read, fault: Fault | None, visit: Visit) -> list[int]:  # noqa: ARG002 - the same for all
        entries = self._table(read.table)
        addresses = range(read.address, read.address + read.count)
        if not all(address in entries for address in addresses):
            raise Refusal(ExceptionCode.ILLEGAL_DATA_ADDRESS)
        return [entries[address] for address in addresses]

    def _write(self, write: Write) -> None:
        entries = self._table(write.table)
        addresses = range(write.address, write.address + write.count)
        if not all(address in entries and address in self._writable for address in addresses):
            raise Refusal(ExceptionCode.ILLEGAL_DATA_ADDRESS)
        entries.update(zip(addresses, write.entries, strict=True))

    def _table(self, table: Table) -> dict[int, int]:
        if table not in self.tables:
            raise Refusal(ExceptionCode.ILLEGAL_FUNCTION)
        return self.tables[table]
