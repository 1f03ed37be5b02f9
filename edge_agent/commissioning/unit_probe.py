"""Reads from one unit that may be anything: each question is asked once, and silence costs little."""

from collections import Counter
from collections.abc import Sequence

from edge_agent.bus.bus import ModbusBus
from edge_agent.errors import BusUnreachable, MeterGarbled, MeterRefused, MeterUnreachable
from protocol.profile import Table
from protocol.site.timing import Timing

_ILLEGAL_FUNCTION = 1
_GATEWAY_EXCEPTIONS = frozenset({10, 11})
_SILENCES_MAX = 2
"""So often a table may be silent without having answered; then its questions are saved."""

Words = tuple[int, ...]


class UnitProbe:
    """Asks one unit, and remembers what it said."""

    def __init__(self, bus: ModbusBus, unit_id: int, timing: Timing) -> None:
        self.unit_id = unit_id
        self.garbled = 0
        """Answers that could not be used: more than a few, and two devices may share the unit id."""
        self._bus, self._timing = bus, timing
        self._known: dict[tuple[Table, int, int], Words | None] = {}
        self._silences: Counter[Table] = Counter()
        self._answered: set[Table] = set()
        self._lacking: set[Table] = set()

    async def read(self, table: Table, address: int, count: int) -> Words | None:
        """Return registers or bits; None when the unit refuses them.

        Raises: MeterUnreachable when it is silent; MeterGarbled.
        """
        key = (table, address, count)
        if key in self._known:
            return self._known[key]
        if table in self._lacking:
            return None
        if table not in self._answered and self._silences[table] >= _SILENCES_MAX:
            raise MeterUnreachable(f"unit {self.unit_id} is silent when {table} is asked for")
        words = await self._ask(table, address, count)
        self._known[key] = words
        return words

    async def is_there(self, questions: Sequence[tuple[Table, int, int]]) -> bool:
        """Say whether anybody answers one of the questions, be it with a refusal.

        Raises: BusUnreachable; MeterGarbled when something answered, but not properly.
        """
        garbled: MeterGarbled | None = None
        for table, address, count in questions:
            try:
                await self.read(table, address, count)
            except MeterGarbled as fault:
                garbled = fault
            except BusUnreachable:
                raise
            except MeterUnreachable:
                continue
            else:
                return True
        if garbled is not None:
            raise garbled
        return False

    async def _ask(self, table: Table, address: int, count: int) -> Words | None:
        try:
            words: Sequence[int] = await self._bus.read(
                unit_id=self.unit_id, table=table, address=address, count=count, timing=self._timing
            )
        except MeterRefused as refusal:
            if refusal.exception_code in _GATEWAY_EXCEPTIONS:
                raise MeterUnreachable(str(refusal)) from refusal
            self._answered.add(table)
            if refusal.exception_code == _ILLEGAL_FUNCTION:
                self._lacking.add(table)
            return None
        except MeterGarbled:
            self.garbled += 1
            raise
        except MeterUnreachable:
            self._silences[table] += 1
            raise
        self._answered.add(table)
        return tuple(words)
