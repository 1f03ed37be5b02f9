"""A visit that is made in the agent and looked at in a command: what was asked and answered, and its repetition."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edge_agent.bus.bus import ModbusBus
from edge_agent.errors import BusUnreachable, MeterGarbled, MeterRefused, MeterUnreachable
from protocol.line_config import LineConfig
from protocol.profile import Table
from protocol.site.timing import Timing

_FAULTS: Mapping[str, Callable[[str], MeterUnreachable | MeterGarbled]] = {
    "BusUnreachable": BusUnreachable,
    "MeterGarbled": MeterGarbled,
}


class RecordingBus(ModbusBus):
    """A bus whose reads are written down."""

    def __init__(self, bus: ModbusBus, line: LineConfig) -> None:
        """Read from `bus`, which is not ours to close."""
        super().__init__(line)
        self.heard: list[dict[str, Any]] = []
        """Each read and what came of it, fit for JSON."""
        self._bus = bus

    async def read(
        self, *, unit_id: int, table: Table, address: int, count: int, timing: Timing | None = None
    ) -> Sequence[int]:
        """Read, and write down what came of it."""
        entry: dict[str, Any] = {"question": [unit_id, table.value, address, count]}
        self.heard.append(entry)
        try:
            words = await self._bus.read(unit_id=unit_id, table=table, address=address, count=count, timing=timing)
        except (MeterUnreachable, MeterGarbled, MeterRefused) as fault:
            entry["fault"], entry["kind"] = str(fault), type(fault).__name__
            if isinstance(fault, MeterRefused):
                entry["exception_code"] = fault.exception_code
            raise
        entry["words"] = list(words)
        return words


class HeardBus(ModbusBus):
    """A bus that was asked already: it says again what was answered there."""

    def __init__(self, heard: Sequence[Mapping[str, Any]], line: LineConfig) -> None:
        """Take what a `RecordingBus` has written down."""
        super().__init__(line)
        self._heard = {tuple(entry["question"]): entry for entry in heard}

    async def read(
        self,
        *,
        unit_id: int,
        table: Table,
        address: int,
        count: int,
        timing: Timing | None = None,  # noqa: ARG002 - it was asked with the agent's own
    ) -> Sequence[int]:
        """Return what was read, or raise what was raised."""
        entry = self._heard.get((unit_id, table.value, address, count))
        if entry is None:
            raise MeterUnreachable(f"unit {unit_id} was not asked for {table} {address}")
        if "exception_code" in entry:
            raise MeterRefused(entry["fault"], exception_code=entry["exception_code"])
        if "fault" in entry:
            raise _FAULTS.get(entry["kind"], MeterUnreachable)(entry["fault"])
        words: list[int] = entry["words"]
        return words
