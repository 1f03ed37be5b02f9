"""Find the devices on a serial line or behind TCP addresses. Nothing is ever written to them."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from edge_agent.bus.bus import ModbusBus
from edge_agent.commissioning.identify import Identity, identify, may_stand_on
from edge_agent.commissioning.search_order import QUESTIONS, further_unit_ids, ids_text, usual_unit_ids
from edge_agent.commissioning.unit_probe import UnitProbe
from edge_agent.errors import BusUnreachable, MeterGarbled
from protocol.line_config import LineConfig, Parity, SerialLine, Transport
from protocol.profile import Profile
from protocol.site.timing import Timing

Say = Callable[[str], None]
_Result = TypeVar("_Result")

_PATIENCE = 3
"""Who answered once is given so much more time for each further question."""
_IMPROBABLE_UNIT_ID = 213
_HOSTS_AT_ONCE = 64
_DEVICES_AT_ONCE = 8


@dataclass(frozen=True)
class FoundLine:
    """A line, and who answers on it."""

    line: LineConfig
    units: tuple[Identity, ...]
    garbled: tuple[int, ...] = ()
    """Unit ids under which something answered that was no proper answer."""
    answers_any_unit_id: bool = False
    """The device does not look at the unit id; it stands once in `units`."""


@dataclass
class ScanResult:
    """What a scan found, and what it tried."""

    lines: list[FoundLine] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    """For people: settings or addresses."""
    impossible: list[str] = field(default_factory=list)
    """Settings that the port does not offer."""
    garbled: list[str] = field(default_factory=list)
    """Settings at which something came, but no proper answer."""

    @property
    def units(self) -> int:
        """Return how many units were found."""
        return sum(len(line.units) for line in self.lines)


class _Roll(NamedTuple):
    """Who answered a call."""

    present: tuple[int, ...]
    garbled: tuple[int, ...]

    def plus(self, more: "_Roll") -> "_Roll":
        """Return both calls as one."""
        return _Roll(self.present + more.present, self.garbled + more.garbled)


class Scanner:
    """Calls unit ids and finds out who answers."""

    def __init__(
        self, library: Sequence[Profile], *, unit_ids: Sequence[int] | None, timeout_s: float, say: Say
    ) -> None:
        """Look for profiles of `library`; `say` is told how it goes.

        `unit_ids` left out are those that devices come with, then those that installers give.
        """
        self._library, self._unit_ids, self._timeout_s, self._say = tuple(library), unit_ids, timeout_s, say

    async def scan_serial(self, settings: Sequence[SerialLine]) -> ScanResult:
        """Try settings until one is answered, then call all units there.

        Raises: BusUnreachable when the port cannot be used.
        """
        result = ScanResult()
        usual, further = self._calls(is_serial=True)
        for called, others in ((usual, further), (further, usual)):
            for serial in settings if called else ():
                line = await self._scan_setting(serial, called, others, result)
                if line is not None:
                    result.lines.append(line)
                    return result
        return result

    async def scan_hosts(self, hosts: Sequence[str], port: int) -> ScanResult:
        """Look which of several hosts take a connection, and who answers behind each of those.

        Raises: BusUnreachable when there is one host only, and it takes none.
        """
        lines = [LineConfig(id="scan", host=host, port=port, timeout_s=self._timeout_s) for host in hosts]
        result = ScanResult(tried=[line.address for line in lines])
        if len(lines) == 1:
            found = [await self._scan_address(lines[0])]
        else:
            self._say(f"{len(lines)} addresses: looking who takes a connection on port {port}")
            taken = await _in_parallel([_takes_connection(line) for line in lines], _HOSTS_AT_ONCE)
            lines = [line for line, is_taken in zip(lines, taken, strict=True) if is_taken]
            self._say(f"{len(lines)} of them do")
            found = await _in_parallel([self._scan_one_of_many(line) for line in lines], _DEVICES_AT_ONCE)
        result.lines = [line for line in found if line is not None]
        return result

    def _calls(self, *, is_serial: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the unit ids to call first, and those to call then."""
        if self._unit_ids is not None:
            return tuple(self._unit_ids), ()
        usual = usual_unit_ids(self._library, is_serial=is_serial)
        return usual, further_unit_ids(usual)

    async def _scan_setting(
        self, serial: SerialLine, called: Sequence[int], others: Sequence[int], result: ScanResult
    ) -> FoundLine | None:
        text = setting_text(serial)
        self._say(f"{text}: unit ids {ids_text(called)}")
        line = LineConfig(id="scan", serial=serial, timeout_s=self._timeout_s)
        try:
            roll = await self._call_all(line, called, others)
            found = await self._identify(line, roll) if roll.present else None
        except BusUnreachable as error:
            if serial.parity is Parity.NONE or "cannot do" not in str(error):
                raise
            result.impossible.append(text)
            return None
        result.tried.append(text)
        if roll.garbled and not roll.present:
            result.garbled.append(text)
        return found

    async def _call_all(self, line: LineConfig, called: Sequence[int], others: Sequence[int]) -> _Roll:
        """Call units, and where somebody answers, the others as well."""
        with closing(ModbusBus(line)) as bus:
            roll = await self._call(bus, called)
            if not roll.present or not others:
                return roll
            self._say(f"{bus.address} is answered with these settings; calling unit ids {ids_text(others)} too")
            return roll.plus(await self._call(bus, others))

    async def _scan_one_of_many(self, line: LineConfig) -> FoundLine | None:
        try:
            return await self._scan_address(line)
        except BusUnreachable as error:
            self._say(str(error))
            return None

    async def _scan_address(self, line: LineConfig) -> FoundLine | None:
        usual, further = self._calls(is_serial=False)
        found = await self._scan_framing(line, (*usual, *further))
        if found is None:
            self._say(f"{line.address}: silent to Modbus TCP; trying RTU frames, as serial servers pass them on")
            transparent = line.model_copy(update={"transport": Transport.RTU_OVER_TCP})
            found = await self._scan_framing(transparent, usual)
        return found

    async def _scan_framing(self, line: LineConfig, unit_ids: Sequence[int]) -> FoundLine | None:
        """Call units behind a host; None when nobody answers in this framing."""
        self._say(f"{line.address}: unit ids {ids_text(unit_ids)}")
        with closing(ModbusBus(line)) as bus:
            roll = await self._call(bus, unit_ids, stop_at_first=True)
            if not roll.present:
                return None
            answers_any = _IMPROBABLE_UNIT_ID not in unit_ids and bool(
                (await self._call(bus, (_IMPROBABLE_UNIT_ID,))).present
            )
            if not answers_any:
                rest = unit_ids[unit_ids.index(roll.present[0]) + 1 :]
                roll = roll.plus(await self._call(bus, rest))
        return await self._identify(line, roll, answers_any_unit_id=answers_any)

    async def _call(self, bus: ModbusBus, unit_ids: Sequence[int], *, stop_at_first: bool = False) -> _Roll:
        present: list[int] = []
        garbled: list[int] = []
        for unit_id in unit_ids:
            try:
                if await UnitProbe(bus, unit_id, Timing(self._timeout_s)).is_there(QUESTIONS):
                    present.append(unit_id)
                    if unit_id != _IMPROBABLE_UNIT_ID:
                        self._say(f"{bus.address}: unit {unit_id} answers")
                    if stop_at_first:
                        break
            except MeterGarbled as fault:
                self._say(str(fault))
                garbled.append(unit_id)
        return _Roll(tuple(present), tuple(garbled))

    async def _identify(self, line: LineConfig, roll: _Roll, *, answers_any_unit_id: bool = False) -> FoundLine:
        candidates = [profile for profile in self._library if may_stand_on(profile, is_serial=line.serial is not None)]
        units = []
        with closing(ModbusBus(line)) as bus:
            for unit_id in sorted(roll.present):
                self._say(f"{line.address}: finding out what unit {unit_id} is")
                probe = UnitProbe(bus, unit_id, Timing(_PATIENCE * self._timeout_s, retries=1))
                units.append(await identify(probe, candidates))
        return FoundLine(line, tuple(units), tuple(sorted(roll.garbled)), answers_any_unit_id)


def setting_text(serial: SerialLine) -> str:
    """Write a line's settings as people do: `9600 baud 8N1`."""
    return f"{serial.baud} baud 8{serial.parity.value}{serial.stop_bits}"


async def _takes_connection(line: LineConfig) -> bool:
    try:
        async with asyncio.timeout(line.timeout_s):
            _, writer = await asyncio.open_connection(line.host, line.port)
    except OSError:  # TimeoutError is one
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


async def _in_parallel(work: Sequence[Coroutine[Any, Any, _Result]], limit: int) -> list[_Result]:
    """Do several things, at most `limit` at once; the results are in the order of the work."""
    places = asyncio.Semaphore(limit)

    async def one(coroutine: Coroutine[Any, Any, _Result]) -> _Result:
        async with places:
            return await coroutine

    async with asyncio.TaskGroup() as tasks:
        begun = [tasks.create_task(one(coroutine)) for coroutine in work]
    return [task.result() for task in begun]
